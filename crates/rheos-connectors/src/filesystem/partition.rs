//! Partitions as Hive has them: the values of some columns stand in the path of a file, and not in the file.
//!
//! ```text
//!   path/day=2024-05-01/hour=7/part-0-0.csv      a NULL or an empty text is __HIVE_DEFAULT_PARTITION__
//! ```
//!
//! Characters that are special in paths or in Hive are written as `%` and two hexadecimal digits.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rheos_core::connector::TableDefinition;
use rheos_core::error::did_you_mean;
use rheos_core::source::{SourcePoll, SplitReader};
use rheos_core::types::display;
use rheos_core::{Error, ErrorKind, Result};
use rheos_formats::csv::CsvOptions;
use rheos_formats::text::{ColumnText, Style};
use rheos_formats::{DecodeLimits, Decoded, InputRange, OnError, TextDecoder, TextFormat};

use super::paths::shown;

/// How the rows of a table are spread over folders.
#[derive(Debug)]
pub(crate) struct Partitioning {
    /// The partition columns, in the order of the folders.
    schema: SchemaRef,
    /// Their places in the table.
    columns: Vec<usize>,
    /// The other columns, which stand in the files.
    file_schema: SchemaRef,
    /// Their places in the table.
    file_columns: Vec<usize>,
    default_name: String,
}

impl Partitioning {
    /// `None` for a table without partitions.
    ///
    /// Errors: `Invalid` for a column that the table does not have or whose type no path can hold, and where no column is
    /// left for the files.
    pub(crate) fn try_new(table: &TableDefinition, default_name: &str) -> Result<Option<Self>> {
        if table.partitioned_by.is_empty() {
            return Ok(None);
        }
        let refuse = |what: String, hint: String| Err(Error::invalid(230, what).with_hint(hint));
        let mut columns = vec![];
        for name in &table.partitioned_by {
            let Some((index, field)) = table.schema.column_with_name(name) else {
                let names = table.schema.fields().iter().map(|f| f.name().as_str());
                let hint = did_you_mean(name, names, "partition columns are columns of the table");
                return refuse(format!("table '{}' has no partition column '{name}'", table.name), hint);
            };
            if !has_a_path(field.data_type()) {
                let what =
                    format!("the partition column '{name}' is {}, which no path can hold", display(field.data_type()));
                return refuse(what, "use whole numbers, texts, dates, timestamps or booleans".into());
            }
            if columns.contains(&index) {
                return refuse(format!("the partition column '{name}' is named twice"), "name it once".into());
            }
            columns.push(index);
        }
        let file_columns: Vec<_> = (0..table.schema.fields().len()).filter(|c| !columns.contains(c)).collect();
        if file_columns.is_empty() {
            let what = format!(
                "all columns of table '{}' are partition columns, so nothing is left for its files",
                table.name
            );
            return refuse(what, "leave at least one column out of PARTITIONED BY".into());
        }
        Ok(Some(Self {
            schema: Arc::new(table.schema.project(&columns)?),
            file_schema: Arc::new(table.schema.project(&file_columns)?),
            columns,
            file_columns,
            default_name: default_name.to_string(),
        }))
    }

    /// The columns that stand in the files.
    pub(crate) fn file_schema(&self) -> &SchemaRef {
        &self.file_schema
    }

    /// The names of the partition columns, in the order of the folders.
    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.schema.fields().iter().map(|f| f.name().as_str())
    }

    /// Whether `name` is that of a partition's folder at `depth` below the table's.
    pub(crate) fn is_folder(&self, name: &str, depth: usize) -> bool {
        self.names().nth(depth).is_some_and(|column| name.starts_with(&prefix(column)))
    }

    /// The rows of each partition, by its folder relative to the table's, and without the partition columns.
    ///
    /// A folder may come more than once. Errors: `Internal` only.
    pub(crate) fn split(&self, records: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        let texts = self.columns.iter().map(|c| ColumnText::try_new(records.column(*c)));
        let texts = texts.collect::<Result<Vec<_>>>()?;
        let rest = records.project(&self.file_columns)?;
        let (mut known, mut groups) = (HashMap::<Vec<u8>, usize>::new(), Vec::<(u32, Vec<u32>)>::new());
        let (mut key, mut last) = (Vec::new(), None::<(Vec<u8>, usize)>);
        for row in 0..records.num_rows() {
            key.clear();
            for text in &texts {
                let start = key.len();
                text.write(row, Style::Plain, &mut key);
                // The length keeps ('ab', 'c') apart from ('a', 'bc').
                let length = (key.len() - start) as u64;
                key.extend(length.to_le_bytes());
            }
            let group = match &last {
                Some((same, group)) if *same == key => *group,
                _ => {
                    let group = *known.entry(key.clone()).or_insert_with(|| {
                        groups.push((row as u32, vec![]));
                        groups.len() - 1
                    });
                    last = Some((key.clone(), group));
                    group
                }
            };
            groups[group].1.push(row as u32);
        }
        let whole = groups.len() == 1;
        let parts = groups.into_iter().map(|(first, rows)| {
            let values = texts.iter().map(|t| t.text(first as usize));
            let folder = self.folder(values.map(|v| (!v.is_empty()).then_some(v)));
            let rows = if whole { rest.clone() } else { take_record_batch(&rest, &UInt32Array::from(rows))? };
            Ok((folder, rows))
        });
        parts.collect()
    }

    /// The folder of a partition, relative to the table's.
    fn folder(&self, values: impl Iterator<Item = Option<String>>) -> String {
        let part = |(name, value): (&str, Option<String>)| {
            prefix(name) + &value.map_or_else(|| self.default_name.clone(), |v| escaped(&v))
        };
        self.names().zip(values).map(part).collect::<Vec<_>>().join("/")
    }

    /// The values in a path; NULL is `None`.
    ///
    /// Errors: `Invalid` for a path that lies in no partition.
    pub(crate) fn values(&self, path: &Path) -> Result<Vec<Option<String>>> {
        let folders: Vec<String> = path.iter().map(|c| c.to_string_lossy().into_owned()).collect();
        let value = |name: &str| {
            let begins = prefix(name);
            let Some(value) = folders.iter().rev().find_map(|f| f.strip_prefix(&begins)) else {
                let what =
                    format!("'{}' lies in no folder '{begins}...', so column '{name}' has no value", shown(path));
                return Err(Error::invalid(231, what)
                    .with_hint("move the file into the folder of a partition, or take PARTITIONED BY away"));
            };
            Ok((value != self.default_name).then(|| unescaped(value)))
        };
        self.names().map(value).collect()
    }

    /// The values in a path as one row of the partition columns.
    ///
    /// Errors: as [`values`](Self::values); `User` for a value that does not fit its column.
    pub(crate) fn row(&self, path: &Path) -> Result<RecordBatch> {
        let csv = CsvOptions { header: false, ..CsvOptions::default() };
        let limits = DecodeLimits { batch_rows: 1, record_bytes_max: 1 << 20, on_error: OnError::Fail };
        let columns: Vec<_> = (0..self.columns.len()).collect();
        // Texts in paths are read as those in csv files are.
        let mut decoder =
            TextDecoder::try_new(&TextFormat::Csv(csv), &self.schema, &columns, limits, InputRange::default())?;
        let field =
            |value: Option<String>| value.map(|v| format!("\"{}\"", v.replace('"', "\"\""))).unwrap_or_default();
        let fields: Vec<_> = self.values(path)?.into_iter().map(field).collect();
        decoder.push(fields.join(",").as_bytes());
        decoder.push(b"\n");
        decoder.finish();
        let misfit = |reason: String| {
            Error::new(
                ErrorKind::User,
                301,
                format!("the path '{}' does not fit the table's partitions: {reason}", shown(path)),
            )
            .with_hint("rename the folder, or give the partition column another type")
        };
        match decoder.decode() {
            Ok(Decoded::Batch(row)) => Ok(row),
            Ok(_) => Err(misfit("it has no values".into())),
            Err(error) => Err(misfit(error.into_error("the path", || 0).message().to_string())),
        }
    }

    /// Where the table's `columns` are found.
    pub(crate) fn layout(&self, columns: &[usize]) -> Layout {
        let mut file = vec![];
        let mut place = |column: &usize| match self.columns.iter().position(|c| c == column) {
            Some(n) => Place::Constant(n),
            None => {
                file.push(self.file_columns.iter().position(|c| c == column).unwrap_or_default());
                Place::File(file.len() - 1)
            }
        };
        let places = columns.iter().map(&mut place).collect();
        Layout { file, places }
    }
}

/// Where the columns of a reading are found.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Those that are read from the files: indices into [`Partitioning::file_schema`].
    pub(crate) file: Vec<usize>,
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// Of the columns that are read from the file.
    File(usize),
    /// Of the values that hold for the whole file: the partition columns, and the metadata behind them.
    Constant(usize),
}

/// Adds the values of its path, and of its metadata, to the rows of a file.
pub(crate) struct PartitionReader {
    inner: Box<dyn SplitReader>,
    values: Vec<ArrayRef>,
    places: Vec<Place>,
    schema: SchemaRef,
}

impl PartitionReader {
    /// `values`: the constants of the file, each one row long. `schema`: the columns of the layout.
    pub(crate) fn new(inner: Box<dyn SplitReader>, values: Vec<ArrayRef>, layout: &Layout, schema: SchemaRef) -> Self {
        Self { inner, values, places: layout.places.clone(), schema }
    }

    fn widen(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let first = UInt32Array::from_value(0, rows.num_rows());
        let column = |place: &Place| match place {
            Place::File(n) => Ok(Arc::clone(rows.column(*n))),
            Place::Constant(n) => take(&self.values[*n], &first, None),
        };
        let columns = self.places.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}

impl Layout {
    /// All of them stand in the files.
    pub(crate) fn of_file(columns: &[usize]) -> Self {
        Self { file: columns.to_vec(), places: (0..columns.len()).map(Place::File).collect() }
    }

    /// Puts metadata between the columns. `columns`: for each, which of the metadata it is, or `None` for the next of those
    /// that are here already. `partitions`: the number of constants before the metadata.
    pub(crate) fn with_metadata(self, columns: impl Iterator<Item = Option<usize>>, partitions: usize) -> Self {
        let mut here = self.places.into_iter();
        let place = |metadata: Option<usize>| match metadata {
            Some(n) => Some(Place::Constant(partitions + n)),
            None => here.next(),
        };
        Self { file: self.file, places: columns.filter_map(place).collect() }
    }
}

impl SplitReader for PartitionReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        match self.inner.poll()? {
            SourcePoll::Batch(rows) => Ok(SourcePoll::Batch(self.widen(&rows)?)),
            other => Ok(other),
        }
    }

    fn position(&self) -> String {
        self.inner.position()
    }
}

/// The columns of a table without declared ones: those of a file, and its partition columns as text.
pub(crate) fn with_partition_columns(file: SchemaRef, partitioned_by: &[String]) -> SchemaRef {
    let mut fields: Vec<_> = file.fields().iter().cloned().collect();
    for name in partitioned_by.iter().filter(|name| file.column_with_name(name).is_none()) {
        fields.push(Arc::new(Field::new(name, DataType::Utf8View, true)));
    }
    Arc::new(Schema::new(fields))
}

/// Whether values of a type stand in paths.
fn has_a_path(data_type: &DataType) -> bool {
    use DataType::*;
    matches!(
        data_type,
        Int8 | Int16
            | Int32
            | Int64
            | Utf8
            | LargeUtf8
            | Utf8View
            | Boolean
            | Date32
            | Timestamp(TimeUnit::Microsecond, _)
    )
}

fn prefix(column: &str) -> String {
    escaped(column) + "="
}

/// Hive's list, and the zero byte, which no path can hold.
fn is_special(c: char) -> bool {
    c.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(c)
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_special(c) {
            out.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// The text that was escaped. A `%` without two digits behind it stands for itself.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = text.get(at + 1..at + 3).filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(code) if bytes[at] == b'%' => {
                out.push(code);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_special_is_escaped_as_hive_does() {
        assert_eq!(escaped("2024-05-01 07:00:00"), "2024-05-01 07%3A00%3A00");
        assert_eq!(escaped("a/b=c%d\n..é"), "a%2Fb%3Dc%25d%0A..é");
        assert_eq!(unescaped("a%2fb%zz%"), "a/b%zz%");
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back_and_is_one_folder(text in ".{0,30}") {
            prop_assert_eq!(unescaped(&escaped(&text)), text.clone());
            prop_assert!(!escaped(&text).contains('/') && !escaped(&text).contains('\0'));
        }
    }
}

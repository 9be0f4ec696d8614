//! A table of files for reading.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use rheos_core::change::{Changes, without_weights};
use rheos_core::connector::{MetadataColumn, TableDefinition};
use rheos_core::source::{Boundedness, Discovery, Found, ReaderContext, Source, Split, SplitReader};
use rheos_core::{Error, Result};
use rheos_formats::debezium::{self, DebeziumOptions};
use rheos_formats::parquet::read::ParquetFooter;
use rheos_formats::{DecodeLimits, InputRange, OnError, TextDecoder, TextFormat, infer_text_schema};

use super::broken::{BrokenReader, GONE, gone};
use super::follow::{GrowingReader, RowDecoder, check_growing};
use super::input::{read_head, read_header};
use super::metadata;
use super::moved;
use super::options::{Compression, FileFormat, FileOptions, FileOrder, Growth, decoding};
use super::parquet::{ParquetReader, read_footer};
use super::partition::{Layout, PartitionReader, Partitioning, with_partition_columns};
use super::paths::{InputFile, NoFiles, Places, comes_in, input_files, place_of, reads_in, shown};
use super::reader::TextReader;
use super::splits::{FileSplit, Part, line_ranges};
use super::watch::FolderWatch;
use crate::io::pool::lock;
use crate::narrow::{column_names, narrowed};

/// Footers that have been read, by path: shared by a source and its projections.
type Footers = Arc<Mutex<HashMap<PathBuf, ParquetFooter>>>;

/// See the module.
#[derive(Clone)]
pub(crate) struct FileSource {
    pub(super) options: Arc<FileOptions>,
    partitioning: Option<Arc<Partitioning>>,
    /// The columns of the files as they were declared.
    whole: SchemaRef,
    /// The same, maybe with fewer fields in ROW columns.
    declared: SchemaRef,
    metadata: Arc<[MetadataColumn]>,
    /// The number of the table's columns without the metadata, which stand behind them.
    stored: usize,
    /// The columns that are read: of the table, and where each is found.
    columns: Vec<usize>,
    layout: Layout,
    schema: SchemaRef,
    /// The columns that are read from the files.
    file_schema: SchemaRef,
    footers: Footers,
    watch: Arc<FolderWatch>,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSource({})", self.options.path)
    }
}

impl FileSource {
    pub(crate) fn try_new(table: &TableDefinition) -> Result<Self> {
        let options = FileOptions::try_new(table)?;
        let partitioning = Partitioning::try_new(table, &options.partition_default_name)?.map(Arc::new);
        let declared = Arc::clone(partitioning.as_ref().map_or(&table.schema, |p| p.file_schema()));
        if let FileFormat::Text(format) = &options.format {
            // Types that text cannot hold are refused here, not when the job runs.
            let all: Vec<usize> = (0..declared.fields().len()).collect();
            TextDecoder::try_new(format, &declared, &all, limits(&options, 1), InputRange::default())?;
        }
        let (schema, stored) = (table.read_schema(), table.schema.fields().len());
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        let layout = layout(partitioning.as_deref(), stored, &columns);
        Ok(Self {
            options: Arc::new(options),
            file_schema: Arc::new(declared.project(&layout.file)?),
            partitioning,
            whole: Arc::clone(&declared),
            declared,
            metadata: table.metadata.clone().into(),
            stored,
            columns,
            layout,
            schema,
            footers: Footers::default(),
            watch: Arc::default(),
        })
    }

    fn footer(&self, path: &Path) -> Result<ParquetFooter> {
        if let Some(footer) = lock(&self.footers).get(path) {
            return Ok(footer.clone());
        }
        let footer = read_footer(path)?;
        // A folder that is followed has files without end: their footers are read again by who opens them.
        if self.options.growth == Growth::Fixed {
            lock(&self.footers).insert(path.into(), footer.clone());
        }
        Ok(footer)
    }

    /// The splits of one file. Errors: what makes the file unreadable for this table.
    pub(super) fn split_file(
        &self,
        file: &InputFile,
        sequence: u32,
        time: Option<&str>,
        splits: &mut Vec<Split>,
    ) -> Result<()> {
        if let Some(partitioning) = &self.partitioning {
            partitioning.row(&file.path)?;
        }
        match &self.options.format {
            FileFormat::Parquet => self.split_parquet(file, sequence, time, splits),
            FileFormat::Text(format) => self.split_text(file, format, sequence, splits),
        }
    }

    fn changes_options(&self) -> Option<&DebeziumOptions> {
        match &self.options.format {
            FileFormat::Text(TextFormat::Debezium(options)) => Some(options),
            _ => None,
        }
    }

    /// Where columns of the table are among those that are read.
    fn places(&self, columns: &[usize]) -> Vec<usize> {
        columns.iter().filter_map(|column| self.columns.iter().position(|c| c == column)).collect()
    }

    /// Errors: changes of one key may stand in several files, of which none is known to be the later one.
    fn check_order(&self, files: usize) -> Result<()> {
        if self.changes() != Changes::Upsert || (files <= 1 && !matches!(self.options.growth, Growth::Files { .. })) {
            return Ok(());
        }
        let what =
            format!("'{}' is more than one file, and changes of a key must come in their order", self.options.path);
        Err(Error::invalid(142, format!("{what}: that is not supported yet"))
            .with_hint("name one file, or take the PRIMARY KEY away where changes have the rows before them"))
    }

    fn format_name(&self) -> &'static str {
        match &self.options.format {
            FileFormat::Parquet => "parquet",
            FileFormat::Text(TextFormat::Json) => "json",
            FileFormat::Text(TextFormat::Csv(_)) => "csv",
            FileFormat::Text(TextFormat::Debezium(_)) => "debezium-json",
        }
    }

    fn split_parquet(
        &self,
        file: &InputFile,
        sequence: u32,
        time: Option<&str>,
        splits: &mut Vec<Split>,
    ) -> Result<()> {
        let footer = self.footer(&file.path)?;
        // Mistakes in the columns are found before the job starts.
        rheos_formats::parquet::read::check_columns(&footer, &self.file_schema)
            .map_err(|e| e.context(format!("'{}'", shown(&file.path))))?;
        for group in 0..footer.row_groups() {
            let split = FileSplit::new(file, Part::RowGroup(group));
            let not_before_ms = time.and_then(|column| footer.min_time_ms(group, column));
            splits.push(split.into_split(sequence, footer.row_group_bytes(group), not_before_ms)?);
        }
        Ok(())
    }

    fn split_text(&self, file: &InputFile, format: &TextFormat, sequence: u32, splits: &mut Vec<Split>) -> Result<()> {
        if file.regular && file.size_bytes == 0 {
            return Ok(());
        }
        if file.regular {
            self.check_file(&file.path, format)?;
        }
        let packed = self.options.compression.of(&file.path) != Compression::None;
        let parts = if packed || !format.is_lines() || !file.regular {
            vec![Part::Whole]
        } else {
            line_ranges(file, self.options.split_bytes_max)
        };
        for part in parts {
            let size = match part {
                Part::Lines { start, end } => end - start,
                _ => file.size_bytes,
            };
            splits.push(FileSplit::new(file, part).into_split(sequence, size, None)?);
        }
        Ok(())
    }

    /// The reader of the columns that stand in the file.
    fn open_file(
        &self,
        split: FileSplit,
        size: u64,
        position: Option<&str>,
        ctx: ReaderContext,
    ) -> Result<Box<dyn SplitReader>> {
        let (options, columns) = (&self.options, self.layout.file.as_slice());
        Ok(match (&options.format, &split.part, options.growth) {
            (FileFormat::Parquet, Part::RowGroup(group), _) => {
                let footer = lock(&self.footers).get(&split.path).cloned();
                let (schema, group, on_error) =
                    (Arc::clone(&self.file_schema), *group, decoding(options.on_error, &ctx));
                Box::new(ParquetReader::try_new(split.path, group, footer, position, size, schema, on_error, ctx)?)
            }
            (FileFormat::Text(format), Part::Whole | Part::Lines { .. }, _) => {
                Box::new(TextReader::try_new(split, size, position, format, options, &self.declared, columns, ctx)?)
            }
            (FileFormat::Text(format), Part::Growing, Growth::Lines { interval, accepts_loss }) => {
                let limits =
                    DecodeLimits { on_error: decoding(options.on_error, &ctx), ..limits(options, ctx.batch_rows) };
                let decoder = RowDecoder {
                    format: format.clone(),
                    declared: Arc::clone(&self.declared),
                    columns: columns.to_vec(),
                    limits,
                };
                Box::new(GrowingReader::try_new(split.path, (interval, accepts_loss), position, decoder, ctx)?)
            }
            _ => return Err(Error::internal("a split of another format")),
        })
    }

    /// The values that hold for all rows of a file: those of its partition, and what it tells about itself.
    fn constants(&self, named: &Path, path: &Path) -> Result<Vec<ArrayRef>> {
        let mut values = match &self.partitioning {
            Some(partitioning) => partitioning.row(named)?.columns().to_vec(),
            None => vec![],
        };
        if self.columns.iter().any(|c| *c >= self.stored) {
            values.extend(metadata::values(path, &self.metadata)?);
        }
        Ok(values)
    }

    /// Whether a file can be read at all, and whether its header has the wanted columns.
    fn check_file(&self, path: &Path, format: &TextFormat) -> Result<()> {
        let (options, name) = (&self.options, shown(path));
        if !format.has_header() {
            return std::fs::File::open(path).map(drop).map_err(|e| Error::io("read", &name, &e));
        }
        let header = read_header(path, options.compression, format, options.record_bytes_max)?;
        if header.is_empty() {
            return Ok(());
        }
        let limits = limits(options, 1);
        let mut decoder =
            TextDecoder::try_new(format, &self.declared, &self.layout.file, limits, InputRange::default())?;
        decoder.set_header(&header).map_err(|e| e.context(format!("'{name}'")))
    }
}

/// Where `columns` are found: the first `stored` of the table in files and paths, the metadata behind them.
fn layout(partitioning: Option<&Partitioning>, stored: usize, columns: &[usize]) -> Layout {
    let of_table: Vec<usize> = columns.iter().copied().filter(|c| *c < stored).collect();
    let (layout, partitions) = match partitioning {
        Some(partitioning) => (partitioning.layout(&of_table), partitioning.names().len()),
        None => (Layout::of_file(&of_table), 0),
    };
    layout.with_metadata(columns.iter().map(|c| c.checked_sub(stored)), partitions)
}

/// The limits of a decoder that reads the first bad record.
fn limits(options: &FileOptions, batch_rows: usize) -> DecodeLimits {
    DecodeLimits { batch_rows, record_bytes_max: options.record_bytes_max, on_error: OnError::Fail }
}

/// The columns of the first file that has any.
pub(crate) fn infer_schema(table: &TableDefinition) -> Result<Option<SchemaRef>> {
    const SAMPLE_BYTES: usize = 1 << 20;
    let options = FileOptions::try_new(table)?;
    let files = input_files(&options.path, options.file_order, NoFiles::Refused)?;
    let Some(file) = files.iter().find(|f| f.regular && f.size_bytes > 0) else {
        return Err(Error::invalid(206, format!("'{}' has no rows to find columns from", options.path))
            .with_hint("declare the columns in CREATE TABLE"));
    };
    let schema = match &options.format {
        FileFormat::Parquet => Ok(read_footer(&file.path)?.schema()),
        FileFormat::Text(format) => {
            let (head, complete) = read_head(&file.path, options.compression, SAMPLE_BYTES)?;
            infer_text_schema(format, &head, complete)
        }
    };
    let schema = schema.map_err(|e| e.context(format!("'{}'", shown(&file.path))))?;
    Ok(Some(with_partition_columns(schema, &table.partitioned_by)))
}

impl Source for FileSource {
    fn schema(&self) -> SchemaRef {
        match self.changes_options() {
            Some(options) => debezium::schema(&self.schema, options.key.as_ref().map(|key| self.places(key))),
            None => Arc::clone(&self.schema),
        }
    }

    fn changes(&self) -> Changes {
        match self.changes_options() {
            Some(DebeziumOptions { key: Some(_) }) => Changes::Upsert,
            Some(DebeziumOptions { key: None }) => Changes::Retract,
            None => Changes::Append,
        }
    }

    fn boundedness(&self) -> Boundedness {
        match self.options.growth {
            Growth::Fixed => Boundedness::Bounded,
            Growth::Files { .. } | Growth::Lines { .. } => Boundedness::Unbounded,
        }
    }

    fn on_error(&self) -> rheos_core::letters::OnError {
        self.options.on_error
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        let schema = Arc::new(self.schema.project(columns)?);
        let columns: Vec<usize> = columns.iter().map(|c| self.columns[*c]).collect();
        let layout = layout(self.partitioning.as_deref(), self.stored, &columns);
        let file_schema = Arc::new(self.declared.project(&layout.file)?);
        // Each reading finds the files of a followed folder for itself.
        Ok(Arc::new(Self { columns, layout, schema, file_schema, watch: Arc::default(), ..self.clone() }))
    }

    fn narrow(&self, schema: &SchemaRef) -> Result<Option<Arc<dyn Source>>> {
        let schema = &without_weights(schema);
        let declared = narrowed(&self.declared, &self.schema, schema)?;
        let file_schema = Arc::new(declared.project(&self.layout.file)?);
        let schema = Arc::clone(schema);
        Ok(Some(Arc::new(Self { declared, schema, file_schema, watch: Arc::default(), ..self.clone() })))
    }

    fn discover(&self, time_column: Option<usize>, _parallelism: usize) -> Result<Discovery> {
        // Nothing in a file is a statistic of its metadata.
        let time = time_column.filter(|c| self.columns[*c] < self.stored).map(|c| self.schema.field(c).name().as_str());
        self.check_order(0)?;
        match self.options.growth {
            Growth::Files { interval } => return self.watch.look(self, time, interval),
            Growth::Lines { .. } => {
                let path = check_growing(&self.options)?;
                let mut file = InputFile::look(path)?;
                file.place = Some(place_of(&file.path)).filter(|place| place.to_str().is_some());
                let split = FileSplit::new(&file, Part::Growing).into_split(0, 0, None)?;
                return Ok(Discovery { splits: vec![split], finished: true });
            }
            Growth::Fixed => {}
        }
        // The folder was followed before.
        if let Some(splits) = self.watch.rest(self, time)? {
            return Ok(Discovery { splits, finished: true });
        }
        let files = input_files(&self.options.path, self.options.file_order, NoFiles::Refused)?;
        self.check_order(files.len())?;
        let (mut splits, mut places) = (vec![], Places::default());
        for (n, mut file) in files.into_iter().enumerate() {
            file.place = Some(places.of(&file.path)).filter(|place| place.to_str().is_some());
            let sequence = match self.options.file_order {
                FileOrder::Unknown => u32::try_from(n).unwrap_or(u32::MAX),
                FileOrder::Name | FileOrder::Modified => 0,
            };
            self.split_file(&file, sequence, time, &mut splits)?;
        }
        Ok(Discovery { splits, finished: true })
    }

    fn take_found(&self) -> Option<Found> {
        match self.options.growth {
            Growth::Files { .. } => self.watch.take_found(),
            Growth::Fixed | Growth::Lines { .. } => None,
        }
    }

    fn restore_found(&self, entries: &[String]) -> Result<()> {
        match self.options.growth {
            Growth::Files { .. } | Growth::Fixed => self.watch.restore_found(entries, &self.options),
            Growth::Lines { .. } => Ok(()),
        }
    }

    fn restore(&self, known: &[Split]) -> Result<()> {
        match self.options.growth {
            Growth::Files { .. } | Growth::Fixed => self.watch.restore(known, &self.options),
            Growth::Lines { .. } => Ok(()),
        }
    }

    fn resume(&self, open: &[(Split, Option<String>)]) -> Result<()> {
        let open = open.iter().map(|(split, position)| Ok((FileSplit::parse(split)?, position.as_deref())));
        moved::check(&self.options, &open.collect::<Result<Vec<_>>>()?)
    }

    fn open(&self, split: &Split, position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        let size = split.size_bytes;
        let mut split = FileSplit::parse(split)?;
        let named = split.path.clone();
        split.path = match split.part {
            // It is followed by its name.
            Part::Growing => PathBuf::from(&self.options.path),
            _ => split.open_path(),
        };
        if let Some(mark) = &split.mark
            && let Ok(file) = InputFile::look(split.path.clone())
            && !mark.is(&file).unwrap_or(true)
        {
            // Where nothing of it has been read, it is over; the one in its place is found anew.
            return gone(&split.path, position.is_none_or(|position| position == GONE), &ctx);
        }
        if let Part::Broken(reason) = split.part {
            let on_error = decoding(self.options.on_error, &ctx);
            if on_error == OnError::Fail {
                // The error as it is, with its code and hint.
                self.split_file(&InputFile::look(split.path)?, 0, None, &mut vec![])?;
            }
            return Ok(Box::new(BrokenReader::try_new(reason, position, self.schema(), on_error, ctx)?));
        }
        self.watch.set_warn(&ctx.warn);
        let values = self.constants(&named, &split.path)?;
        let reader = self.open_file(split, size, position, ctx)?;
        Ok(match values.is_empty() {
            true => reader,
            false => Box::new(PartitionReader::new(reader, values, &self.layout, Arc::clone(&self.schema))),
        })
    }

    fn reads_in(&self, folder: &Path) -> bool {
        reads_in(&self.options.path, folder)
    }

    fn follows_in(&self, folder: &Path) -> bool {
        let follows = matches!(self.options.growth, Growth::Files { .. });
        follows && comes_in(&self.options.path, folder, self.format_name())
    }

    fn describe(&self) -> Vec<(String, String)> {
        let mut facts = vec![
            ("connector".into(), "filesystem".into()),
            ("path".into(), self.options.path.clone()),
            ("format".into(), self.format_name().into()),
            ("columns".into(), column_names(&self.schema, &self.whole)),
        ];
        if let Some(partitioning) = &self.partitioning {
            facts.push(("partitioned by".into(), partitioning.names().collect::<Vec<_>>().join(", ")));
        }
        match self.options.growth {
            Growth::Fixed => {}
            Growth::Files { .. } => facts.push(("follows".into(), "new files".into())),
            Growth::Lines { .. } => facts.push(("follows".into(), "new lines".into())),
        }
        facts
    }
}

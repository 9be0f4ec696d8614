//! A table of files for reading.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef;
use rheos_core::connector::TableDefinition;
use rheos_core::source::{Boundedness, Discovery, ReaderContext, Source, Split, SplitReader};
use rheos_core::{Error, Result};
use rheos_formats::parquet::read::ParquetFooter;
use rheos_formats::{DecodeLimits, InputRange, TextDecoder, TextFormat, infer_text_schema};

use super::input::{read_head, read_header};
use super::options::{Compression, FileFormat, FileOptions, FileOrder};
use super::parquet::{ParquetReader, read_footer};
use super::paths::{InputFile, input_files, shown};
use super::reader::TextReader;
use super::splits::{FileSplit, Part, line_ranges};
use crate::io::pool::lock;

/// Footers that have been read, by path: shared by a source and its projections.
type Footers = Arc<Mutex<HashMap<PathBuf, ParquetFooter>>>;

/// See the module.
#[derive(Clone)]
pub(crate) struct FileSource {
    options: Arc<FileOptions>,
    /// The table as it was declared.
    declared: SchemaRef,
    /// The columns that are read: indices into `declared`.
    columns: Vec<usize>,
    schema: SchemaRef,
    footers: Footers,
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileSource({})", self.options.path)
    }
}

impl FileSource {
    pub(crate) fn try_new(table: &TableDefinition) -> Result<Self> {
        let options = FileOptions::try_new(&table.name, &table.options)?;
        let columns: Vec<usize> = (0..table.schema.fields().len()).collect();
        if let FileFormat::Text(format) = &options.format {
            // Types that text cannot hold are refused here, not when the job runs.
            TextDecoder::try_new(format, &table.schema, &columns, limits(&options, 1), InputRange::default())?;
        }
        Ok(Self {
            options: Arc::new(options),
            declared: Arc::clone(&table.schema),
            columns,
            schema: Arc::clone(&table.schema),
            footers: Footers::default(),
        })
    }

    fn footer(&self, path: &Path) -> Result<ParquetFooter> {
        if let Some(footer) = lock(&self.footers).get(path) {
            return Ok(footer.clone());
        }
        let footer = read_footer(path)?;
        lock(&self.footers).insert(path.into(), footer.clone());
        Ok(footer)
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
        rheos_formats::parquet::read::check_columns(&footer, &self.schema)
            .map_err(|e| e.context(format!("'{}'", shown(&file.path))))?;
        for group in 0..footer.row_groups() {
            let split = FileSplit { path: file.path.clone(), part: Part::RowGroup(group) };
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
            splits.push(FileSplit { path: file.path.clone(), part }.into_split(sequence, size, None)?);
        }
        Ok(())
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
        let mut decoder = TextDecoder::try_new(format, &self.declared, &self.columns, limits, InputRange::default())?;
        decoder.set_header(&header).map_err(|e| e.context(format!("'{name}'")))
    }
}

fn limits(options: &FileOptions, batch_rows: usize) -> DecodeLimits {
    DecodeLimits { batch_rows, record_bytes_max: options.record_bytes_max, on_error: options.on_error }
}

/// The columns of the first file that has any.
pub(crate) fn infer_schema(table: &TableDefinition) -> Result<Option<SchemaRef>> {
    const SAMPLE_BYTES: usize = 1 << 20;
    let options = FileOptions::try_new(&table.name, &table.options)?;
    let files = input_files(&options.path, options.file_order)?;
    let Some(file) = files.iter().find(|f| f.regular && f.size_bytes > 0) else {
        return Err(Error::invalid(206, format!("'{}' has no rows to find columns from", options.path))
            .with_hint("declare the columns in CREATE TABLE"));
    };
    let schema = match &options.format {
        FileFormat::Parquet => return Ok(Some(read_footer(&file.path)?.schema())),
        FileFormat::Text(format) => {
            let (head, complete) = read_head(&file.path, options.compression, SAMPLE_BYTES)?;
            infer_text_schema(format, &head, complete)
        }
    };
    schema.map(Some).map_err(|e| e.context(format!("'{}'", shown(&file.path))))
}

impl Source for FileSource {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn project(&self, columns: &[usize]) -> Result<Arc<dyn Source>> {
        let schema = Arc::new(self.schema.project(columns)?);
        let columns = columns.iter().map(|c| self.columns[*c]).collect();
        Ok(Arc::new(Self { columns, schema, ..self.clone() }))
    }

    fn discover(&self, time_column: Option<usize>, _parallelism: usize) -> Result<Discovery> {
        let files = input_files(&self.options.path, self.options.file_order)?;
        let time = time_column.map(|c| self.schema.field(c).name().as_str());
        let mut splits = vec![];
        for (n, file) in files.iter().enumerate() {
            let sequence = match self.options.file_order {
                FileOrder::Unknown => u32::try_from(n).unwrap_or(u32::MAX),
                FileOrder::Name | FileOrder::Modified => 0,
            };
            match &self.options.format {
                FileFormat::Parquet => self.split_parquet(file, sequence, time, &mut splits)?,
                FileFormat::Text(format) => self.split_text(file, format, sequence, &mut splits)?,
            }
        }
        Ok(Discovery { splits, finished: true })
    }

    fn open(&self, split: &Split, position: Option<&str>, ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        let size = split.size_bytes;
        let split = FileSplit::parse(split)?;
        let options = &self.options;
        Ok(match (&options.format, &split.part) {
            (FileFormat::Parquet, Part::RowGroup(group)) => {
                let footer = lock(&self.footers).get(&split.path).cloned();
                let (schema, group) = (Arc::clone(&self.schema), *group);
                Box::new(ParquetReader::try_new(
                    split.path,
                    group,
                    footer,
                    position,
                    size,
                    schema,
                    options.on_error,
                    ctx,
                )?)
            }
            (FileFormat::Text(format), Part::Whole | Part::Lines { .. }) => Box::new(TextReader::try_new(
                split,
                size,
                position,
                format,
                options,
                &self.declared,
                &self.columns,
                ctx,
            )?),
            _ => return Err(Error::internal("a split of another format")),
        })
    }

    fn describe(&self) -> Vec<(String, String)> {
        let columns: Vec<&str> = self.schema.fields().iter().map(|f| f.name().as_str()).collect();
        let format = match &self.options.format {
            FileFormat::Parquet => "parquet",
            FileFormat::Text(TextFormat::Json) => "json",
            FileFormat::Text(TextFormat::Csv(_)) => "csv",
        };
        vec![
            ("connector".into(), "filesystem".into()),
            ("path".into(), self.options.path.clone()),
            ("format".into(), format.into()),
            ("columns".into(), columns.join(", ")),
        ]
    }
}

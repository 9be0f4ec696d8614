//! The options of file tables: one definition for parser, check, help and docs.

use std::collections::BTreeMap;
use std::time::Duration;

use rheos_core::connector::TableDefinition;
use rheos_core::letters::OnError;
use rheos_core::options::{OptionDef, OptionType, Options};
use rheos_core::source::ReaderContext;
use rheos_core::{Error, Result};
use rheos_formats::TextFormat;
use rheos_formats::csv::CsvOptions;
use rheos_formats::debezium::DebeziumOptions;

use super::sink_options::{PARQUET, PARTITION_COMMIT, SINK, SinkOptions};

/// What every file table has.
pub(crate) const GENERAL: &[OptionDef] = &[
    OptionDef::new(
        "path",
        OptionType::Text,
        "",
        "A file, a folder (all files in and below it but hidden ones) or a glob such as `data/2013-*.csv`; for writing, the folder of the parts. \
         A relative path starts at the working directory.",
    )
    .required(),
    OptionDef::new(
        "format",
        OptionType::OneOf(&["csv", "json", "debezium-json", "parquet"]),
        "",
        "How records are written; `json` is one object a line, `debezium-json` one change of a row.",
    )
    .required(),
    OptionDef::new(
        "compression",
        OptionType::OneOf(&["auto", "none", "gzip", "zstd"]),
        "auto",
        "Of csv and json files. `auto` goes by the name's suffix (`.gz`, `.zst`) when reading and is `none` when writing; Parquet is \
         compressed inside, see `parquet.compression`.",
    ),
    OptionDef::new(
        "partition.default-name",
        OptionType::Text,
        "__HIVE_DEFAULT_PARTITION__",
        "What stands in the path for a NULL in a column of `PARTITIONED BY`, and, as in Hive, for an empty text.",
    ),
];

/// What reading needs.
pub(crate) const SOURCE: &[OptionDef] = &[
    ON_ERROR,
    RECORD_SIZE_MAX,
    OptionDef::new(
        "file-order",
        OptionType::OneOf(&["none", "name", "modified"]),
        "none",
        "Whether event times rise from file to file, in the order of names (by bytes) or of modification times. With `none` the \
         watermark waits for all files at once.",
    ),
    OptionDef::new(
        "source.split-size",
        OptionType::Size,
        "8 MiB",
        "Files are read in pieces of this size at most: by any worker, in file order. Compressed files and csv with `csv.multiline` \
         are read in one piece, Parquet by row groups.",
    ),
    OptionDef::new(
        "source.monitor-interval",
        OptionType::Duration,
        "",
        "Follows the folder or glob: new files are looked for this often, and the table has no end. Each file is read once. With \
         `source.follow`, how often the file is looked at; `1 s` unless given.",
    ),
    OptionDef::new(
        "source.follow",
        OptionType::Bool,
        "false",
        "Follows one growing csv or json file like `tail -F`: lines are read as they are appended, and the table has no end.",
    ),
    OptionDef::new(
        "source.lost-lines",
        OptionType::OneOf(&["fail", "accept"]),
        "fail",
        "What it does that lines of a followed file may be lost, since it was cut or a rotated file has gone: end the job, or be told, \
         and reading goes on with what is there.",
    ),
];

/// What bad records do: shared by all sources that decode.
pub(crate) const ON_ERROR: OptionDef = OptionDef::new(
    "on-error",
    OptionType::OneOf(&["fail", "skip", "dead-letter"]),
    "",
    "What a record that cannot be read does: end the job with its file, line and reason, be left out and counted, or go to \
     the table's dead letters, which is what holds in a job that keeps them; see Bad records. `fail` in any other.",
);

/// The limit of a record: shared by all sources that decode.
pub(crate) const RECORD_SIZE_MAX: OptionDef = OptionDef::new(
    "record.size-max",
    OptionType::Size,
    "16 MiB",
    "A longer record (csv, json) is a bad record; it is passed over without being held in memory.",
);

/// What csv needs.
pub(crate) const CSV: &[OptionDef] = &[
    OptionDef::new(
        "csv.header",
        OptionType::Bool,
        "true",
        "Whether the first record names the columns. Columns then match by name, in any order; with `false` they match by position.",
    )
    .alias(&["header"]),
    OptionDef::new("csv.delimiter", OptionType::Text, ",", "The character between fields; `\\t` is a tab.")
        .alias(&["csv.field-delimiter", "delimiter"]),
    OptionDef::new("csv.quote", OptionType::Text, "\"", "The character around fields that hold special characters.")
        .alias(&["csv.quote-character"]),
    OptionDef::new(
        "csv.null-literal",
        OptionType::Text,
        "",
        "A spelling of NULL beside the empty field, such as `NA`; in quotes it is text.",
    ),
    OptionDef::new(
        "csv.multiline",
        OptionType::Bool,
        "true",
        "Whether quoted fields may hold newlines. With `false` (checked) several workers read one file.",
    )
    .alias(&["multiline"]),
];

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Auto,
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// The one of a file of this name.
    pub(crate) fn of(self, path: &std::path::Path) -> Self {
        match (self, path.extension().and_then(|e| e.to_str())) {
            (Self::Auto, Some("gz" | "gzip")) => Self::Gzip,
            (Self::Auto, Some("zst" | "zstd")) => Self::Zstd,
            (Self::Auto, _) => Self::None,
            (given, _) => given,
        }
    }
}

/// A format of files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileFormat {
    Text(TextFormat),
    Parquet,
}

/// Whether files have an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileOrder {
    Unknown,
    Name,
    Modified,
}

/// Whether a source's files are all there when the job starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Growth {
    /// They are, and are whole.
    Fixed,
    /// More files come.
    Files {
        /// Time between two looks.
        interval: Duration,
    },
    /// One file becomes longer.
    Lines {
        /// Time between two looks.
        interval: Duration,
        /// Lines that may be lost are told, and do not end the job.
        accepts_loss: bool,
    },
}

/// The checked options of a file table.
#[derive(Debug, Clone)]
pub(crate) struct FileOptions {
    pub(crate) path: String,
    pub(crate) format: FileFormat,
    pub(crate) compression: Compression,
    pub(crate) on_error: OnError,
    pub(crate) record_bytes_max: usize,
    pub(crate) file_order: FileOrder,
    pub(crate) split_bytes_max: u64,
    pub(crate) growth: Growth,
    pub(crate) partition_default_name: String,
    pub(crate) sink: SinkOptions,
}

impl FileOptions {
    pub(crate) fn try_new(table: &TableDefinition) -> Result<Self> {
        let given = &table.options;
        let owner = format!("table '{}' (connector 'filesystem')", table.name);
        let options = Options::try_new(&owner, given, &[GENERAL, SOURCE, CSV, SINK, PARQUET, PARTITION_COMMIT])?;
        let format = match options.text("format") {
            "parquet" => FileFormat::Parquet,
            "debezium-json" => FileFormat::Text(TextFormat::Debezium(changes(table, &owner)?)),
            name => FileFormat::Text(text_format(name, &options)?),
        };
        check_format_options(&owner, options.text("format"), given)?;
        let path = options.text("path");
        if path.is_empty() {
            return Err(
                Error::invalid(113, format!("{owner} has an empty path")).with_hint("name a file, a folder or a glob")
            );
        }
        Ok(Self {
            path: path.strip_prefix("file://").unwrap_or(path).to_string(),
            format,
            compression: match options.text("compression") {
                "none" => Compression::None,
                "gzip" => Compression::Gzip,
                "zstd" => Compression::Zstd,
                _ => Compression::Auto,
            },
            on_error: on_error(&options),
            record_bytes_max: record_bytes_max(&options)?,
            file_order: match options.text("file-order") {
                "name" => FileOrder::Name,
                "modified" => FileOrder::Modified,
                _ => FileOrder::Unknown,
            },
            split_bytes_max: options.size_bytes("source.split-size").map_or(1, |n| n.max(1)),
            growth: growth(&options)?,
            partition_default_name: partition_default_name(&options)?,
            sink: SinkOptions::try_new(&options, given)?,
        })
    }
}

/// What is known of the rows of a table of changes. Errors: what is not there for such.
fn changes(table: &TableDefinition, owner: &str) -> Result<DebeziumOptions> {
    let refused = |what: &str| {
        let hint = "take it away: each line stands for a change of a whole row";
        Err(Error::invalid(142, format!("{owner}: {what} of 'debezium-json' is not supported yet")).with_hint(hint))
    };
    if !table.partitioned_by.is_empty() {
        return refused("PARTITIONED BY");
    }
    if !table.metadata.is_empty() {
        return refused("a METADATA column");
    }
    let place = |name: &String| table.schema.index_of(name).ok();
    let key = table.primary_key.iter().filter_map(place).collect::<Vec<_>>();
    Ok(DebeziumOptions { key: Some(key).filter(|key| !key.is_empty()) })
}

fn growth(options: &Options) -> Result<Growth> {
    let given = options.duration_ms("source.monitor-interval");
    if given.is_some_and(|ms| ms <= 0) {
        return Err(Error::invalid(219, "option 'source.monitor-interval' must be more than zero")
            .with_hint("write it as '1 s'"));
    }
    let interval = |ms: i64| Duration::from_millis(ms.unsigned_abs());
    if options.text("source.lost-lines") == "accept" && !options.bool("source.follow") {
        return Err(Error::invalid(217, "option 'source.lost-lines' does nothing, since the table follows no file")
            .with_hint("remove it, or set 'source.follow' = 'true'"));
    }
    match (options.bool("source.follow"), given) {
        (false, None) => Ok(Growth::Fixed),
        (false, Some(ms)) => Ok(Growth::Files { interval: interval(ms) }),
        (true, _) if options.text("format") == "parquet" => {
            Err(Error::invalid(234, "option 'source.follow' is 'true', but a Parquet file does not grow by lines")
                .with_hint("follow the folder of the files by 'source.monitor-interval' = '1 s'"))
        }
        (true, ms) => Ok(Growth::Lines {
            interval: interval(ms.unwrap_or(1000)),
            accepts_loss: options.text("source.lost-lines") == "accept",
        }),
    }
}

fn partition_default_name(options: &Options) -> Result<String> {
    let name = options.text("partition.default-name");
    if name.is_empty() || name.contains('/') {
        return Err(Error::invalid(
            219,
            format!("option 'partition.default-name' is '{name}', which no folder can end with"),
        )
        .with_hint("leave it away: it is __HIVE_DEFAULT_PARTITION__"));
    }
    Ok(name.to_string())
}

/// The value of `on-error`.
pub(crate) fn on_error(options: &Options) -> OnError {
    match options.get("on-error") {
        Some("fail") => OnError::Fail,
        Some("skip") => OnError::Skip,
        Some("dead-letter") => OnError::DeadLetter,
        _ => OnError::Unset,
    }
}

/// What a reader does with bad records: dead letters are for those who read them.
pub(crate) fn decoding(on_error: OnError, ctx: &ReaderContext) -> rheos_formats::OnError {
    match on_error {
        OnError::Fail => rheos_formats::OnError::Fail,
        OnError::Skip => rheos_formats::OnError::Skip,
        OnError::Unset | OnError::DeadLetter if ctx.letters.is_some() => rheos_formats::OnError::DeadLetter,
        OnError::Unset | OnError::DeadLetter => rheos_formats::OnError::Fail,
    }
}

/// The value of `record.size-max`, at most 1 GiB.
pub(crate) fn record_bytes_max(options: &Options) -> Result<usize> {
    const LIMIT: u64 = 1 << 30;
    let bytes = options.size_bytes("record.size-max").unwrap_or(LIMIT);
    if (1..=LIMIT).contains(&bytes) {
        return Ok(bytes as usize);
    }
    Err(Error::invalid(219, "option 'record.size-max' is out of range").with_hint("use 1 B to 1 GiB"))
}

/// The format `csv` or `json` with its options.
pub(crate) fn text_format(name: &str, options: &Options) -> Result<TextFormat> {
    if name != "csv" {
        return Ok(TextFormat::Json);
    }
    let delimiter = one_byte("csv.delimiter", options.text("csv.delimiter"))?;
    let quote = one_byte("csv.quote", options.text("csv.quote"))?;
    if delimiter == quote {
        return Err(Error::invalid(219, "'csv.delimiter' and 'csv.quote' are the same character")
            .with_hint("use different characters"));
    }
    Ok(TextFormat::Csv(CsvOptions {
        delimiter,
        quote,
        header: options.bool("csv.header"),
        null_literal: options.get("csv.null-literal").filter(|l| !l.is_empty()).map(str::to_string),
        multiline: options.bool("csv.multiline"),
    }))
}

fn one_byte(name: &str, value: &str) -> Result<u8> {
    match value.as_bytes() {
        b"\\t" => Ok(b'\t'),
        [b] if b.is_ascii() && !matches!(b, b'\n' | b'\r') => Ok(*b),
        _ => Err(Error::invalid(219, format!("option '{name}' is '{value}', but it must be one ASCII character"))
            .with_hint("such as ',', ';', '|' or '\\t'")),
    }
}

/// An option of one format beside another format is a mistake.
fn check_format_options(owner: &str, format: &str, given: &BTreeMap<String, String>) -> Result<()> {
    for (owning, options) in [("csv", CSV), ("parquet", PARQUET)] {
        let has = |name: &str| options.iter().any(|d| d.name == name || d.aliases.contains(&name));
        if let Some(name) = given.keys().find(|name| format != owning && has(name)) {
            let what = format!("{owner} has the format '{format}', so option '{name}' does nothing");
            return Err(Error::invalid(217, what).with_hint(format!("remove '{name}', or set 'format' = '{owning}'")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn options(given: &[(&str, &str)]) -> Result<FileOptions> {
        let options = given.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        let (partitioned_by, primary_key, metadata) = (vec![], vec![], vec![]);
        let name = "t".into();
        FileOptions::try_new(&TableDefinition { name, schema, options, partitioned_by, primary_key, metadata })
    }

    #[test]
    fn mistakes_in_options_are_named() {
        let message = |given: &[(&str, &str)]| options(given).unwrap_err().to_string();
        assert!(message(&[("path", "x")]).contains("needs the option 'format'"));
        assert!(message(&[("path", "x"), ("format", "cvs")]).contains("did you mean 'csv'?"));
        assert!(
            message(&[("path", "x"), ("format", "csv"), ("csv.headr", "true")]).contains("did you mean 'csv.header'?")
        );
        assert!(message(&[("path", "x"), ("format", "json"), ("csv.header", "true")]).contains("does nothing"));
        assert!(message(&[("path", "x"), ("format", "csv"), ("csv.delimiter", "||")]).contains("one ASCII character"));
        assert!(message(&[("path", ""), ("format", "csv")]).contains("empty path"));
        let packed = ("parquet.compression", "snappy");
        assert!(message(&[("path", "x"), ("format", "csv"), packed]).contains("'parquet.compression' does nothing"));
        let unknown = ("parquet.compression", "snapy");
        assert!(message(&[("path", "x"), ("format", "parquet"), unknown]).contains("did you mean 'snappy'?"));
    }

    #[test]
    fn what_grows_needs_an_interval_and_lines() {
        let growth =
            |more: &[(&str, &str)]| options(&[&[("path", "x"), ("format", "csv")], more].concat()).map(|o| o.growth);
        assert_eq!(growth(&[]).unwrap(), Growth::Fixed);
        let ms = Duration::from_millis;
        assert_eq!(growth(&[("source.monitor-interval", "20 ms")]).unwrap(), Growth::Files { interval: ms(20) });
        assert_eq!(
            growth(&[("source.follow", "true")]).unwrap(),
            Growth::Lines { interval: ms(1000), accepts_loss: false }
        );
        let error = growth(&[("source.monitor-interval", "0 s")]).unwrap_err();
        assert!(error.message().contains("more than zero"), "{error}");
        let error = options(&[("path", "x"), ("format", "parquet"), ("source.follow", "true")]).unwrap_err();
        assert_eq!(error.code(), "R0234");
    }

    #[test]
    fn aliases_and_tabs() {
        let given = [("path", "file:///x"), ("format", "csv"), ("multiline", "false"), ("delimiter", "\\t")];
        let options = options(&given).unwrap();
        assert_eq!(options.path, "/x");
        let FileFormat::Text(TextFormat::Csv(csv)) = options.format else { panic!() };
        assert_eq!((csv.delimiter, csv.multiline, csv.header), (b'\t', false, true));
    }
}

//! The options of writing: when parts are closed, and when partitions are declared complete.

use std::collections::BTreeMap;
use std::time::Duration;

use rheos_core::options::{OptionDef, OptionType, Options};
use rheos_core::{Error, Result};
use rheos_formats::parquet::write::ParquetCompression;

/// What writing needs.
pub(crate) const SINK: &[OptionDef] = &[
    OptionDef::new(
        "sink.if-exists",
        OptionType::OneOf(&["append", "fail", "replace"]),
        "append",
        "What a folder with files does: `append` adds parts, `fail` refuses, `replace` deletes earlier parts when \
         the first new ones are complete, and refuses if the folder holds any other file or the job reads it.",
    ),
    OptionDef::new(
        "sink.commit-interval",
        OptionType::Duration,
        "",
        "How often, at an epoch's end, all output becomes visible while the job runs; the end of the job always does it. \
         `60 s` unless it, `sink.rolling-policy.rollover-interval` or `sink.rolling-policy.inactivity-interval` is given.",
    ),
    OptionDef::new(
        "sink.rolling-policy.file-size",
        OptionType::Size,
        "128 MiB",
        "A part of this size is closed and the next one begun; in a job that keeps state, parts are put together up to it.",
    ),
    OptionDef::new(
        "sink.rolling-policy.rollover-interval",
        OptionType::Duration,
        "30 min",
        "A part that has been open for so long is closed.",
    ),
    OptionDef::new(
        "sink.rolling-policy.inactivity-interval",
        OptionType::Duration,
        "30 min",
        "A part that has got no row for so long is closed.",
    ),
    OptionDef::new(
        "sink.rolling-policy.check-interval",
        OptionType::Duration,
        "1 min",
        "How often, at an epoch's end, the two intervals are looked at.",
    ),
    OptionDef::new(
        "sink.open-files-max",
        OptionType::Integer { min: 1, max: 4096 },
        "64",
        "Parts that one worker has open at once, one a partition; at one more, the part that was not written for longest is closed.",
    ),
];

/// What writing Parquet needs.
pub(crate) const PARQUET: &[OptionDef] = &[OptionDef::new(
    "parquet.compression",
    OptionType::OneOf(&["zstd", "snappy", "lz4", "gzip", "uncompressed"]),
    "zstd",
    "How the pages of Parquet files are packed when writing; reading takes any. `snappy` is read faster than `zstd` and is larger.",
)];

/// What the commit of partitions needs.
pub(crate) const PARTITION_COMMIT: &[OptionDef] = &[
    OptionDef::new(
        "sink.partition-commit.policy.kind",
        OptionType::Text,
        "",
        "How a partition is declared complete: `success-file` puts an empty file into its folder. Without it nothing is declared.",
    ),
    OptionDef::new(
        "sink.partition-commit.trigger",
        OptionType::OneOf(&["process-time", "partition-time"]),
        "process-time",
        "When: by the clock since the partition's first file, or when the watermark reaches the partition's time.",
    ),
    OptionDef::new(
        "sink.partition-commit.delay",
        OptionType::Duration,
        "0 s",
        "How much later; for partitions of an hour by `partition-time` it is `1 h`.",
    ),
    OptionDef::new(
        "sink.partition-commit.success-file.name",
        OptionType::Text,
        "_SUCCESS",
        "The name of the empty file.",
    ),
    OptionDef::new(
        "sink.partition-commit.watermark-time-zone",
        OptionType::Text,
        "UTC",
        "The zone of a partition's time, such as `Asia/Shanghai` or `+08:00`.",
    ),
    OptionDef::new(
        "partition.time-extractor.timestamp-pattern",
        OptionType::Text,
        "",
        "The partition's time from its columns, such as `$day $hour:00:00`; the first column unless given.",
    ),
    OptionDef::new(
        "partition.time-extractor.timestamp-formatter",
        OptionType::Text,
        "",
        "How that text is read: a Java pattern such as `yyyyMMdd HH`; `yyyy-MM-dd[ HH:mm[:ss]]` unless given.",
    ),
];

/// What a sink does with a folder that holds files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfExists {
    Append,
    Fail,
    Replace,
}

/// When a part is closed although its folder gets more rows.
#[derive(Debug, Clone)]
pub(crate) struct RollingPolicy {
    pub(crate) part_bytes_max: u64,
    pub(crate) rollover: Duration,
    pub(crate) inactivity: Duration,
    pub(crate) check: Duration,
    pub(crate) open_parts_max: usize,
}

/// What makes a partition complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trigger {
    ProcessTime,
    PartitionTime,
}

/// How partitions are declared complete.
#[derive(Debug, Clone)]
pub(crate) struct PartitionCommitOptions {
    pub(crate) trigger: Trigger,
    pub(crate) delay: Duration,
    pub(crate) success_file: String,
    pub(crate) zone: String,
    pub(crate) pattern: Option<String>,
    pub(crate) formatter: Option<String>,
}

/// The checked options of writing.
#[derive(Debug, Clone)]
pub(crate) struct SinkOptions {
    pub(crate) if_exists: IfExists,
    pub(crate) commit_interval: Duration,
    pub(crate) rolling: RollingPolicy,
    pub(crate) parquet_compression: ParquetCompression,
    /// `None`: partitions are not declared complete.
    pub(crate) partition_commit: Option<PartitionCommitOptions>,
}

impl SinkOptions {
    pub(crate) fn try_new(options: &Options, given: &BTreeMap<String, String>) -> Result<Self> {
        let duration = |name: &str| options.duration_ms(name).map(|ms| Duration::from_millis(ms.unsigned_abs()));
        let or_never = |name: &str| duration(name).unwrap_or(Duration::MAX);
        let by_age = ["rollover-interval", "inactivity-interval"]
            .iter()
            .any(|name| given.contains_key(&format!("sink.rolling-policy.{name}")));
        let commit_default = if by_age { Duration::MAX } else { Duration::from_secs(60) };
        Ok(Self {
            if_exists: match options.text("sink.if-exists") {
                "fail" => IfExists::Fail,
                "replace" => IfExists::Replace,
                _ => IfExists::Append,
            },
            commit_interval: duration("sink.commit-interval").unwrap_or(commit_default),
            rolling: RollingPolicy {
                part_bytes_max: options.size_bytes("sink.rolling-policy.file-size").unwrap_or(u64::MAX),
                rollover: or_never("sink.rolling-policy.rollover-interval"),
                inactivity: or_never("sink.rolling-policy.inactivity-interval"),
                check: or_never("sink.rolling-policy.check-interval"),
                open_parts_max: options
                    .integer("sink.open-files-max")
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(1),
            },
            parquet_compression: match options.text("parquet.compression") {
                "snappy" => ParquetCompression::Snappy,
                "lz4" => ParquetCompression::Lz4,
                "gzip" => ParquetCompression::Gzip,
                "uncompressed" => ParquetCompression::Uncompressed,
                _ => ParquetCompression::Zstd,
            },
            partition_commit: partition_commit(options, given)?,
        })
    }
}

fn partition_commit(options: &Options, given: &BTreeMap<String, String>) -> Result<Option<PartitionCommitOptions>> {
    const KIND: &str = "sink.partition-commit.policy.kind";
    let refuse = |what: String, hint: &str| Err(Error::invalid(219, what).with_hint(hint));
    let Some(kinds) = options.get(KIND) else {
        return match PARTITION_COMMIT.iter().find(|d| given.contains_key(d.name)) {
            Some(def) => Err(Error::invalid(217, format!("option '{}' does nothing without '{KIND}'", def.name))
                .with_hint(format!("add '{KIND}' = 'success-file'"))),
            None => Ok(None),
        };
    };
    for kind in kinds.split(',').map(str::trim) {
        match kind {
            "success-file" => {}
            "metastore" => {
                let what = format!("option '{KIND}' is 'metastore', but Rheos has no Hive metastore to tell");
                return refuse(what, "use 'success-file', and let the metastore discover the partitions");
            }
            other => return refuse(format!("option '{KIND}' is '{other}'"), "use 'success-file'"),
        }
    }
    let success_file = options.text("sink.partition-commit.success-file.name");
    if !success_file.starts_with(['_', '.']) || success_file.len() < 2 || success_file.contains('/') {
        let what = format!("option 'sink.partition-commit.success-file.name' is '{success_file}'");
        return refuse(what, "use a name that begins with '_', so that readers of the folder pass over it");
    }
    let text = |name: &str| options.get(name).filter(|t| !t.is_empty()).map(str::to_string);
    Ok(Some(PartitionCommitOptions {
        trigger: match options.text("sink.partition-commit.trigger") {
            "partition-time" => Trigger::PartitionTime,
            _ => Trigger::ProcessTime,
        },
        delay: Duration::from_millis(
            options.duration_ms("sink.partition-commit.delay").unwrap_or_default().unsigned_abs(),
        ),
        success_file: success_file.to_string(),
        zone: options.text("sink.partition-commit.watermark-time-zone").to_string(),
        pattern: text("partition.time-extractor.timestamp-pattern"),
        formatter: text("partition.time-extractor.timestamp-formatter"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &[(&str, &str)]) -> Result<SinkOptions> {
        let given = given.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        SinkOptions::try_new(&Options::try_new("table 't'", &given, &[SINK, PARQUET, PARTITION_COMMIT])?, &given)
    }

    #[test]
    fn parts_become_visible_by_age_where_an_age_is_given() {
        let interval = |given: &[(&str, &str)]| parse(given).unwrap().commit_interval;
        assert_eq!(interval(&[]), Duration::from_secs(60));
        assert_eq!(interval(&[("sink.commit-interval", "5 s")]), Duration::from_secs(5));
        let rollover = ("sink.rolling-policy.rollover-interval", "10 min");
        assert_eq!(interval(&[rollover]), Duration::MAX);
        assert_eq!(interval(&[rollover, ("sink.commit-interval", "5 s")]), Duration::from_secs(5));
        let rolling = parse(&[("sink.rolling-policy.file-size", "128MB"), rollover]).unwrap().rolling;
        assert_eq!((rolling.part_bytes_max, rolling.rollover.as_secs()), (128_000_000, 600));
    }

    #[test]
    fn policies_are_refused_by_name() {
        const KIND: &str = "sink.partition-commit.policy.kind";
        let message = |given: &[(&str, &str)]| parse(given).unwrap_err().to_string();
        assert!(message(&[(KIND, "metastore")]).contains("no Hive metastore"));
        assert!(message(&[(KIND, "success-file,metastore")]).contains("no Hive metastore"));
        assert!(message(&[(KIND, "custom")]).contains("'custom'"));
        assert!(message(&[("sink.partition-commit.delay", "1 h")]).contains("does nothing without"));
        let name = ("sink.partition-commit.success-file.name", "done");
        assert!(message(&[(KIND, "success-file"), name]).contains("'done'"));
        assert!(parse(&[(KIND, "success-file")]).unwrap().partition_commit.is_some());
    }
}

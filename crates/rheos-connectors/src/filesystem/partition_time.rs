//! The time of a partition, from the values in its path.
//!
//! ```text
//!   day=2024-05-01/hour=7 ──'$day $hour:00:00'──► 2024-05-01 7:00:00 ──zone──► ms since 1970
//! ```

use std::path::Path;
use std::sync::Arc;

use arrow::array::timezone::Tz;
use chrono::format::{Parsed, StrftimeItems, parse};
use chrono::{NaiveDateTime, Offset, TimeZone};
use rheos_core::error::did_you_mean;
use rheos_core::{Error, ErrorKind, Result};

use super::partition::Partitioning;
use super::sink_options::PartitionCommitOptions;

/// See the module.
#[derive(Debug)]
pub(crate) struct PartitionTime {
    partitioning: Arc<Partitioning>,
    pattern: Vec<Piece>,
    /// In chrono's words; tried in this order.
    formats: Vec<String>,
    /// `None`: UTC.
    zone: Option<Tz>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    /// A partition column.
    Column(usize),
}

/// As Flink reads it, where no formatter is given: digits may be missing, and so may the time.
const FORMATS: [&str; 4] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d"];

impl PartitionTime {
    /// Errors: `Invalid` for a pattern that names an unknown column, a formatter with letters that are not known, or an
    /// unknown zone.
    pub(crate) fn try_new(partitioning: &Arc<Partitioning>, options: &PartitionCommitOptions) -> Result<Self> {
        let formats = match &options.formatter {
            Some(formatter) => vec![chrono_format(formatter)?],
            None => FORMATS.map(str::to_string).to_vec(),
        };
        let pattern = match &options.pattern {
            Some(pattern) => pieces(pattern, partitioning)?,
            None => vec![Piece::Column(0)],
        };
        let zone = match options.zone.as_str() {
            "UTC" | "Z" => None,
            name => Some(name.parse::<Tz>().map_err(|_| {
                Error::invalid(
                    219,
                    format!("option 'sink.partition-commit.watermark-time-zone' is '{name}', which is no time zone"),
                )
                .with_hint("write it as 'Europe/Berlin' or '+02:00'")
            })?),
        };
        Ok(Self { partitioning: Arc::clone(partitioning), pattern, formats, zone })
    }

    /// The time of a partition in ms; `None` where a column that it is made of is NULL.
    ///
    /// Errors: `User` for values that make no time.
    pub(crate) fn of(&self, folder: &str) -> Result<Option<i64>> {
        let values = self.partitioning.values(Path::new(folder))?;
        let mut text = String::new();
        for piece in &self.pattern {
            match piece {
                Piece::Text(t) => text.push_str(t),
                Piece::Column(n) => match &values[*n] {
                    Some(value) => text.push_str(value),
                    None => return Ok(None),
                },
            }
        }
        // Timestamps with a zone are written with a `Z`.
        let plain = text.strip_suffix('Z').unwrap_or(&text);
        let Some(local) = self.formats.iter().find_map(|format| read(plain, format)) else {
            let what = format!("the partition '{folder}' has no time: '{text}' is no timestamp");
            return Err(Error::new(ErrorKind::User, 232, what).with_hint(
                "give 'partition.time-extractor.timestamp-pattern', such as '$day $hour:00:00', and, for another form \
                 than yyyy-MM-dd HH:mm:ss, 'partition.time-extractor.timestamp-formatter'",
            ));
        };
        let ms = local.and_utc().timestamp_millis();
        let Some(zone) = &self.zone else { return Ok(Some(ms)) };
        // An hour that comes twice is its first, one that is left out is taken as if it were not.
        let offset = match zone.offset_from_local_datetime(&local).earliest() {
            Some(offset) => offset.fix(),
            None => zone.offset_from_utc_datetime(&local).fix(),
        };
        Ok(Some(ms - i64::from(offset.local_minus_utc()) * 1000))
    }
}

fn read(text: &str, format: &str) -> Option<NaiveDateTime> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, StrftimeItems::new(format)).ok()?;
    // What the format does not say is the beginning; what it says is kept, since a second value is refused.
    let _ = (parsed.set_day(1), parsed.set_month(1), parsed.set_minute(0), parsed.set_second(0));
    if parsed.to_naive_time().is_err() {
        let _ = parsed.set_hour(0);
    }
    Some(parsed.to_naive_date().ok()?.and_time(parsed.to_naive_time().ok()?))
}

/// `$column` in a pattern; the longest name counts, so that `$hours` is not `$hour` and an s.
fn pieces(pattern: &str, partitioning: &Partitioning) -> Result<Vec<Piece>> {
    let mut found = vec![];
    let mut parts = pattern.split('$');
    found.extend(parts.next().filter(|t| !t.is_empty()).map(|t| Piece::Text(t.to_string())));
    for part in parts {
        let names = partitioning.names().enumerate().filter(|(_, name)| part.starts_with(name));
        let Some((column, name)) = names.max_by_key(|(_, name)| name.len()) else {
            let word: String = part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let list = format!("the partition columns are: {}", partitioning.names().collect::<Vec<_>>().join(", "));
            let what = format!(
                "option 'partition.time-extractor.timestamp-pattern' names '${word}', which is no partition column"
            );
            return Err(Error::invalid(219, what).with_hint(did_you_mean(&word, partitioning.names(), &list)));
        };
        found.push(Piece::Column(column));
        let rest = &part[name.len()..];
        found.extend((!rest.is_empty()).then(|| Piece::Text(rest.to_string())));
    }
    Ok(found)
}

/// A Java pattern in chrono's words.
fn chrono_format(pattern: &str) -> Result<String> {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let run = rest.chars().take_while(|c| *c == first).count();
        let (word, used) = match (first, run) {
            ('y' | 'u', 4) => ("%Y".to_string(), 4),
            ('M', 1 | 2) => ("%m".to_string(), run),
            ('d', 1 | 2) => ("%d".to_string(), run),
            ('H', 1 | 2) => ("%H".to_string(), run),
            ('m', 1 | 2) => ("%M".to_string(), run),
            ('s', 1 | 2) => ("%S".to_string(), run),
            ('S', 3 | 6 | 9) => (format!("%{run}f"), run),
            ('\'', _) => match rest[1..].split_once('\'') {
                Some(("", _)) => ("'".to_string(), 2),
                Some((literal, _)) => (literal.replace('%', "%%"), literal.len() + 2),
                None => return Err(unknown_letter(pattern, '\'')),
            },
            (c, _) if c.is_ascii_alphabetic() => return Err(unknown_letter(pattern, c)),
            ('%', _) => ("%%".to_string(), 1),
            (c, _) => (c.to_string(), c.len_utf8()),
        };
        out.push_str(&word);
        rest = &rest[used..];
    }
    Ok(out)
}

fn unknown_letter(pattern: &str, letter: char) -> Error {
    Error::invalid(
        219,
        format!(
            "option 'partition.time-extractor.timestamp-formatter' is '{pattern}', and '{letter}' in it is not known"
        ),
    )
    .with_hint("use yyyy, MM, dd, HH, mm, ss and SSS, and texts in single quotes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use arrow::datatypes::{DataType, Field, Schema};
    use rheos_core::connector::TableDefinition;

    use crate::filesystem::sink_options::Trigger;

    fn time(pattern: Option<&str>, formatter: Option<&str>, zone: &str) -> Result<PartitionTime> {
        let field = |name| Field::new(name, DataType::Utf8, true);
        let table = TableDefinition {
            name: "t".into(),
            schema: Arc::new(Schema::new(["a", "day", "hour", "hour_2"].map(field).to_vec())),
            options: BTreeMap::new(),
            partitioned_by: ["day", "hour", "hour_2"].map(String::from).to_vec(),
            primary_key: vec![],
            metadata: vec![],
        };
        let partitioning = Partitioning::try_new(&table, "NULL").unwrap().unwrap();
        let options = PartitionCommitOptions {
            trigger: Trigger::PartitionTime,
            delay: Duration::ZERO,
            success_file: "_SUCCESS".into(),
            zone: zone.into(),
            pattern: pattern.map(String::from),
            formatter: formatter.map(String::from),
        };
        PartitionTime::try_new(&Arc::new(partitioning), &options)
    }

    /// 2024-05-01 00:00 UTC, from `date -u -d 2024-05-01 +%s`.
    const MAY: i64 = 1_714_521_600_000;
    const HOUR: i64 = 3_600_000;

    #[test]
    fn times_of_partitions() {
        let of = |pattern, formatter, zone, folder: &str| time(pattern, formatter, zone).unwrap().of(folder).unwrap();
        let hourly = Some("$day $hour:00:00");
        assert_eq!(of(hourly, None, "UTC", "day=2024-05-01/hour=7/hour_2=9"), Some(MAY + 7 * HOUR));
        assert_eq!(of(hourly, None, "+08:00", "day=2024-05-01/hour=7/hour_2=9"), Some(MAY - HOUR));
        assert_eq!(of(None, None, "UTC", "day=2024-05-01 03%3A30/hour=7/hour_2=9"), Some(MAY + 7 * HOUR / 2));
        assert_eq!(of(None, None, "UTC", "day=2024-05-01 03%3A00%3A00Z/hour=7/hour_2=9"), Some(MAY + 3 * HOUR));
        assert_eq!(of(Some("$day $hour_2:00"), None, "UTC", "day=2024-05-01/hour=7/hour_2=9"), Some(MAY + 9 * HOUR));
        assert_eq!(of(hourly, None, "UTC", "day=2024-05-01/hour=NULL/hour_2=9"), None);
        let compact = Some("yyyyMMdd'T'HH");
        assert_eq!(of(Some("$dayT$hour"), compact, "UTC", "day=20240501/hour=07/hour_2=9"), Some(MAY + 7 * HOUR));
        assert_eq!(of(None, Some("yyyy-MM"), "UTC", "day=2024-05/hour=07/hour_2=9"), Some(MAY));
    }

    #[test]
    fn mistakes_are_named() {
        let error = time(Some("$dya"), None, "UTC").unwrap_err();
        assert!(error.message().contains("'$dya'") && error.hint().unwrap().contains("'day'"), "{error}");
        assert!(time(None, Some("yyyy-QQ"), "UTC").unwrap_err().message().contains("'Q'"));
        assert!(time(None, None, "Mars/Base").unwrap_err().message().contains("'Mars/Base'"));
        let error = time(None, None, "UTC").unwrap().of("day=soon/hour=1/hour_2=2").unwrap_err();
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::User, "R0232"));
    }
}

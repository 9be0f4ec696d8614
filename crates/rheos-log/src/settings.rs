//! What may be set for a topic, by Kafka's names.

use serde::{Deserialize, Serialize};

use crate::partition::{PartitionOptions, Retention};

/// See the module. `None`: as by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_message_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segment_bytes: Option<i64>,
}

/// A setting as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Kafka's name.
    pub name: &'static str,
    /// Its value.
    pub value: i64,
    /// Nobody has set it.
    pub is_default: bool,
}

/// Kafka keeps records for a week.
const RETENTION_MS: i64 = 7 * 86_400_000;
/// A segment has to hold an index's step or two; and a file's offsets have their limits in clients.
const SEGMENT_BYTES: std::ops::RangeInclusive<i64> = 1 << 14..=1 << 30;
const MESSAGE_BYTES: std::ops::RangeInclusive<i64> = 1..=1 << 30;

impl Settings {
    /// Sets what `name` says; `None` as it is by default.
    ///
    /// Errors: a sentence about the name or the value.
    pub fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), String> {
        let number = |within: std::ops::RangeInclusive<i64>| {
            let Some(text) = value else { return Ok(None) };
            match text.parse::<i64>() {
                Ok(number) if within.contains(&number) => Ok(Some(number)),
                _ => Err(format!("'{name}' is a number from {} to {}, not '{text}'", within.start(), within.end())),
            }
        };
        match name {
            "retention.ms" => self.retention_ms = number(-1..=i64::MAX)?,
            "retention.bytes" => self.retention_bytes = number(-1..=i64::MAX)?,
            "max.message.bytes" => self.max_message_bytes = number(MESSAGE_BYTES)?,
            "segment.bytes" => self.segment_bytes = number(SEGMENT_BYTES)?,
            "cleanup.policy" if value.is_none_or(|v| v == "delete") => {}
            "cleanup.policy" => return Err("'cleanup.policy' is 'delete': logs are not compacted yet".into()),
            _ => return Err(format!("there is no setting '{name}'")),
        }
        Ok(())
    }

    /// All of them.
    pub fn shown(&self) -> [Shown; 4] {
        let defaults = PartitionOptions::default();
        let shown =
            |name, set: Option<i64>, value| Shown { name, value: set.unwrap_or(value), is_default: set.is_none() };
        [
            shown("retention.ms", self.retention_ms, RETENTION_MS),
            shown("retention.bytes", self.retention_bytes, -1),
            shown("max.message.bytes", self.max_message_bytes, defaults.batch_bytes_max as i64),
            shown("segment.bytes", self.segment_bytes, defaults.segment_bytes as i64),
        ]
    }

    /// How long records are kept. Negative numbers are no limit.
    pub fn retention(&self) -> Retention {
        let limit = |value: i64| Some(value).filter(|v| *v >= 0);
        Retention {
            age_ms: limit(self.retention_ms.unwrap_or(RETENTION_MS)),
            bytes: limit(self.retention_bytes.unwrap_or(-1)).map(i64::unsigned_abs),
        }
    }

    pub(crate) fn of_partition(&self) -> PartitionOptions {
        let mut options = PartitionOptions::default();
        if let Some(bytes) = self.max_message_bytes {
            options.batch_bytes_max = bytes as usize;
        }
        if let Some(bytes) = self.segment_bytes {
            options.segment_bytes = bytes.unsigned_abs();
        }
        options
    }
}

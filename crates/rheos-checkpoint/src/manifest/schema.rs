//! How single values stand in a manifest's text.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Checksum;

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Checksum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Checksum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let value = match text.len() == 16 && text.bytes().all(digits) {
            true => u64::from_str_radix(&text, 16).ok(),
            false => None,
        };
        let wrong = || de::Error::custom(format!("'{text}' is not a checksum of 16 hexadecimal digits"));
        value.map(Checksum).ok_or_else(wrong)
    }
}

/// Bytes as base64 with padding.
pub(super) mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(&text).map_err(|e| de::Error::custom(format!("not base64: {e}")))
    }
}

/// A committable as base64 with padding.
pub(super) mod committable {
    use rheos_core::sink::Committable;
    use serde::{Deserializer, Serializer};

    use super::base64_bytes;

    pub(crate) fn serialize<S: Serializer>(committable: &Committable, serializer: S) -> Result<S::Ok, S::Error> {
        base64_bytes::serialize(&committable.0, serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Committable, D::Error> {
        base64_bytes::deserialize(deserializer).map(Committable)
    }
}

/// The kind of a table as a word.
pub(super) mod table_kind {
    use rheos_core::state::TableKind;
    use serde::{Deserialize, Deserializer, Serializer, de};

    const WORDS: [(TableKind, &str); 4] = [
        (TableKind::Keyed, "keyed"),
        (TableKind::Split, "split"),
        (TableKind::Broadcast, "broadcast"),
        (TableKind::Single, "single"),
    ];

    pub(crate) fn serialize<S: Serializer>(kind: &TableKind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match kind {
            TableKind::Keyed => "keyed",
            TableKind::Split => "split",
            TableKind::Broadcast => "broadcast",
            TableKind::Single => "single",
        })
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TableKind, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = WORDS.iter().find(|(_, word)| *word == text).map(|(kind, _)| *kind);
        known.ok_or_else(|| de::Error::custom(format!("'{text}' is not a kind of table")))
    }
}

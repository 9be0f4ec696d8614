//! What a manifest says of sources: where reading goes on.

use rheos_core::OperatorId;
use rheos_core::source::Split;
use serde::{Deserialize, Serialize};

/// Where a source stands.
///
/// A split that the enumerator has handed out and that is not listed has been read to its end: so a folder that is followed
/// for a year does not make the manifest grow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceState {
    /// The stable id of its operator.
    pub operator: OperatorId,
    /// The lowest watermark of its workers at their cuts, in ms.
    pub watermark_ms: i64,
    /// Whether no split will be found any more.
    pub enumerated: bool,
    /// What its discovery has handed out, in the connector's own form: a restore does not find that again. Empty where it is a
    /// table of the operator's state, as all sources keep it now.
    pub enumerator: String,
    /// What is known of splits that have been read to their end, by sequence.
    pub sequences: Vec<SequenceState>,
    /// By id: splits that have not been read to their end, and finished ones that the enumerator does not know yet.
    pub splits: Vec<SplitState>,
}

/// What is left of the finished splits of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SequenceState {
    /// The sequence.
    pub sequence: u32,
    /// The largest event time that was read from them, in ms.
    pub finished_max_ms: i64,
}

/// Where a split stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitState {
    /// The split, as it was discovered.
    pub split: Split,
    /// How far it has been read.
    pub progress: SplitProgress,
    /// The largest event time that has been read from it, in ms.
    pub max_event_time_ms: Option<i64>,
}

/// How far a split has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitProgress {
    /// Not begun.
    Pending,
    /// Up to this position, in the connector's own form.
    Reading(String),
    /// To its end.
    Finished,
}

impl SplitState {
    /// The split's id.
    pub fn id(&self) -> &str {
        &self.split.id
    }
}

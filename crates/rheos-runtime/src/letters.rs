//! The second output of a source: its dead letters, in the epoch whose cut stands behind them.

use std::sync::Arc;

use rheos_core::letters::{LetterBox, rows};
use rheos_core::operator::CHUNK_ROWS_MAX;
use rheos_core::{Batch, CreditPool, Result};
use timely::container::NoopBuilder;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;

use crate::channel::{Packet, batch_bytes};
use crate::time::EpochTime;

/// See the module.
pub(crate) struct LettersOut {
    table: String,
    output: OutputBuilder<EpochTime, NoopBuilder<Packet>>,
    pub(crate) capability: Capability<EpochTime>,
    /// What the worker's reader fills.
    pub(crate) letter_box: Arc<LetterBox>,
}

impl LettersOut {
    /// `node`: the name of the source's node.
    pub(crate) fn new(
        node: String,
        output: OutputBuilder<EpochTime, NoopBuilder<Packet>>,
        capability: Capability<EpochTime>,
    ) -> Self {
        let table = node.strip_prefix("source:").unwrap_or(&node).to_string();
        Self { table, output, capability, letter_box: Arc::default() }
    }

    /// Sends what is in the box: records of `split` that were received at `now_ms`.
    pub(crate) fn send(&mut self, split: &str, now_ms: i64, credit: &Arc<CreditPool>) -> Result<()> {
        for letters in self.letter_box.take().chunks(CHUNK_ROWS_MAX) {
            let records = rows(&self.table, split, now_ms, letters)?;
            let ticket = credit.take(batch_bytes(&records));
            let mut packet = Packet::new(Batch::new(records, ticket));
            self.output.activate().session_with_builder(&self.capability).give_container(&mut packet);
        }
        Ok(())
    }
}

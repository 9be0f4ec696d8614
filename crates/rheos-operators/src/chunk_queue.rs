//! Results that wait to be emitted, put together and cut so that each chunk is neither tiny nor too large.

use std::collections::VecDeque;

use arrow::array::Array;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use rheos_core::operator::CHUNK_ROWS_MAX;
use rheos_core::{OperatorContext, Port, Progress, Result};

/// Steps that an operator takes without a full chunk before others get their turn.
pub(crate) const STEPS_MAX: usize = 16;

/// Bytes in one emitted chunk, about and at most (a single row may be larger).
const CHUNK_BYTES_MAX: usize = 1 << 20;

/// Batches in the order in which they are emitted. Cutting copies nothing; only small neighbours are copied together.
#[derive(Debug, Default)]
pub(crate) struct ChunkQueue {
    /// Each with the rows of it that make a chunk.
    batches: VecDeque<(RecordBatch, usize)>,
    rows: usize,
}

impl ChunkQueue {
    /// Appends a batch; an empty one is dropped.
    pub(crate) fn push(&mut self, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.rows += batch.num_rows();
            let limit = chunk_rows(&batch);
            self.batches.push_back((batch, limit));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether the next chunk is full, so that making more results can wait.
    pub(crate) fn has_full_chunk(&self) -> bool {
        self.rows >= CHUNK_ROWS_MAX || self.batches.front().is_some_and(|(batch, limit)| batch.num_rows() >= *limit)
    }

    /// Emits the next chunk, if there is one, and says whether another waits.
    pub(crate) fn emit_one(&mut self, ctx: &mut OperatorContext) -> Result<Progress> {
        let Some((first, limit)) = self.batches.pop_front() else { return Ok(Progress::Done) };
        let mut rows = first.num_rows();
        if rows > limit {
            self.batches.push_front((first.slice(limit, rows - limit), limit));
            self.rows -= limit;
            ctx.emit(Port::MAIN, first.slice(0, limit));
            return Ok(Progress::More);
        }
        let mut limit = limit;
        let mut parts = vec![first];
        while let Some((next, next_limit)) = self.batches.front()
            && rows + next.num_rows() <= limit.min(*next_limit)
        {
            limit = limit.min(*next_limit);
            rows += next.num_rows();
            parts.extend(self.batches.pop_front().map(|(batch, _)| batch));
        }
        self.rows -= rows;
        let chunk = if parts.len() == 1 { parts.remove(0) } else { concat_batches(&parts[0].schema(), &parts)? };
        ctx.emit(Port::MAIN, chunk);
        Ok(if self.is_empty() { Progress::Done } else { Progress::More })
    }
}

/// How many rows of this size make a chunk.
pub(crate) fn chunk_rows(batch: &RecordBatch) -> usize {
    // Of a slice only its own part counts, not the buffers that it shares. What cannot be told is taken for small.
    let bytes: usize = batch.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum();
    (CHUNK_BYTES_MAX / (bytes / batch.num_rows()).max(1)).clamp(1, CHUNK_ROWS_MAX)
}

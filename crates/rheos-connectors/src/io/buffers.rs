//! Buffers that have been read out, for the next input: fresh memory costs as much as reading from the page cache.

use std::sync::Mutex;

use super::pool::lock;

/// Buffers that are kept, at most.
const KEPT: usize = 8;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer with whatever is in it; an empty one if there is none.
pub(crate) fn take() -> Vec<u8> {
    lock(&SPARE).pop().unwrap_or_default()
}

/// Gives a buffer back.
pub(crate) fn give(buffer: Vec<u8>) {
    let mut spare = lock(&SPARE);
    if spare.len() < KEPT && buffer.capacity() > 0 {
        spare.push(buffer);
    }
}

//! Buffers that have been read out, for the next input: fresh memory costs as much as reading from the page cache.

use std::sync::Mutex;

use bytes::Bytes;

use super::pool::lock;

/// Buffers that are kept, at most.
const KEPT: usize = 8;

/// A larger buffer is not kept.
const KEPT_BYTES_MAX: usize = 32 << 20;

static SPARE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer with whatever is in it; an empty one if there is none.
pub(crate) fn take() -> Vec<u8> {
    lock(&SPARE).pop().unwrap_or_default()
}

/// Gives a buffer back.
pub(crate) fn give(buffer: Vec<u8>) {
    let mut spare = lock(&SPARE);
    if spare.len() < KEPT && (1..=KEPT_BYTES_MAX).contains(&buffer.capacity()) {
        spare.push(buffer);
    }
}

/// The content of a buffer, to be shared; who drops it last gives the buffer back.
pub(crate) fn share(buffer: Vec<u8>) -> Bytes {
    struct Shared(Vec<u8>);

    impl AsRef<[u8]> for Shared {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Shared {
        fn drop(&mut self) {
            give(std::mem::take(&mut self.0));
        }
    }

    Bytes::from_owner(Shared(buffer))
}

//! Memory of texts, used again: fresh pages from the system cost more than the texts that are written into them.

use std::cell::RefCell;

use arrow::buffer::Buffer;

/// Buffers that are watched, at most: the text columns of two batches.
const WATCHED_MAX: usize = 24;

/// The buffers of the last batches of one reader. One that nobody else holds any more is written anew.
#[derive(Debug, Default)]
pub(super) struct Spare(RefCell<Vec<Buffer>>);

impl Spare {
    /// Memory with room for `bytes`, empty or with anything in it.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut watched = self.0.borrow_mut();
        let fits = |b: &Buffer| b.strong_count() == 1 && (bytes..=2 * bytes + 4096).contains(&b.capacity());
        let free = watched.iter().position(fits);
        free.and_then(|i| watched.remove(i).into_vec().ok()).unwrap_or_else(|| Vec::with_capacity(bytes))
    }

    /// A buffer with these texts, to be used again when the batch is gone.
    pub(super) fn give(&self, texts: Vec<u8>) -> Buffer {
        let buffer = Buffer::from_vec(texts);
        let mut watched = self.0.borrow_mut();
        if watched.len() == WATCHED_MAX {
            watched.remove(0);
        }
        watched.push(buffer.clone());
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_nobody_reads_it() {
        let spare = Spare::default();
        let texts = b"peter paul".repeat(1000);
        let place = texts.as_ptr();
        let is_again = |texts: Vec<u8>| texts.as_ptr() == place;
        let read = spare.give(texts);
        assert!(!is_again(spare.take(9000)), "it is being read");
        assert_eq!(&read.as_slice()[..5], b"peter");
        drop(read);
        assert!(!is_again(spare.take(11_000)), "it is too small");
        assert!(!is_again(spare.take(100)), "it is too large");
        assert!(is_again(spare.take(9000)));
        (0..100).for_each(|_| drop(spare.give(vec![0; 10])));
        assert_eq!(spare.0.borrow().len(), WATCHED_MAX);
    }
}

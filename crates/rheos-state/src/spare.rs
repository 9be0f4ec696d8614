//! Memory for what is read, used again: the system clears fresh memory page by page, which takes longer than to read into it.

use arrow::buffer::Buffer;

/// Memory that is kept for the next reads, at most, in bytes.
const KEPT_BYTES_MAX: usize = 128 << 20;

/// See the module.
#[derive(Debug, Default)]
pub struct Spare {
    free: Vec<Vec<u8>>,
    /// In use by whoever reads; each is also somebody else's.
    lent: Vec<Buffer>,
}

impl Spare {
    /// Memory for so many bytes, with anything in it; may be too small.
    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        let fitting = self.free.iter().position(|memory| memory.capacity() >= bytes);
        fitting.map_or_else(Vec::new, |at| self.free.swap_remove(at))
    }

    /// Makes a buffer of it, and remembers where the memory is.
    pub(crate) fn lend(&mut self, bytes: Vec<u8>) -> Buffer {
        let buffer = Buffer::from_vec(bytes);
        self.lent.push(buffer.clone());
        buffer
    }

    /// Takes back what nobody reads any more.
    pub(crate) fn reclaim(&mut self) {
        let mut kept: usize = self.free.iter().map(Vec::capacity).sum();
        for buffer in std::mem::take(&mut self.lent) {
            if kept + buffer.capacity() > KEPT_BYTES_MAX {
                continue;
            }
            if let Ok(memory) = buffer.into_vec::<u8>() {
                kept += memory.capacity();
                self.free.push(memory);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_still_read_is_not_taken_back() {
        let mut spare = Spare::default();
        let (read, done) = (spare.lend(vec![1; 100]), spare.lend(vec![2; 200]));
        drop(done);
        spare.reclaim();
        assert_eq!(read.as_slice(), [1; 100]);
        assert_eq!(spare.take(150).capacity(), 200);
        assert_eq!(spare.take(1).capacity(), 0, "the other is read");
    }
}

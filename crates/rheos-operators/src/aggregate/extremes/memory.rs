//! Memory of values that have left a table, used again when nobody reads them any more: the system clears fresh memory page by page,
//! and a table that is emptied each epoch would ask for it each time.

use std::cell::RefCell;

use arrow::buffer::Buffer;

/// Less is had again from the allocator at once.
const BYTES_MIN: usize = 1 << 20;
/// What a thread remembers, at most, in bytes.
const REMEMBERED_BYTES_MAX: usize = 128 << 20;

thread_local! {
    /// The values that left last; others may read them.
    static LEFT: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

/// Empty memory with room for so many bytes.
pub(super) fn with_room(bytes: usize) -> Vec<u8> {
    let fits = |memory: &Buffer| memory.capacity() >= bytes && memory.capacity() / 4 * 3 <= bytes;
    let again = || {
        LEFT.with_borrow_mut(|left| {
            for at in 0..left.len() {
                if fits(&left[at]) {
                    match left.remove(at).into_vec::<u8>() {
                        Ok(memory) => return Some(memory),
                        Err(still_read) => left.insert(at, still_read),
                    }
                }
            }
            None
        })
    };
    let mut memory = if bytes < BYTES_MIN { None } else { again() }.unwrap_or_else(|| Vec::with_capacity(bytes));
    memory.clear();
    memory
}

/// Values as a buffer, whose memory is remembered.
pub(super) fn leave(values: Vec<u8>) -> Buffer {
    let values = Buffer::from_vec(values);
    if values.capacity() >= BYTES_MIN {
        LEFT.with_borrow_mut(|left| {
            left.push(values.clone());
            let mut bytes: usize = left.iter().map(Buffer::capacity).sum();
            while bytes > REMEMBERED_BYTES_MAX {
                bytes -= left.remove(0).capacity();
            }
        });
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_nobody_reads_it() {
        let (first, second) = (leave(vec![1; BYTES_MIN]), leave(vec![2; BYTES_MIN]));
        let place = second.as_ptr();
        drop(second);
        let again = with_room(BYTES_MIN);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
        let fresh = with_room(BYTES_MIN);
        assert_ne!(fresh.as_ptr(), first.as_ptr());
        assert!(first.iter().all(|byte| *byte == 1));
        // More than is remembered at all.
        let large = leave(vec![3; REMEMBERED_BYTES_MAX + 1]);
        LEFT.with_borrow(|left| assert!(left.is_empty()));
        drop(large);
    }
}

//! Which slots an interval or an epoch has touched: each once, in the order of its first touch.

/// See the module. 1 bit a slot, and 4 bytes for each that is touched.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// By slot.
    bits: Vec<u64>,
    slots: Vec<u32>,
}

impl Touched {
    /// Notes a slot. Whether it is the first time: then what is to be compared later is to be kept now.
    pub(crate) fn mark(&mut self, slot: u32) -> bool {
        let (word, bit) = (slot as usize / 64, 1 << (slot % 64));
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let is_first = self.bits[word] & bit == 0;
        if is_first {
            self.bits[word] |= bit;
            self.slots.push(slot);
        }
        is_first
    }

    /// The touched slots.
    pub(crate) fn slots(&self) -> &[u32] {
        &self.slots
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The touched slots; none is touched any more.
    pub(crate) fn take(&mut self) -> Vec<u32> {
        for slot in &self.slots {
            self.bits[*slot as usize / 64] = 0;
        }
        std::mem::take(&mut self.slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_slot_is_told_once_until_it_is_taken() {
        let mut touched = Touched::default();
        let marked: Vec<bool> = [3, 200, 3, 64, 200].iter().map(|slot| touched.mark(*slot)).collect();
        assert_eq!(marked, [true, true, false, true, false]);
        assert_eq!((touched.slots(), touched.is_empty()), ([3, 200, 64].as_slice(), false));
        assert_eq!(touched.take(), [3, 200, 64]);
        assert_eq!((touched.is_empty(), touched.mark(3)), (true, true));
    }
}

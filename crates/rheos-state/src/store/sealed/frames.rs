//! The frames of an encrypted file: where they lie, sealed and opened.

use std::ops::Range;

use rheos_core::{Error, Result};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce};

use super::header::HEADER_BYTES;

/// Bytes of a frame before it is encrypted; the last one may have fewer.
pub(super) const FRAME_BYTES: u64 = 64 << 10;
/// What authenticates a frame, behind it.
const TAG_BYTES: u64 = 16;
const SEALED_BYTES: u64 = FRAME_BYTES + TAG_BYTES;

/// The key of one file.
pub(super) struct Cipher(LessSafeKey);

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(..)")
    }
}

impl Cipher {
    pub(super) fn new(key: LessSafeKey) -> Self {
        debug_assert_eq!(key.algorithm(), &AES_256_GCM);
        Self(key)
    }

    /// Adds the frames of a whole file.
    pub(super) fn seal(&self, bytes: &[u8], into: &mut Vec<u8>) -> Result<()> {
        let count = bytes.len().div_ceil(FRAME_BYTES as usize).max(1);
        into.reserve(bytes.len() + count * TAG_BYTES as usize);
        for number in 0..count {
            let frame = &bytes[number * FRAME_BYTES as usize..bytes.len().min((number + 1) * FRAME_BYTES as usize)];
            let at = into.len();
            into.extend_from_slice(frame);
            let nonce = nonce(number as u64, number + 1 == count);
            let tag = self.0.seal_in_place_separate_tag(nonce, Aad::empty(), &mut into[at..]);
            let tag = tag.map_err(|_| Error::internal("a frame cannot be encrypted"))?;
            into.extend_from_slice(tag.as_ref());
        }
        Ok(())
    }

    /// What frames held, from frame `first` on; the last of them ends the file if `to_end`. `None` if anything has changed.
    pub(super) fn open(&self, first: u64, to_end: bool, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let count = (sealed.len() as u64).div_ceil(SEALED_BYTES);
        let (mut read, mut written) = (0, 0);
        for number in 0..count {
            let end = sealed.len().min(read + SEALED_BYTES as usize);
            let nonce = nonce(first + number, to_end && number + 1 == count);
            let plain = self.0.open_in_place(nonce, Aad::empty(), &mut sealed[read..end]).ok()?.len();
            sealed.copy_within(read..read + plain, written);
            (read, written) = (end, written + plain);
        }
        sealed.truncate(written);
        (count > 0).then_some(sealed)
    }
}

/// A file's key is used for that file alone, so the frame's place is enough.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(is_last);
    Nonce::assume_unique_for_key(bytes)
}

/// The length of what a file of `stored` bytes holds; `None` if no file has this length.
pub(super) fn plain_bytes(stored: u64) -> Option<u64> {
    let frames = stored.checked_sub(HEADER_BYTES)?;
    let plain = frames.checked_sub(frames.div_ceil(SEALED_BYTES) * TAG_BYTES)?;
    // Only a file of one frame may end with an empty one.
    let last = frames % SEALED_BYTES;
    let fits = last == 0 || last > TAG_BYTES || frames == TAG_BYTES;
    (frames >= TAG_BYTES && fits).then_some(plain)
}

/// The length of a file that holds `plain` bytes, or somewhat more.
pub(super) fn stored_bytes_max(plain: u64) -> u64 {
    let tags = (plain / FRAME_BYTES + 1).saturating_mul(TAG_BYTES);
    plain.saturating_add(tags).saturating_add(HEADER_BYTES)
}

/// The first frame that holds something of `range`, and where all of these lie.
pub(super) fn stored_range(range: &Range<u64>, stored: u64) -> (u64, Range<u64>) {
    let (first, behind) = (range.start / FRAME_BYTES, range.end.div_ceil(FRAME_BYTES));
    (first, HEADER_BYTES + first * SEALED_BYTES..stored.min(HEADER_BYTES + behind * SEALED_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_follow_from_the_form() {
        assert_eq!(plain_bytes(256 + 16), Some(0));
        assert_eq!(plain_bytes(256 + 17), Some(1));
        assert_eq!(plain_bytes(256 + 65_552), Some(65_536));
        assert_eq!(plain_bytes(256 + 65_552 + 17), Some(65_537));
        // No end of a file: within a line, within what authenticates, an empty frame behind a full one.
        for stored in [0, 255, 256, 271, 256 + 65_552 + 1, 256 + 65_552 + 16] {
            assert_eq!(plain_bytes(stored), None, "{stored}");
        }
        assert_eq!(stored_range(&(65_535..65_537), 1 << 20), (0, 256..256 + 2 * 65_552));
        assert_eq!(stored_range(&(65_536..65_537), 256 + 65_552 + 17), (1, 256 + 65_552..256 + 65_552 + 17));
        assert_eq!(stored_bytes_max(u64::MAX), u64::MAX);
    }
}

//! The texts of events: names, places, channels, urls and padding.

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use std::sync::Arc;

use rheos_core::{Error, Result};

use crate::datagen::random::RandomStream;

pub(super) const STATES: [&str; 6] = ["az", "ca", "id", "or", "wa", "wy"];
pub(super) const CITIES: [&str; 10] =
    ["phoenix", "los angeles", "san francisco", "boise", "portland", "bend", "redmond", "seattle", "kent", "cheyenne"];
pub(super) const FIRST_NAMES: [&str; 11] =
    ["peter", "paul", "luke", "john", "saul", "vicky", "kate", "julie", "sarah", "deiter", "walter"];
pub(super) const LAST_NAMES: [&str; 9] =
    ["shultz", "abrams", "spencer", "white", "bartels", "walton", "smith", "jones", "noris"];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// Channels beside the hot ones.
const CHANNELS: u64 = 10_000;

/// A word has at least so many characters.
const WORD_MIN: u64 = 3;

/// Texts one behind another, on their way to an array.
pub(super) struct Texts {
    bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Texts {
    pub(super) fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { bytes: Vec::with_capacity(bytes), offsets }
    }

    /// Where the text of the current row is written.
    pub(super) fn row(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the current row.
    pub(super) fn end_row(&mut self) {
        // A batch is at most 8k rows of at most 64 KiB; `finish` would refuse offsets that had wrapped.
        self.offsets.push(self.bytes.len() as i32);
    }

    pub(super) fn finish(self, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let array = StringArray::try_new(offsets, self.bytes.into(), nulls);
        array.map(|a| Arc::new(a) as ArrayRef).map_err(|e| Error::internal(format!("generated text: {e}")))
    }
}

/// Appends a text of 3 to `max - 1` characters with gaps, without gaps at its ends.
pub(super) fn words(draw: RandomStream, i: u64, max: u64, gap: u8, out: &mut Vec<u8>) {
    let start = out.len();
    let length = WORD_MIN + (draw.at(i) >> 32) % (max - WORD_MIN);
    draw.gapped(i, length as usize, gap, out);
    while out.len() > start && out.last() == Some(&b' ') {
        out.pop();
    }
    let leading = out[start..].iter().take_while(|c| **c == b' ').count();
    out.drain(start..start + leading);
}

/// Appends padding: an event that has `used` bytes so far has `mean` on average with it, give or take a fifth of the
/// padding.
pub(super) fn padding(length: RandomStream, letters: RandomStream, i: u64, used: u64, mean: u64, out: &mut Vec<u8>) {
    let Some(room) = mean.checked_sub(used) else { return };
    let delta = (room * 2 + 5) / 10;
    let extra = if delta == 0 { 0 } else { length.below(i, 2 * delta) };
    letters.letters(i, (room - delta + extra) as usize, out);
}

/// Appends four groups of four digits.
pub(super) fn credit_card(draw: RandomStream, i: u64, out: &mut Vec<u8>) {
    let number = draw.at(i);
    for group in 0..4 {
        if group > 0 {
            out.push(b' ');
        }
        let value = (((number >> (16 * group)) & 0xffff) * 10_000) >> 16;
        out.extend([1000, 100, 10, 1].map(|unit| b'0' + (value / unit % 10) as u8));
    }
}

/// The channels of bids and their urls: four hot ones, then 10,000 others.
#[derive(Debug)]
pub(super) struct Channels {
    entries: Vec<(String, String)>,
}

impl Channels {
    /// The channels of a seed.
    pub(super) fn new(words: RandomStream, has_id: RandomStream) -> Self {
        let hot = (0..).zip(HOT_CHANNELS).map(|(i, name)| (name.to_string(), base_url(words, CHANNELS + i)));
        let others = (0..CHANNELS).map(|i| {
            let mut url = base_url(words, i);
            if has_id.below(i, 10) > 0 {
                let id = i64::from((i as i32).reverse_bits()).abs();
                url.push_str(&format!("&channel_id={id}"));
            }
            (format!("channel-{i}"), url)
        });
        Self { entries: hot.chain(others).collect() }
    }

    /// The entry of a draw of 64 bits: hot with even odds.
    pub(super) fn pick(&self, hot: u64, which: RandomStream, i: u64) -> &(String, String) {
        let index = if hot >> 63 == 1 {
            which.below(i, HOT_CHANNELS.len() as u64)
        } else {
            HOT_CHANNELS.len() as u64 + which.below(i, CHANNELS)
        };
        &self.entries[index as usize]
    }
}

fn base_url(draw: RandomStream, i: u64) -> String {
    let mut path = Vec::with_capacity(64);
    for part in 0..3 {
        words(draw, 3 * i + part, 5, b'_', &mut path);
        path.push(b'/');
    }
    format!("https://www.nexmark.com/{}item.htm?query=1", String::from_utf8_lossy(&path))
}

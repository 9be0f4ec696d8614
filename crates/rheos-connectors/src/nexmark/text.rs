//! The texts of events: names, places, channels, urls and padding.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};

use rheos_core::{Error, Result};

use super::spare::Spare;
use crate::datagen::random::RandomStream;

pub(super) const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
pub(super) const CITIES: [&str; 10] =
    ["Phoenix", "Los Angeles", "San Francisco", "Boise", "Portland", "Bend", "Redmond", "Seattle", "Kent", "Cheyenne"];
pub(super) const FIRST_NAMES: [&str; 11] =
    ["Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter"];
pub(super) const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// Channels beside the hot ones.
const CHANNELS: u64 = 10_000;

/// A word has at least so many characters.
const WORD_MIN: u64 = 3;

/// Texts one behind another, on their way to an array.
pub(super) struct Texts {
    bytes: Vec<u8>,
    /// Where each text ends.
    pub(super) ends: Vec<i32>,
}

impl Texts {
    pub(super) fn with_capacity(rows: usize, bytes: usize, spare: &Spare) -> Self {
        let mut bytes = spare.take(bytes);
        bytes.clear();
        Self { bytes, ends: Vec::with_capacity(rows) }
    }

    /// Texts of known lengths. `write` is given the place of each, of its length and at least `overhang` bytes more,
    /// which it may write too: they are the place of the next.
    pub(super) fn of_lengths(
        lengths: Vec<i32>,
        overhang: usize,
        spare: &Spare,
        mut write: impl FnMut(&mut [u8], usize),
    ) -> Self {
        let whole = lengths.iter().map(|n| *n as usize).sum::<usize>();
        let mut bytes = spare.take(whole + overhang);
        bytes.resize(whole + overhang, 0);
        let mut ends = lengths;
        let mut start = 0;
        for end in &mut ends {
            let length = *end as usize;
            write(&mut bytes[start..], length);
            start += length;
            *end = start as i32;
        }
        bytes.truncate(whole);
        Self { bytes, ends }
    }

    /// Where the text of the current row is written.
    pub(super) fn row(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Ends the current row.
    pub(super) fn end_row(&mut self) {
        // A batch is at most 8k rows of at most 64 KiB; `finish` would refuse offsets that had wrapped.
        self.ends.push(self.bytes.len() as i32);
    }

    pub(super) fn finish(self, spare: &Spare, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.extend(self.ends);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let array = StringArray::try_new(offsets, spare.give(self.bytes), nulls);
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

/// The length of padding: an event that has `used` bytes so far has `mean` on average with it, give or take a fifth of
/// the padding.
pub(super) fn padding_bytes(length: RandomStream, i: u64, used: u64, mean: u64) -> i32 {
    let Some(room) = mean.checked_sub(used) else { return 0 };
    let delta = (room * 2 + 5) / 10;
    let extra = if delta == 0 { 0 } else { length.below(i, 2 * delta) };
    (room - delta + extra) as i32
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
    /// `channel-9999` has 12 bytes.
    pub(super) names: Entries<16>,
    /// 24 for the host, 15 for the path, 16 for the page, 22 for the id.
    pub(super) urls: Entries<80>,
}

impl Channels {
    /// The channels of a seed.
    pub(super) fn new(words: RandomStream, has_id: RandomStream) -> Self {
        let names = HOT_CHANNELS.iter().map(ToString::to_string).chain((0..CHANNELS).map(|i| format!("channel-{i}")));
        let hot = (0..HOT_CHANNELS.len() as u64).map(|i| base_url(words, CHANNELS + i));
        let others = (0..CHANNELS).map(|i| {
            let mut url = base_url(words, i);
            if has_id.below(i, 10) > 0 {
                let id = i64::from((i as i32).reverse_bits()).abs();
                url.push_str(&format!("&channel_id={id}"));
            }
            url
        });
        Self { names: Entries::new(names), urls: Entries::new(hot.chain(others)) }
    }

    /// The entry of a draw of 64 bits: hot with even odds.
    pub(super) fn pick(hot: u64, which: RandomStream, i: u64) -> u32 {
        let hot_channels = HOT_CHANNELS.len() as u64;
        let (first, of) = std::hint::select_unpredictable(hot >> 63 == 1, (0, hot_channels), (hot_channels, CHANNELS));
        (first + which.below(i, of)) as u32
    }
}

/// Texts to choose from, of at most `BYTES` bytes, each in as many: copies of a fixed length need no call.
#[derive(Debug)]
pub(super) struct Entries<const BYTES: usize>(Vec<([u8; BYTES], i32)>);

impl<const BYTES: usize> Entries<BYTES> {
    fn new(texts: impl Iterator<Item = String>) -> Self {
        let entry = |text: String| {
            let mut bytes = [0; BYTES];
            bytes[..text.len()].copy_from_slice(text.as_bytes());
            (bytes, text.len() as i32)
        };
        Self(texts.map(entry).collect())
    }

    /// The texts of these entries.
    pub(super) fn texts(&self, entries: &[u32], spare: &Spare) -> Texts {
        let mut chosen = entries.iter().map(|e| &self.0[*e as usize].0);
        let lengths = entries.iter().map(|e| self.0[*e as usize].1).collect();
        Texts::of_lengths(lengths, BYTES, spare, |place, _| {
            if let (Some(place), Some(text)) = (place.first_chunk_mut(), chosen.next()) {
                *place = *text;
            }
        })
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

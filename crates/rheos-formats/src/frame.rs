//! Cuts a stream of bytes into records: lines, or csv records whose quoted fields may hold newlines.
//!
//! ```text
//!   push(chunk) ──► [ consumed | records ... | the beginning of one ] ──► frame() gives one range at a time
//! ```
//!
//! Invariants: which records there are does not depend on where the chunks were cut; the buffer never holds more than
//! one record of the largest size and one chunk, since a longer record is dropped as it comes.
//! A framer that is restricted to `[offset, end)` gives exactly the records that begin there.

use std::ops::Range;

use memchr::{memchr, memchr2};

/// Where a framer's bytes lie in their input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InputRange {
    /// Offset of the first pushed byte.
    pub offset: u64,
    /// The first line belongs to another reader: everything through the first newline is passed over.
    pub skip_first: bool,
    /// Records that begin here or later belong to another reader.
    pub end: Option<u64>,
}

/// How records end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// At a newline.
    Lines,
    /// At a newline outside of quotes; a quote opens at the beginning of a field only.
    Quoted { delimiter: u8, quote: u8 },
}

/// One step of a framer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A record, without its newline, as a range of [`Framer::data`]. `line` counts from 0.
    Record { range: Range<usize>, line: u64 },
    /// A record above the size limit; the range is its beginning.
    TooLong { range: Range<usize>, line: u64 },
    /// More bytes are needed.
    NeedInput,
    /// The input, or the range, is at its end.
    End,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Framer {
    framing: Framing,
    record_bytes_max: usize,
    buffer: Vec<u8>,
    /// First byte that is not consumed.
    head: usize,
    /// Bytes behind `head` that are known to hold no newline.
    scanned: usize,
    /// Offset of `buffer[0]` in the input, modulo 2^64: the buffer may have room before the first byte.
    base: u64,
    end: Option<u64>,
    line: u64,
    skipping: bool,
    at_start: bool,
    /// The input began with a byte order mark, and nothing behind it has been consumed.
    behind_bom: bool,
    finished: bool,
}

/// A buffer above this is given back once it is empty.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

const BOM: &[u8] = b"\xef\xbb\xbf";

impl Framer {
    pub(crate) fn new(framing: Framing, record_bytes_max: usize, range: InputRange) -> Self {
        Self {
            framing,
            record_bytes_max,
            buffer: Vec::new(),
            head: 0,
            scanned: 0,
            base: range.offset,
            end: range.end,
            line: 0,
            skipping: range.skip_first,
            at_start: range.offset == 0,
            behind_bom: false,
            finished: false,
        }
    }

    /// The bytes that the ranges point into. Valid until the next `push`.
    pub(crate) fn data(&self) -> &[u8] {
        &self.buffer
    }

    /// Where a byte of [`Framer::data`] lies in the input.
    pub(crate) fn offset_of(&self, at: usize) -> u64 {
        self.base.wrapping_add(at as u64)
    }

    /// Drops what has not been consumed, and ends it there: the rest of the input cannot be read. Gives what was dropped
    /// and where it begins.
    pub(crate) fn abandon(&mut self) -> (u64, Vec<u8>) {
        let dropped = (self.offset(), self.buffer[self.head..].to_vec());
        (self.head, self.behind_bom, self.at_start) = (self.buffer.len(), false, false);
        self.finished = true;
        dropped
    }

    /// Offset in the input of the first byte that no record has consumed.
    pub(crate) fn offset(&self) -> u64 {
        self.base.wrapping_add(self.head as u64)
    }

    /// Where a framer of the rest begins.
    pub(crate) fn rest(&self) -> InputRange {
        InputRange { offset: self.begin(), skip_first: self.skipping, end: self.end }
    }

    /// Offset of the next record. A byte order mark is part of the first one.
    fn begin(&self) -> u64 {
        if self.behind_bom { 0 } else { self.offset() }
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffer.capacity()
    }

    /// Adds bytes. All ranges given before become invalid.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.head);
        self.base = self.offset();
        self.head = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Adds the bytes of `buffer` behind its first `room` bytes, without copying them: the beginning of a record that
    /// waits here is copied into the room before them. All ranges given before become invalid. Gives back a buffer whose
    /// bytes are of no use any more.
    pub(crate) fn push_buffer(&mut self, mut buffer: Vec<u8>, room: usize) -> Vec<u8> {
        let waiting = &self.buffer[self.head..];
        let Some(head) = room.checked_sub(waiting.len()) else {
            self.push(&buffer[room..]);
            return buffer;
        };
        buffer[head..room].copy_from_slice(waiting);
        // The room begins before the input does.
        self.base = self.offset().wrapping_sub(head as u64);
        self.head = head;
        std::mem::replace(&mut self.buffer, buffer)
    }

    /// Ends it where it is.
    pub(crate) fn take_buffer(&mut self) -> Vec<u8> {
        (self.base, self.head, self.finished) = (self.offset(), 0, true);
        std::mem::take(&mut self.buffer)
    }

    /// No bytes follow.
    pub(crate) fn finish(&mut self) {
        self.finished = true;
    }

    /// The next record.
    pub(crate) fn frame(&mut self) -> Frame {
        if self.at_start && !self.pass_bom() {
            return Frame::NeedInput;
        }
        if self.skipping && !self.pass_line() {
            return if self.finished { Frame::End } else { Frame::NeedInput };
        }
        if self.end.is_some_and(|end| self.begin() >= end) {
            return Frame::End;
        }
        let rest = &self.buffer[self.head..];
        if rest.is_empty() {
            return if self.finished { Frame::End } else { Frame::NeedInput };
        }
        let line = self.line;
        match self.record_end() {
            Some((length, newlines, terminator)) if length <= self.record_bytes_max => {
                let range = self.head..self.head + length;
                self.head += length + terminator;
                self.behind_bom = false;
                self.scanned = 0;
                self.line += newlines;
                Frame::Record { range, line }
            }
            None if self.buffer.len() - self.head <= self.record_bytes_max => Frame::NeedInput,
            _ => {
                // It goes on behind the record's first line, wherever a quote would have closed.
                let range = self.head..(self.head + 256).min(self.buffer.len());
                self.skipping = true;
                self.scanned = 0;
                Frame::TooLong { range, line }
            }
        }
    }

    /// Passes a byte order mark; false if it cannot be told yet.
    fn pass_bom(&mut self) -> bool {
        let start = &self.buffer[self.head..];
        if start.len() < BOM.len() && !self.finished && BOM.starts_with(start) {
            return false;
        }
        self.at_start = false;
        if start.starts_with(BOM) {
            self.head += BOM.len();
            self.behind_bom = true;
        }
        true
    }

    /// Drops everything through the next newline; false if it has not come yet.
    fn pass_line(&mut self) -> bool {
        self.behind_bom = false;
        match memchr(b'\n', &self.buffer[self.head..]) {
            Some(n) => {
                self.head += n + 1;
                self.line += 1;
                self.skipping = false;
            }
            None => self.head = self.buffer.len(),
        }
        !self.skipping
    }

    /// Length of the first record, lines in it, and bytes of its terminator; `None` if its end has not come yet.
    fn record_end(&mut self) -> Option<(usize, u64, usize)> {
        let rest = &self.buffer[self.head..];
        let newline = match memchr(b'\n', &rest[self.scanned..]) {
            Some(n) => self.scanned + n,
            None => {
                self.scanned = rest.len();
                return self.finished.then_some((rest.len(), 1, 0));
            }
        };
        match self.framing {
            Framing::Quoted { delimiter, quote } if memchr(quote, &rest[..newline]).is_some() => {
                // The search for the closing quote starts again at the record's beginning when more bytes come.
                self.scanned = 0;
                quoted_record_end(rest, delimiter, quote).map(|(n, lines)| (n, lines, 1)).or_else(|| {
                    let lines = memchr::memchr_iter(b'\n', rest).count() as u64;
                    self.finished.then_some((rest.len(), lines + 1, 0))
                })
            }
            _ => Some((newline, 1, 1)),
        }
    }
}

/// The newline that ends the record at the beginning of `bytes`, and the lines it spans.
fn quoted_record_end(bytes: &[u8], delimiter: u8, quote: u8) -> Option<(usize, u64)> {
    let mut at = 0;
    let mut lines = 1;
    loop {
        if bytes.get(at) == Some(&quote) {
            at += 1;
            // To the closing quote; a doubled one is a character of the field.
            loop {
                let n = at + memchr(quote, &bytes[at..])?;
                lines += memchr::memchr_iter(b'\n', &bytes[at..n]).count() as u64;
                at = n + 1;
                match bytes.get(at) {
                    Some(b) if *b == quote => at += 1,
                    _ => break,
                }
            }
        }
        at += memchr2(delimiter, b'\n', &bytes[at..])?;
        if bytes[at] == b'\n' {
            return Some((at, lines));
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(framing: Framing, max: usize, range: InputRange, input: &[u8], cut: usize) -> Vec<(Vec<u8>, u64, bool)> {
        frames_with_room(framing, max, range, input, cut, 0)
    }

    /// `room`: before each chunk; 0 pushes copies.
    fn frames_with_room(
        framing: Framing,
        max: usize,
        range: InputRange,
        input: &[u8],
        cut: usize,
        room: usize,
    ) -> Vec<(Vec<u8>, u64, bool)> {
        let mut framer = Framer::new(framing, max, range);
        let mut out = vec![];
        let mut chunks = input.chunks(cut.max(1));
        loop {
            match framer.frame() {
                Frame::Record { range, line } => out.push((framer.data()[range].to_vec(), line, false)),
                Frame::TooLong { line, .. } => out.push((vec![], line, true)),
                Frame::NeedInput => match chunks.next() {
                    Some(chunk) if room == 0 => framer.push(chunk),
                    Some(chunk) => drop(framer.push_buffer([&vec![b'\n'; room], chunk].concat(), room)),
                    None => framer.finish(),
                },
                Frame::End => return out,
            }
        }
    }

    const CSV: Framing = Framing::Quoted { delimiter: b',', quote: b'"' };

    fn texts(frames: &[(Vec<u8>, u64, bool)]) -> Vec<&str> {
        frames.iter().map(|f| std::str::from_utf8(&f.0).unwrap()).collect()
    }

    #[test]
    fn quotes_hold_newlines_and_lines_are_counted() {
        let input = b"\xef\xbb\xbfa,\"x\ny\"\"\n\",b\n5\" pipe,c\n\nlast";
        let got = frames(CSV, 100, InputRange::default(), input, 3);
        assert_eq!(texts(&got), ["a,\"x\ny\"\"\n\",b", "5\" pipe,c", "", "last"]);
        assert_eq!(got.iter().map(|f| f.1).collect::<Vec<_>>(), [0, 3, 4, 5]);
    }

    #[test]
    fn a_quote_that_never_closes_does_not_eat_the_file() {
        let mut input = b"a,\"b\n".to_vec();
        input.extend(b"c,d\n".repeat(100));
        let got = frames(CSV, 50, InputRange::default(), &input, 7);
        assert!(got[0].2 && got.len() == 101, "{got:?}");
    }

    proptest! {
        /// Pieces that are likely to hit the corners.
        #[test]
        fn frames_do_not_depend_on_the_cuts(
            pieces in prop::collection::vec(prop::sample::select(vec!["a", ",", "\"", "\n", "\r\n", "bcd", "\u{feff}"]), 0..40),
            cut in 1usize..9, max in 1usize..20, room in 1usize..9,
        ) {
            let input = pieces.concat().into_bytes();
            for framing in [CSV, Framing::Lines] {
                let whole = frames(framing, max, InputRange::default(), &input, usize::MAX);
                let roomy = frames_with_room(framing, max, InputRange::default(), &input, cut, room);
                let cut = frames(framing, max, InputRange::default(), &input, cut);
                prop_assert_eq!(&whole, &cut);
                prop_assert_eq!(&whole, &roomy);
            }
        }

        #[test]
        fn ranges_give_each_line_once(
            pieces in prop::collection::vec(prop::sample::select(vec!["a", "\n", "\r\n", "bcdefg"]), 0..40),
            size in 1usize..30, cut in 1usize..9,
        ) {
            let input = pieces.concat().into_bytes();
            let whole = frames(Framing::Lines, 100, InputRange::default(), &input, usize::MAX);
            let mut parts = vec![];
            for start in (0..input.len()).step_by(size) {
                let offset = start.saturating_sub(1);
                let end = Some((start + size).min(input.len()) as u64);
                let range = InputRange { offset: offset as u64, skip_first: start > 0, end };
                parts.extend(frames_with_room(Framing::Lines, 100, range, &input[offset..], cut, size % 7));
            }
            let whole: Vec<_> = whole.into_iter().map(|f| f.0).collect();
            let parts: Vec<_> = parts.into_iter().map(|f| f.0).collect();
            prop_assert_eq!(whole, parts);
        }
    }
}

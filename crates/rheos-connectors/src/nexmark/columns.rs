//! Columns of events, made one at a time: a column that nobody reads costs nothing.
//!
//! Invariant: the value of a field of event `n` depends on the configuration, the field and `n`. Every field draws from
//! streams of its own, so it is the same in the flat table, in the ROW of the mixed table, and under any projection.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, BooleanBufferBuilder, Int32Array, Int64Array, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, TimeUnit};
use rheos_core::Result;

use super::config::Config;
use super::event::{Event, FIRST_ID, IdDraw, Kind, Run, auction_length_ms, prices};
use super::spare::Spare;
use super::text::{self, Channels, Texts};
use crate::datagen::random::{RandomStream, WORD_BYTES};

/// A value that an event has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Time,
    PersonId,
    PersonName,
    EmailAddress,
    CreditCard,
    City,
    State,
    PersonExtra,
    AuctionId,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Expires,
    Seller,
    Category,
    AuctionExtra,
    BidAuction,
    Bidder,
    Price,
    Channel,
    Url,
    BidExtra,
}

/// The columns of a kind's flat table, and the fields of its ROW.
pub(super) fn fields(kind: Kind) -> &'static [(&'static str, Field)] {
    match kind {
        Kind::Person => &[
            ("id", Field::PersonId),
            ("name", Field::PersonName),
            ("emailAddress", Field::EmailAddress),
            ("creditCard", Field::CreditCard),
            ("city", Field::City),
            ("state", Field::State),
            ("dateTime", Field::Time),
            ("extra", Field::PersonExtra),
        ],
        Kind::Auction => &[
            ("id", Field::AuctionId),
            ("itemName", Field::ItemName),
            ("description", Field::Description),
            ("initialBid", Field::InitialBid),
            ("reserve", Field::Reserve),
            ("dateTime", Field::Time),
            ("expires", Field::Expires),
            ("seller", Field::Seller),
            ("category", Field::Category),
            ("extra", Field::AuctionExtra),
        ],
        Kind::Bid => &[
            ("auction", Field::BidAuction),
            ("bidder", Field::Bidder),
            ("price", Field::Price),
            ("channel", Field::Channel),
            ("url", Field::Url),
            ("dateTime", Field::Time),
            ("extra", Field::BidExtra),
        ],
    }
}

impl Field {
    /// The type in which the field is made.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Field::Time | Field::Expires => DataType::Timestamp(TimeUnit::Microsecond, None),
            Field::PersonId
            | Field::AuctionId
            | Field::InitialBid
            | Field::Reserve
            | Field::Seller
            | Field::Category
            | Field::BidAuction
            | Field::Bidder
            | Field::Price => DataType::Int64,
            _ => DataType::Utf8,
        }
    }
}

/// The rows of one batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) runs: &'a [Run],
    /// The column is null in the rows of other kinds.
    pub(super) of: Option<Kind>,
    /// Rows of all kinds.
    pub(super) len: usize,
    pub(super) spare: &'a Spare,
}

impl<'a> Rows<'a> {
    fn runs(self) -> impl Iterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| self.has(run))
    }

    fn has(self, run: &Run) -> bool {
        self.of.is_none_or(|kind| kind == run.kind)
    }

    /// The rows in which the column is not null; `None`: all.
    pub(super) fn present(self) -> Option<NullBuffer> {
        self.of?;
        let mut present = BooleanBufferBuilder::new(self.len);
        self.runs.iter().for_each(|run| present.append_n(run.len, self.has(run)));
        Some(NullBuffer::new(present.finish()))
    }

    /// A value for each event that has the column.
    fn map<T>(self, mut value: impl FnMut(Event) -> T) -> Vec<T> {
        let mut values = Vec::with_capacity(self.len);
        for run in self.runs() {
            values.extend(run.events().map(&mut value));
        }
        values
    }

    /// Puts the values of the events that have the column into their rows. `absent` is the value of a row that has not,
    /// from that of the row before.
    fn spread<T: Copy + Default>(self, values: Vec<T>, absent: impl Fn(T) -> T) -> Vec<T> {
        if self.of.is_none() {
            return values;
        }
        let mut all = Vec::with_capacity(self.len);
        let mut rest = values.as_slice();
        let mut last = T::default();
        for run in self.runs {
            if self.has(run) {
                let (own, others) = rest.split_at(run.len);
                all.extend_from_slice(own);
                last = own.last().copied().unwrap_or(last);
                rest = others;
            } else {
                all.resize(all.len() + run.len, absent(last));
            }
        }
        all
    }

    fn spread_numbers(self, values: Vec<i64>) -> ScalarBuffer<i64> {
        self.spread(values, |_| 0).into()
    }

    /// Texts that are written one after another.
    fn texts(self, mean_bytes: usize, mut write: impl FnMut(Event, &mut Vec<u8>)) -> Texts {
        let mut texts = Texts::with_capacity(self.len, self.len * mean_bytes, self.spare);
        for run in self.runs() {
            for event in run.events() {
                write(event, texts.row());
                texts.end_row();
            }
        }
        texts
    }
}

/// Makes columns.
#[derive(Debug)]
pub(super) struct Generator {
    pub(super) config: Config,
    channels: OnceLock<Channels>,
}

impl Generator {
    pub(super) fn new(config: Config) -> Self {
        Self { config, channels: OnceLock::new() }
    }

    /// The stream of a part of a field.
    fn stream(&self, field: Field, part: u64) -> RandomStream {
        RandomStream::new(self.config.seed, field as u64 * 8 + part)
    }

    fn ids(&self, field: Field) -> IdDraw {
        IdDraw { hot: self.stream(field, 0), cold: self.stream(field, 1) }
    }

    /// `event_type` of each row.
    pub(super) fn event_types(&self, rows: Rows) -> ArrayRef {
        let mut types = Vec::with_capacity(rows.len);
        rows.runs.iter().for_each(|run| types.resize(types.len() + run.len, run.kind.number()));
        Arc::new(Int32Array::from(types))
    }

    /// A column. `present` is that of the rows.
    pub(super) fn column(&self, field: Field, rows: Rows, present: Option<NullBuffer>) -> Result<ArrayRef> {
        match field.data_type() {
            DataType::Int64 => {
                let numbers = rows.spread_numbers(self.numbers(field, rows));
                Ok(Arc::new(Int64Array::new(numbers, present)))
            }
            DataType::Utf8 => {
                let mut texts = self.texts(field, rows);
                texts.ends = rows.spread(std::mem::take(&mut texts.ends), |end| end);
                texts.finish(rows.spare, present)
            }
            _ => {
                let times = rows.spread_numbers(self.times(field, rows));
                Ok(Arc::new(TimestampMicrosecondArray::new(times, present)))
            }
        }
    }

    fn times(&self, field: Field, rows: Rows) -> Vec<i64> {
        let config = &self.config;
        if field == Field::Expires {
            let draw = self.stream(field, 0);
            return rows.map(|e| (config.time_ms(e.n) + auction_length_ms(e, config, draw)) * 1000);
        }
        // Neighbours mostly have one and the same time, and divisions are slow.
        let (mut us, mut until) = (0, 0);
        rows.map(|e| {
            if e.n >= until {
                (us, until) = (config.time_ms(e.n) * 1000, config.time_changes_at(e.n));
            }
            us
        })
    }

    fn numbers(&self, field: Field, rows: Rows) -> Vec<i64> {
        let config = &self.config;
        let (ids, draw) = (self.ids(field), self.stream(field, 0));
        let prices = |draw: RandomStream| prices(&rows.map(|e| draw.unit(e.n)));
        match field {
            Field::PersonId => rows.map(|e| e.last_person(config) as i64 + FIRST_ID),
            Field::AuctionId => rows.map(|e| e.last_auction(config) as i64 + FIRST_ID),
            Field::Seller => rows.map(|e| ids.seller(e, config)),
            Field::BidAuction => rows.map(|e| ids.auction(e, config)),
            Field::Bidder => rows.map(|e| ids.bidder(e, config)),
            Field::Category => rows.map(|e| 10 + draw.below(e.n, 5) as i64),
            Field::Reserve => {
                let first = prices(self.stream(Field::InitialBid, 0));
                first.into_iter().zip(prices(draw)).map(|(first, more)| first + more).collect()
            }
            _ => prices(draw),
        }
    }

    fn texts(&self, field: Field, rows: Rows) -> Texts {
        let config = &self.config;
        let (letters, length) = (self.stream(field, 0), self.stream(field, 1));
        let mut scratch = Vec::new();
        let (kind, mean) = match field {
            Field::Channel => return self.channels().names.texts(&self.channel_entries(rows), rows.spare),
            Field::Url => return self.channels().urls.texts(&self.channel_entries(rows), rows.spare),
            Field::BidExtra => (Kind::Bid, config.bid_bytes),
            Field::PersonExtra => (Kind::Person, config.person_bytes),
            Field::AuctionExtra => (Kind::Auction, config.auction_bytes),
            _ => return rows.texts(16, |e, out| self.short_text(field, e, out)),
        };
        let lengths = rows.map(|e| text::padding_bytes(length, e.n, self.used_bytes(kind, e, &mut scratch), mean));
        let mut numbers = rows.map(|e| e.n).into_iter();
        Texts::of_lengths(lengths, WORD_BYTES, rows.spare, |bytes, length| {
            let words = &mut bytes[..length.next_multiple_of(WORD_BYTES)];
            letters.fill_letters(numbers.next().unwrap_or_default(), words);
        })
    }

    fn channels(&self) -> &Channels {
        self.channels.get_or_init(|| Channels::new(self.stream(Field::Url, 0), self.stream(Field::Url, 1)))
    }

    /// For each bid its entry in the channels.
    fn channel_entries(&self, rows: Rows) -> Vec<u32> {
        let (hot, which) = (self.stream(Field::Channel, 0), self.stream(Field::Channel, 1));
        rows.map(|e| Channels::pick(hot.at(e.n), which, e.n))
    }

    /// What the other fields of an event count, by the official generator's estimate: 8 bytes a number, and the texts.
    fn used_bytes(&self, kind: Kind, event: Event, scratch: &mut Vec<u8>) -> u64 {
        scratch.clear();
        let (numbers, texts): (u64, &[Field]) = match kind {
            Kind::Person => {
                (8, &[Field::PersonName, Field::EmailAddress, Field::CreditCard, Field::City, Field::State])
            }
            Kind::Auction => (48, &[Field::ItemName, Field::Description]),
            Kind::Bid => (32, &[]),
        };
        for field in texts {
            self.short_text(*field, event, scratch);
        }
        numbers + scratch.len() as u64
    }

    /// Appends a text of a person or an auction.
    fn short_text(&self, field: Field, event: Event, out: &mut Vec<u8>) {
        let (first, second) = (self.stream(field, 0), self.stream(field, 1));
        let n = event.n;
        let pick = |list: &[&str], draw: RandomStream, out: &mut Vec<u8>| {
            out.extend_from_slice(list[draw.below(n, list.len() as u64) as usize].as_bytes());
        };
        match field {
            Field::PersonName => {
                pick(&text::FIRST_NAMES, first, out);
                out.push(b' ');
                pick(&text::LAST_NAMES, second, out);
            }
            Field::EmailAddress => {
                text::words(first, n, 7, b' ', out);
                out.push(b'@');
                text::words(second, n, 5, b' ', out);
                out.extend_from_slice(b".com");
            }
            Field::CreditCard => text::credit_card(first, n, out),
            Field::City => pick(&text::CITIES, first, out),
            Field::State => pick(&text::STATES, first, out),
            Field::ItemName => text::words(first, n, 20, b' ', out),
            _ => text::words(first, n, 100, b' ', out),
        }
    }
}

//! Columns of events, made one at a time: a column that nobody reads costs nothing.
//!
//! Invariant: the value of a field of event `n` depends on the configuration, the field and `n`. Every field draws from
//! streams of its own, so it is the same in the flat table, in the ROW of the mixed table, and under any projection.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Int32Array, Int64Array, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, TimeUnit};
use rheos_core::Result;

use super::config::Config;
use super::event::{Event, FIRST_ID, IdDraw, Kind, auction_length_ms, price};
use super::text::{self, Channels, Texts};
use crate::datagen::random::RandomStream;

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

/// The events of one batch. `present` leaves out the rows that are of another kind than the column's.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) events: &'a [Event],
    pub(super) present: Option<&'a NullBuffer>,
}

impl Rows<'_> {
    fn nulls(&self) -> Option<NullBuffer> {
        self.present.cloned()
    }

    fn is_present(&self, i: usize) -> bool {
        self.present.is_none_or(|p| p.is_valid(i))
    }

    /// One number a row; 0 under a null.
    fn numbers(&self, value: impl Fn(Event) -> i64) -> ScalarBuffer<i64> {
        let events = self.events.iter().copied();
        match self.present {
            None => events.map(value).collect(),
            Some(present) => events.zip(present).map(|(e, p)| if p { value(e) } else { 0 }).collect(),
        }
    }

    /// One text a row; empty under a null.
    fn texts(&self, mean_bytes: usize, mut write: impl FnMut(Event, &mut Vec<u8>)) -> Texts {
        let rows = self.events.len();
        let mut texts = Texts::with_capacity(rows, rows * mean_bytes);
        for (i, event) in self.events.iter().enumerate() {
            if self.is_present(i) {
                write(*event, texts.row());
            }
            texts.end_row();
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

    fn channels(&self) -> &Channels {
        self.channels.get_or_init(|| Channels::new(self.stream(Field::Url, 0), self.stream(Field::Url, 1)))
    }

    /// `event_type` of each row.
    pub(super) fn event_types(&self, events: &[Event]) -> ArrayRef {
        let kinds = events.iter().map(|e| self.config.kind(e.offset).number());
        Arc::new(Int32Array::from_iter_values(kinds))
    }

    /// A column.
    pub(super) fn column(&self, field: Field, rows: Rows) -> Result<ArrayRef> {
        match field.data_type() {
            DataType::Int64 => Ok(Arc::new(Int64Array::new(self.numbers(field, rows), rows.nulls()))),
            DataType::Utf8 => self.texts(field, rows).finish(rows.nulls()),
            _ => Ok(Arc::new(TimestampMicrosecondArray::new(self.times(field, rows), rows.nulls()))),
        }
    }

    fn times(&self, field: Field, rows: Rows) -> ScalarBuffer<i64> {
        let config = &self.config;
        if field == Field::Expires {
            let draw = self.stream(field, 0);
            return rows.numbers(|e| (config.time_ms(e.n) + auction_length_ms(e, config, draw)) * 1000);
        }
        rows.numbers(|e| config.time_ms(e.n) * 1000)
    }

    fn numbers(&self, field: Field, rows: Rows) -> ScalarBuffer<i64> {
        let config = &self.config;
        let (ids, draw) = (self.ids(field), self.stream(field, 0));
        let initial_bid = self.stream(Field::InitialBid, 0);
        match field {
            Field::PersonId => rows.numbers(|e| e.last_person(config) as i64 + FIRST_ID),
            Field::AuctionId => rows.numbers(|e| e.last_auction(config) as i64 + FIRST_ID),
            Field::Seller => rows.numbers(|e| ids.seller(e, config)),
            Field::BidAuction => rows.numbers(|e| ids.auction(e, config)),
            Field::Bidder => rows.numbers(|e| ids.bidder(e, config)),
            Field::Category => rows.numbers(|e| 10 + draw.below(e.n, 5) as i64),
            Field::Reserve => rows.numbers(|e| price(initial_bid.unit(e.n)) + price(draw.unit(e.n))),
            _ => rows.numbers(|e| price(draw.unit(e.n))),
        }
    }

    fn texts(&self, field: Field, rows: Rows) -> Texts {
        let config = &self.config;
        let (draw, length) = (self.stream(field, 0), self.stream(field, 1));
        match field {
            Field::Channel => rows.texts(12, |e, out| out.extend_from_slice(self.channel(e).0.as_bytes())),
            Field::Url => rows.texts(80, |e, out| out.extend_from_slice(self.channel(e).1.as_bytes())),
            Field::BidExtra => {
                let mean = config.bid_bytes;
                rows.texts(mean as usize, |e, out| text::padding(length, draw, e.n, 32, mean, out))
            }
            Field::PersonExtra => {
                let mean = config.person_bytes;
                let mut scratch = Vec::new();
                rows.texts(mean as usize / 8, |e, out| {
                    let used = self.used_bytes(Kind::Person, e, &mut scratch);
                    text::padding(length, draw, e.n, used, mean, out);
                })
            }
            Field::AuctionExtra => {
                let mean = config.auction_bytes;
                let mut scratch = Vec::new();
                rows.texts(mean as usize / 4, |e, out| {
                    let used = self.used_bytes(Kind::Auction, e, &mut scratch);
                    text::padding(length, draw, e.n, used, mean, out);
                })
            }
            _ => rows.texts(16, |e, out| self.short_text(field, e, out)),
        }
    }

    fn channel(&self, event: Event) -> &(String, String) {
        let hot = self.stream(Field::Channel, 0).at(event.n);
        self.channels().pick(hot, self.stream(Field::Channel, 1), event.n)
    }

    /// What the other fields of an event count, by the official generator's estimate: 8 bytes a number, and the texts.
    fn used_bytes(&self, kind: Kind, event: Event, scratch: &mut Vec<u8>) -> u64 {
        scratch.clear();
        let (numbers, texts): (u64, &[Field]) = match kind {
            Kind::Person => {
                (8, &[Field::PersonName, Field::EmailAddress, Field::CreditCard, Field::City, Field::State])
            }
            _ => (48, &[Field::ItemName, Field::Description]),
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

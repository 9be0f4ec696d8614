//! The knobs of the generator, as numbers.

use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{Date32Type, Time64MicrosecondType};
use rheos_core::options::{OptionDef, OptionType, Options};
use rheos_core::{Error, Result};

use super::event::Kind;

/// Most events of a bounded table, so that event times stay within the calendar.
const EVENTS_MAX: i64 = 1_000_000_000_000_000;

const POSITIVE: OptionType = OptionType::Integer { min: 1, max: 1_000_000 };

/// The options by the names that the official connector gives them, and ours.
pub(super) const OPTIONS: &[OptionDef] = &[
    OptionDef::new(
        "table",
        OptionType::OneOf(&["events", "person", "auction", "bid"]),
        "events",
        "Which rows: all events with one ROW column a kind, or the flat table of one kind.",
    ),
    OptionDef::new(
        "events.num",
        OptionType::Integer { min: 0, max: EVENTS_MAX },
        "0",
        "Events of all three kinds together; 0: without end.",
    ),
    OptionDef::new(
        "first-event.rate",
        OptionType::Integer { min: 1, max: 1_000_000_000 },
        "",
        "Events per second of event time (10000 if not given).",
    ),
    OptionDef::new(
        "next-event.rate",
        OptionType::Integer { min: 1, max: 1_000_000_000 },
        "",
        "The same as first-event.rate: the rate is constant.",
    ),
    OptionDef::new(
        "start-time",
        OptionType::Text,
        "2025-01-01 00:00:00",
        "Event time of the first event (UTC); fixed, so that a run can be repeated.",
    ),
    OptionDef::new("seed", OptionType::Integer { min: 0, max: i64::MAX }, "0", "Another seed gives other values."),
    OptionDef::new(
        "rows-per-second",
        OptionType::Rate,
        "",
        "Events per second of real time, such as '1000/s'; as fast as possible if not given.",
    ),
    OptionDef::new(
        "max-emit-speed",
        OptionType::Bool,
        "true",
        "`false`: as 'rows-per-second' with the rate of first-event.rate.",
    ),
    OptionDef::new(
        "stop-at",
        OptionType::Integer { min: -1, max: EVENTS_MAX },
        "-1",
        "Stop before this event number; -1: at events.num.",
    ),
    OptionDef::new("keep-alive", OptionType::Bool, "false", "`true`: the table does not end after its last event."),
];

/// The options that shape the distribution.
pub(super) const DISTRIBUTION: &[OptionDef] = &[
    OptionDef::new("person.proportion", POSITIVE, "1", "Persons in each round of events."),
    OptionDef::new("auction.proportion", POSITIVE, "3", "Auctions in each round of events."),
    OptionDef::new("bid.proportion", POSITIVE, "46", "Bids in each round of events."),
    OptionDef::new("bid.hot-ratio.auctions", POSITIVE, "2", "One bid in so many is not for the hot auction."),
    OptionDef::new("bid.hot-ratio.bidders", POSITIVE, "4", "One bid in so many is not by the hot bidder."),
    OptionDef::new("auction.hot-ratio.sellers", POSITIVE, "4", "One auction in so many is not by the hot seller."),
    OptionDef::new("person.avg-size", OptionType::Size, "200 b", "Mean size of a person; 'extra' fills it up."),
    OptionDef::new("auction.avg-size", OptionType::Size, "500 b", "Mean size of an auction; 'extra' fills it up."),
    OptionDef::new("bid.avg-size", OptionType::Size, "100 b", "Mean size of a bid; 'extra' fills it up."),
];

/// Largest mean size of an event: a batch of events must fit into 32-bit text offsets.
const EVENT_BYTES_MAX: u64 = 65_536;

/// Everything that the values of event `n` depend on, beside `n`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Config {
    pub(super) seed: u64,
    /// Events; `None`: without end.
    pub(super) events: Option<u64>,
    /// Whether the table stays open after its last event.
    pub(super) keep_alive: bool,
    /// Events per second of event time.
    pub(super) rate: u64,
    pub(super) start_ms: i64,
    /// Events per second of real time.
    pub(super) rows_per_s: Option<f64>,
    pub(super) persons: u64,
    pub(super) auctions: u64,
    pub(super) bids: u64,
    pub(super) hot_auctions: u64,
    pub(super) hot_bidders: u64,
    pub(super) hot_sellers: u64,
    pub(super) person_bytes: u64,
    pub(super) auction_bytes: u64,
    pub(super) bid_bytes: u64,
}

impl Config {
    /// Reads checked options. Errors: `Invalid` for values that do not go together.
    pub(super) fn try_new(options: &Options) -> Result<Self> {
        let number = |name: &str| options.integer(name).unwrap_or(0).unsigned_abs();
        let size = |name: &str| match options.size_bytes(name) {
            Some(bytes) if bytes > EVENT_BYTES_MAX => Err(Error::invalid(
                281,
                format!("option '{name}' is {bytes} bytes, but an event has {EVENT_BYTES_MAX} at most"),
            )
            .with_hint("a size such as '200 b' or '2 KiB'")),
            bytes => Ok(bytes.unwrap_or(0)),
        };
        let rate = rate(options)?;
        let paced = (!options.bool("max-emit-speed")).then_some(rate as f64);
        let num = Some(number("events.num")).filter(|n| *n > 0);
        let stop = options.integer("stop-at").and_then(|n| u64::try_from(n).ok());
        Ok(Self {
            seed: number("seed"),
            events: match (num, stop) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            keep_alive: options.bool("keep-alive"),
            rate,
            start_ms: parse_time_us(options.text("start-time"))
                .map_err(|e| e.context("option 'start-time'"))?
                .div_euclid(1000),
            rows_per_s: options.rate_per_s("rows-per-second").or(paced),
            persons: number("person.proportion"),
            auctions: number("auction.proportion"),
            bids: number("bid.proportion"),
            hot_auctions: number("bid.hot-ratio.auctions"),
            hot_bidders: number("bid.hot-ratio.bidders"),
            hot_sellers: number("auction.hot-ratio.sellers"),
            person_bytes: size("person.avg-size")?,
            auction_bytes: size("auction.avg-size")?,
            bid_bytes: size("bid.avg-size")?,
        })
    }

    /// Events in one round: first its persons, then its auctions, then its bids.
    pub(super) fn round(&self) -> u64 {
        self.persons + self.auctions + self.bids
    }

    /// Event time of event `n`, in ms.
    pub(super) fn time_ms(&self, n: u64) -> i64 {
        // Whole seconds apart, so that the product cannot overflow.
        self.start_ms + (n / self.rate * 1000 + n % self.rate * 1000 / self.rate) as i64
    }

    /// The first event behind `n` that has another event time.
    pub(super) fn time_changes_at(&self, n: u64) -> u64 {
        let (second, rest) = (n / self.rate, n % self.rate);
        let next_ms = rest * 1000 / self.rate + 1;
        second * self.rate + (next_ms * self.rate).div_ceil(1000)
    }

    /// The kind of the events at `offset` of a round, and where in the round it ends.
    pub(super) fn kind(&self, offset: u64) -> (Kind, u64) {
        if offset < self.persons {
            (Kind::Person, self.persons)
        } else if offset < self.persons + self.auctions {
            (Kind::Auction, self.persons + self.auctions)
        } else {
            (Kind::Bid, self.round())
        }
    }

    /// What `events` events take in memory, on average.
    pub(super) fn bytes_of(&self, events: u64) -> u64 {
        let round = self.persons * self.person_bytes + self.auctions * self.auction_bytes + self.bids * self.bid_bytes;
        (u128::from(events) * u128::from(round) / u128::from(self.round())) as u64
    }
}

fn rate(options: &Options) -> Result<u64> {
    match (options.integer("first-event.rate"), options.integer("next-event.rate")) {
        (Some(first), Some(next)) if first != next => Err(Error::invalid(
            282,
            format!("'next-event.rate' is {next} and 'first-event.rate' {first}, but the rate cannot change"),
        )
        .with_hint("give both the same value, or only first-event.rate")),
        (first, next) => Ok(first.or(next).unwrap_or(10_000).unsigned_abs()),
    }
}

/// `YYYY-MM-DD[ T]HH:MM[:SS[.f]]` or a date alone, as microseconds since 1970 in UTC.
pub(crate) fn parse_time_us(text: &str) -> Result<i64> {
    let trimmed = text.trim().trim_end_matches('Z');
    let (date, clock) = trimmed.split_once([' ', 'T']).unwrap_or((trimmed, "00:00"));
    let days = if date.len() == 10 { Date32Type::parse(date) } else { None };
    let us = if clock.len() >= 5 { Time64MicrosecondType::parse(clock) } else { None };
    // The years that a table can hold with room for a long run.
    let in_range = |us: &i64| (-62_135_596_800_000_000..253_402_300_800_000_000).contains(us);
    let time = days.zip(us).map(|(days, us)| i64::from(days) * 86_400_000_000 + us).filter(in_range);
    time.ok_or_else(|| {
        Error::invalid(283, format!("'{text}' is not a time between the years 1 and 9999"))
            .with_hint("write it as '2025-01-01 00:00:00'")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        let us = |text| parse_time_us(text).unwrap();
        assert_eq!(us("1970-01-01"), 0);
        // 2024-03-10 is day 19792.
        assert_eq!(us("2024-03-10 01:02:03.000004"), 19_792 * 86_400_000_000 + 3_723_000_004);
        assert_eq!(us("2024-03-10T01:02Z"), 19_792 * 86_400_000_000 + 3_720_000_000);
        assert_eq!(us("1969-12-31 23:59:59.5"), -500_000);
        for bad in ["", "today", "2024-02-30", "2024-03-10 25:00", "2024-03-10 1", "12", "0000-01-01", "99999-01-01"] {
            assert!(parse_time_us(bad).is_err(), "{bad}");
        }
    }
}

//! Which event has which number, and how ids relate to it.
//!
//! Events come in rounds: with the default proportions, event `50k` is a person, the next three are auctions, the next
//! 46 are bids. So the newest person and auction at any event are arithmetic, not state:
//!
//! ```text
//!   n       0   1 2 3   4 ........ 49   50   51 52 53   54 ........ 99
//!   kind    P   A A A   B .......... B   P   A  A  A    B .......... B
//!   person  0                            1
//!   auction     0 1 2                        3  4  5
//! ```

use super::config::Config;
use crate::datagen::random::RandomStream;

/// Ids of persons and of auctions begin here.
pub(super) const FIRST_ID: i64 = 1000;

/// Auctions that bids go to: so many before the newest.
const IN_FLIGHT_AUCTIONS: u64 = 100;

/// Persons that bid and sell: so many, up to the newest.
const ACTIVE_PERSONS: u64 = 1000;

/// Bids and auctions may name ids that do not exist yet: so many more.
const ID_LEAD: u64 = 10;

/// One id in so many is hot while it is the newest such.
const HOT_EVERY: u64 = 100;

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Person,
    Auction,
    Bid,
}

impl Kind {
    /// The kind in `event_type`.
    pub(super) fn number(self) -> i32 {
        match self {
            Kind::Person => 0,
            Kind::Auction => 1,
            Kind::Bid => 2,
        }
    }

    /// The name of its table and of its column.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Person => "person",
            Kind::Auction => "auction",
            Kind::Bid => "bid",
        }
    }

    /// Where events of this kind stand in a round.
    pub(super) fn offsets(self, config: &Config) -> std::ops::Range<u64> {
        match self {
            Kind::Person => 0..config.persons,
            Kind::Auction => config.persons..config.persons + config.auctions,
            Kind::Bid => config.persons + config.auctions..config.round(),
        }
    }
}

/// One event: its number, and the same number as round and offset.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub(super) n: u64,
    pub(super) round: u64,
    pub(super) offset: u64,
}

impl Event {
    /// The newest person, from 0; of a person itself its number.
    pub(super) fn last_person(self, config: &Config) -> u64 {
        self.round * config.persons + self.offset.min(config.persons - 1)
    }

    /// The newest auction, from 0; of an auction itself its number. Only for auctions and bids: before the first
    /// auction there is none.
    pub(super) fn last_auction(self, config: &Config) -> u64 {
        self.round * config.auctions + (self.offset - config.persons).min(config.auctions - 1)
    }
}

/// The random streams that ids are drawn from: whether it is hot, and which it is if not.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdDraw {
    pub(super) hot: RandomStream,
    pub(super) cold: RandomStream,
}

impl IdDraw {
    /// Hot unless one in `ratio`.
    fn is_hot(self, event: Event, ratio: u64) -> bool {
        self.hot.below(event.n, ratio) > 0
    }

    fn cold_person(self, event: Event, config: &Config) -> u64 {
        let persons = event.last_person(config) + 1;
        let active = persons.min(ACTIVE_PERSONS);
        persons - active + self.cold.below(event.n, active + ID_LEAD)
    }

    /// The auction of a bid: the first of the newest hundred if hot, else one of those that are in flight.
    pub(super) fn auction(self, event: Event, config: &Config) -> i64 {
        let last = event.last_auction(config);
        let id = if self.is_hot(event, config.hot_auctions) {
            last / HOT_EVERY * HOT_EVERY
        } else {
            let first = last.saturating_sub(IN_FLIGHT_AUCTIONS);
            first + self.cold.below(event.n, last - first + 1 + ID_LEAD)
        };
        id as i64 + FIRST_ID
    }

    /// The bidder: the second of the newest hundred persons if hot (the first is the hot seller), else an active one.
    pub(super) fn bidder(self, event: Event, config: &Config) -> i64 {
        let id = if self.is_hot(event, config.hot_bidders) {
            event.last_person(config) / HOT_EVERY * HOT_EVERY + 1
        } else {
            self.cold_person(event, config)
        };
        id as i64 + FIRST_ID
    }

    /// The seller: the first of the newest hundred persons if hot, else an active one.
    pub(super) fn seller(self, event: Event, config: &Config) -> i64 {
        let id = if self.is_hot(event, config.hot_sellers) {
            event.last_person(config) / HOT_EVERY * HOT_EVERY
        } else {
            self.cold_person(event, config)
        };
        id as i64 + FIRST_ID
    }
}

/// How long an auction is open, in ms: on average until 100 more auctions have been opened.
pub(super) fn auction_length_ms(event: Event, config: &Config, draw: RandomStream) -> i64 {
    let events = IN_FLIGHT_AUCTIONS * config.round() / config.auctions;
    let horizon = (config.time_ms(event.n + events) - config.time_ms(event.n)).unsigned_abs();
    1 + draw.below(event.n, (horizon * 2).max(1)) as i64
}

/// A price in cents: its logarithm is even over 1 to 1,000,000 dollars.
///
/// Powers come from a Taylor series of plain products and sums, not from the platform's library, so a price is the same
/// on every machine.
pub(super) fn price(draw: f64) -> i64 {
    // 10^(6 draw) = 2^k * e^z with |z| <= ln(2) / 2.
    let y = draw * 6.0 * std::f64::consts::LOG2_10;
    let k = (y + 0.5).floor();
    let z = (y - k) * std::f64::consts::LN_2;
    let mut series = 1.0;
    for i in (1..=13).rev() {
        series = 1.0 + series * z / f64::from(i);
    }
    (series * (1u64 << k as u64) as f64 * 100.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_powers_of_ten() {
        for i in 0..10_000 {
            let draw = f64::from(i) / 10_000.0;
            let expected = 10f64.powf(draw * 6.0) * 100.0;
            let got = price(draw) as f64;
            assert!((got - expected).abs() <= 0.5 + expected * 1e-12, "{draw}: {got}, not {expected}");
        }
        assert_eq!((price(0.0), price(0.5)), (100, 100_000));
    }
}

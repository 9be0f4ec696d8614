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

/// Neighbouring events of one kind in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) first: Event,
    pub(super) kind: Kind,
    pub(super) len: usize,
}

impl Run {
    /// Its events, in order.
    pub(super) fn events(self) -> impl ExactSizeIterator<Item = Event> {
        let Event { n, round, offset } = self.first;
        (0..self.len).map(move |i| Event { n: n + i as u64, round, offset: offset + i as u64 })
    }
}

/// The random streams that ids are drawn from: whether it is hot, and which it is if not.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdDraw {
    pub(super) hot: RandomStream,
    pub(super) cold: RandomStream,
}

impl IdDraw {
    /// Hot unless one in `ratio`. Both ids are there: which one it is cannot be foreseen, so a branch would cost more.
    fn pick(self, event: Event, ratio: u64, hot: u64, cold: u64) -> i64 {
        let is_hot = self.hot.below(event.n, ratio) > 0;
        std::hint::select_unpredictable(is_hot, hot, cold) as i64 + FIRST_ID
    }

    fn cold_person(self, event: Event, config: &Config) -> u64 {
        let persons = event.last_person(config) + 1;
        let active = persons.min(ACTIVE_PERSONS);
        persons - active + self.cold.below(event.n, active + ID_LEAD)
    }

    /// The auction of a bid: the first of the newest hundred if hot, else one of those that are in flight.
    pub(super) fn auction(self, event: Event, config: &Config) -> i64 {
        let last = event.last_auction(config);
        let first = last.saturating_sub(IN_FLIGHT_AUCTIONS);
        let cold = first + self.cold.below(event.n, last - first + 1 + ID_LEAD);
        self.pick(event, config.hot_auctions, last / HOT_EVERY * HOT_EVERY, cold)
    }

    /// The bidder: the second of the newest hundred persons if hot (the first is the hot seller), else an active one.
    pub(super) fn bidder(self, event: Event, config: &Config) -> i64 {
        let hot = event.last_person(config) / HOT_EVERY * HOT_EVERY + 1;
        self.pick(event, config.hot_bidders, hot, self.cold_person(event, config))
    }

    /// The seller: the first of the newest hundred persons if hot, else an active one.
    pub(super) fn seller(self, event: Event, config: &Config) -> i64 {
        let hot = event.last_person(config) / HOT_EVERY * HOT_EVERY;
        self.pick(event, config.hot_sellers, hot, self.cold_person(event, config))
    }
}

/// How long an auction is open, in ms: on average until 100 more auctions have been opened.
pub(super) fn auction_length_ms(event: Event, config: &Config, draw: RandomStream) -> i64 {
    let events = IN_FLIGHT_AUCTIONS * config.round() / config.auctions;
    let horizon = (config.time_ms(event.n + events) - config.time_ms(event.n)).unsigned_abs();
    1 + draw.below(event.n, (horizon * 2).max(1)) as i64
}

/// 2^52: a sum with it has no bits left for a fraction, so it is rounded to a whole number, half to even.
const WHOLE: f64 = (1u64 << 52) as f64;

/// Draws that become prices together: a few registers of any machine.
const LANES: usize = 8;

/// Prices in cents of draws from 0 to below 1: the logarithm of a price is even over 1 to 1,000,000 dollars.
///
/// Powers come from a Taylor series of plain products and sums, not from the platform's library, so a price is the same
/// on every machine. There are no calls and no branches in it, and its divisions are slow: several are done at a time.
pub(super) fn prices(draws: &[f64]) -> Vec<i64> {
    let mut prices = Vec::with_capacity(draws.len() + LANES);
    let (whole, rest) = draws.as_chunks::<LANES>();
    whole.iter().for_each(|draws| prices.extend(lanes(*draws)));
    let mut last = [0.0; LANES];
    last[..rest.len()].copy_from_slice(rest);
    prices.extend(&lanes(last)[..rest.len()]);
    prices
}

#[inline]
fn lanes(draws: [f64; LANES]) -> [i64; LANES] {
    // 10^(6 draw) = 2^k * e^z with |z| <= ln(2) / 2.
    let y = draws.map(|draw| draw * 6.0 * std::f64::consts::LOG2_10);
    let k = y.map(|y| {
        let up = y + 0.5;
        let near = (up + WHOLE) - WHOLE;
        near - f64::from(u8::from(near > up))
    });
    let z: [f64; LANES] = std::array::from_fn(|lane| (y[lane] - k[lane]) * std::f64::consts::LN_2);
    let mut series = [1.0; LANES];
    for i in (1..=13).rev() {
        for lane in 0..LANES {
            series[lane] = 1.0 + series[lane] * z[lane] / f64::from(i);
        }
    }
    std::array::from_fn(|lane| {
        let power = f64::from_bits(((k[lane] + WHOLE).to_bits() - WHOLE.to_bits() + 1023) << 52);
        let cents = series[lane] * power * 100.0;
        let near = (cents + WHOLE) - WHOLE;
        // Half away from zero, as `round` does.
        let cents = near + f64::from(u8::from(cents - near == 0.5));
        ((cents + WHOLE).to_bits() - WHOLE.to_bits()) as i64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_powers_of_ten() {
        let draws: Vec<f64> = (0..10_000).map(|i| f64::from(i) / 10_000.0).collect();
        for (draw, price) in draws.iter().zip(prices(&draws)) {
            let expected = 10f64.powf(draw * 6.0) * 100.0;
            let got = price as f64;
            assert!((got - expected).abs() <= 0.5 + expected * 1e-12, "{draw}: {got}, not {expected}");
        }
        assert_eq!(prices(&[0.0, 0.5]), [100, 100_000]);
    }

    /// The definition in the words of the library's own rounding.
    fn defined_price(draw: f64) -> i64 {
        let y = draw * 6.0 * std::f64::consts::LOG2_10;
        let k = (y + 0.5).floor();
        let z = (y - k) * std::f64::consts::LN_2;
        let series = (1..=13).rev().fold(1.0, |series, i| 1.0 + series * z / f64::from(i));
        (series * (1u64 << k as u64) as f64 * 100.0).round() as i64
    }

    #[test]
    fn prices_are_what_they_are_defined_to_be() {
        let stream = RandomStream::new(5, 5);
        let mut draws: Vec<f64> = (0..300_003).map(|i| stream.unit(i)).collect();
        // Where the exponent changes, and the last fraction below 1.
        for edge in (0..20).map(|k| (f64::from(k) + 0.5) / 6.0 / std::f64::consts::LOG2_10).chain([1.0]) {
            let around = [edge.next_down(), edge, edge.next_up()];
            draws.extend(around.into_iter().filter(|d| (0.0..1.0).contains(d)));
        }
        let prices = prices(&draws);
        assert_eq!(prices.len(), draws.len());
        for (draw, price) in draws.into_iter().zip(prices) {
            assert_eq!(price, defined_price(draw), "{draw}");
        }
    }
}

//! The hot paths of the data, one by one, on one thread: what each costs a record.
//!
//! ```text
//!   cargo bench                          times each path (divan)
//!   paths count NAME                     runs one of them once, for callgrind: scripts/instructions.py
//! ```
//!
//! Both run the same: `prepare` makes the input of a path from generated bids, and only what it returns is measured. The
//! generator and the hash tables have fixed seeds, and the allocator is the system's.
#![expect(clippy::unwrap_used, reason = "a driver of known input; where it fails, it should say where")]

mod decode;
mod groups;
mod input;
mod operators;

use std::fmt;
use std::hint::black_box;

use divan::counter::ItemsCount;

/// What is measured: its input is ready, and it returns how many records went in.
type Run = Box<dyn FnOnce() -> usize>;

/// A hot path.
#[derive(Clone, Copy)]
struct Path {
    name: &'static str,
    /// Makes the input from so many bids.
    prepare: fn(usize) -> Run,
}

/// A record is what goes in: a bid, but a partial aggregate in `merge`, and a result in `window emit`.
const PATHS: [Path; 8] = [
    Path { name: "json decode", prepare: decode::json },
    Path { name: "csv decode", prepare: decode::csv },
    Path { name: "parquet decode", prepare: decode::parquet },
    Path { name: "hash split", prepare: operators::hash_split },
    Path { name: "partial aggregate", prepare: operators::partial_aggregate },
    Path { name: "merge", prepare: operators::merge },
    Path { name: "window emit", prepare: operators::window_emit },
    Path { name: "join probe", prepare: operators::join_probe },
];

/// Groups whose results change: timed; their instructions are not recorded yet.
const GROUPS: [Path; 4] = [
    Path { name: "group count", prepare: groups::counted },
    Path { name: "group sum of changes", prepare: groups::summed },
    Path { name: "group min of changes", prepare: groups::minimum },
    Path { name: "group distinct", prepare: groups::distinct },
];

/// The same by others, to compare: timed, but their instructions are not ours to count.
const OTHERS: [Path; 2] = [
    Path { name: "json decode by arrow-json", prepare: decode::arrow_json },
    Path { name: "csv decode by arrow-csv", prepare: decode::arrow_csv },
];

/// Bids of one run.
const BIDS: usize = 100_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["names"] => PATHS.iter().for_each(|path| println!("{path}")),
        ["count", name] => {
            count(PATHS.iter().chain(&GROUPS).find(|path| path.name == *name).expect("`names` lists them"))
        }
        _ => divan::main(),
    }
}

fn count(path: &Path) {
    // What is made at first use is no cost of a record.
    (path.prepare)(2000)();
    println!("{}", measured((path.prepare)(BIDS)));
}

/// Callgrind counts what is done in here.
#[inline(never)]
fn measured(run: Run) -> usize {
    black_box(run())
}

#[divan::bench(args = PATHS.into_iter().chain(GROUPS).chain(OTHERS), sample_count = 20, sample_size = 1)]
fn path(bencher: divan::Bencher, path: Path) {
    let records = (path.prepare)(BIDS)();
    bencher.counter(ItemsCount::new(records)).with_inputs(|| (path.prepare)(BIDS)).bench_values(|run| run());
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

//! One job under a given credit, for measurements of time and memory (`scripts/bench_credit.py`, docs/benchmarks.md).
//!
//! ```text
//! cargo run --release --example credit -- hop 4 20000000          job, credit in MiB, events
//! ```
//!
//! | job | what goes where |
//! |---|---|
//! | `hop` | generated bids ─► partial aggregate ══ few rows ══► sliding windows |
//! | `exchange` | generated bids ══ all rows ══► windows with a percentile, which has no partial aggregate |
//! | `wide` | the same with rows of 250 bytes: a batch is 2 MiB |
//! | `csv-write` | generated bids ─► a csv file in the working folder |
//! | `csv` | that csv file ══ all rows ══► windows with a percentile |

use rheos::functions::aggregate::{avg, count, max, percentile_cont};
use rheos::functions::scalar::character_length;
use rheos::{Expr, Hop, Pipeline, RunOptions, Stream, Table, Tumble, col, lit, types};

const FILE: &str = "credit-bids.csv";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [job, credit_mib, events] = args.as_slice() else {
        return Err("usage: credit hop|exchange|wide|csv-write|csv CREDIT_MIB EVENTS".into());
    };
    let bids = Stream::source(nexmark(events));
    let pipeline = match job.as_str() {
        "hop" => hop(bids),
        "exchange" => percentiles(bids),
        "wide" => wide(bids),
        "csv" => percentiles(Stream::source(csv().option("csv.multiline", "false").watermark("dateTime", "4 s"))),
        "csv-write" => bids.select(["auction", "price", "channel", "dateTime"].map(col)).sink(csv()),
        other => return Err(format!("there is no job '{other}'").into()),
    };
    let mut options = RunOptions::default();
    options.config.parallelism = 2;
    options.config.credit_bytes = credit_mib.parse::<u64>()? << 20;
    let report = pipeline.with_options(options).run()?;
    println!("{} rows read, {} written", report.snapshot.records_in, report.snapshot.records_out);
    Ok(())
}

fn nexmark(events: &str) -> Table {
    let table = columns(Table::new("bid", "nexmark").option("table", "bid").option("events.num", events));
    table.column("url", types::string()).column("extra", types::string()).watermark("dateTime", "4 s")
}

fn csv() -> Table {
    columns(Table::new("file", "filesystem").option("path", FILE).option("format", "csv"))
        .option("sink.if-exists", "replace")
}

fn columns(table: Table) -> Table {
    let table = table.column("auction", types::bigint()).column("price", types::bigint());
    table.column("channel", types::string()).column("dateTime", types::timestamp())
}

fn hop(bids: Stream) -> Pipeline {
    let window = Hop::of("10 s").every("2 s");
    gone(bids.key_by(["auction"]).window(window).aggregate([count(lit(1)).alias("a"), max(col("price")).alias("b")]))
}

fn percentiles(bids: Stream) -> Pipeline {
    let p95 = percentile_cont(col("price").sort(true, false), lit(0.95));
    let aggregates: [Expr; 2] = [p95.alias("a"), avg(col("price")).alias("b")];
    gone(bids.key_by(["channel"]).window(Tumble::of("10 s")).aggregate(aggregates))
}

fn wide(bids: Stream) -> Pipeline {
    let text = |name| max(character_length(col(name)));
    let p95 = percentile_cont(col("price").sort(true, false), lit(0.95));
    let aggregates = [p95.alias("a"), text("url").alias("b"), text("extra").alias("c")];
    gone(bids.key_by(["channel"]).window(Tumble::of("10 s")).aggregate(aggregates))
}

fn gone(stream: Stream) -> Pipeline {
    let table = Table::new("gone", "blackhole").column("a", types::double()).column("b", types::double());
    stream.select([col("a"), col("b")]).sink(table)
}

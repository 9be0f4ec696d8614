//! Hourly mean and 95th percentile of the departure delay per airport, built by hand: the same job graph as
//! `examples/flights/delays.sql`.
//!
//! ```text
//! cargo run --release --example delays
//! ```

use rheos::functions::aggregate::{avg, count, percentile_cont};
use rheos::text::ColumnText;
use rheos::{Stream, Table, Tumble, col, lit, types};

const FLIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/flights/data/sample/flights_sorted.csv");

fn main() -> rheos::Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| FLIGHTS.to_string());
    let flights = Table::new("flights", "filesystem")
        .option("path", path)
        .option("format", "csv")
        .option("csv.null-literal", "NA")
        .option("csv.multiline", "false")
        .column("sched_dep", types::timestamp())
        .column("dep_delay", types::double())
        .column("origin", types::string())
        .watermark("sched_dep", "5 min");

    let hourly = Stream::source(flights)
        .filter(col("dep_delay").is_not_null())
        .key_by(["origin"])
        .window(Tumble::of("1 h"))
        .aggregate([
            count(lit(1)).alias("flights"),
            avg(col("dep_delay")).alias("mean_delay"),
            percentile_cont(col("dep_delay").sort(true, false), lit(0.95)).alias("p95_delay"),
        ])
        .select(["window_start", "origin", "flights", "mean_delay", "p95_delay"].map(col));

    println!("{}", hourly.job(&rheos::RunOptions::default())?.explain());
    let mut shown = 0;
    let mut windows = 0;
    for batch in hourly.collect()? {
        windows += batch.num_rows();
        let columns = batch.columns().iter().map(ColumnText::try_new).collect::<rheos::Result<Vec<_>>>()?;
        for row in (0..batch.num_rows()).take(10 - shown) {
            println!("{}", columns.iter().map(|c| c.text(row)).collect::<Vec<_>>().join("  "));
            shown += 1;
        }
    }
    println!("... {windows} rows");
    Ok(())
}

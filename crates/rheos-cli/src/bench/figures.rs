//! What the runs of a query come to, and how it is printed.

use std::time::Duration;

use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use super::args::FigureFormat;
use super::measure::Measurement;
use crate::program::print_text;
use crate::summary::grouped;

const HEADER: [&str; 9] =
    ["QUERY", "EVENTS", "ROWS", "WALL S", "EVENTS/S", "CPU S", "CPU S/M", "PEAK MIB", "STATE B/ROW"];

/// The runs of one query.
#[derive(Debug)]
pub(super) struct Figures {
    query: String,
    events: u64,
    runs: Vec<Measurement>,
}

impl Figures {
    /// `runs`: at least one.
    pub(super) fn new(query: &str, events: u64, runs: Vec<Measurement>) -> Self {
        Self { query: query.to_string(), events, runs }
    }

    fn wall_s(&self) -> f64 {
        self.median(|run| run.wall.as_secs_f64())
    }

    fn cpu_s(&self) -> f64 {
        self.median(|run| run.cpu.as_secs_f64())
    }

    fn peak_bytes(&self) -> f64 {
        self.median(|run| run.peak_bytes as f64)
    }

    fn events_per_s(&self) -> f64 {
        // A clock cannot tell less than a nanosecond.
        self.events as f64 / self.wall_s().max(Duration::from_nanos(1).as_secs_f64())
    }

    fn cpu_s_per_million(&self) -> f64 {
        self.cpu_s() * 1e6 / self.events as f64
    }

    /// The middle of the runs; of an even number, the mean of the two in the middle.
    fn median(&self, of: impl Fn(&Measurement) -> f64) -> f64 {
        let mut values: Vec<f64> = self.runs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => 0.0,
            n if n % 2 == 1 => values[middle],
            _ => values[middle - 1].midpoint(values[middle]),
        }
    }

    /// Bytes of state for each row that is kept at the end; `None` where no operator tells.
    fn state_bytes_per_row(&self) -> Option<f64> {
        self.runs.last().filter(|run| run.state_rows > 0).map(|run| run.state_bytes as f64 / run.state_rows as f64)
    }

    fn row(&self) -> [String; 9] {
        [
            self.query.clone(),
            grouped(self.events),
            grouped(self.rows()),
            format!("{:.2}", self.wall_s()),
            grouped(self.events_per_s() as u64),
            format!("{:.2}", self.cpu_s()),
            format!("{:.3}", self.cpu_s_per_million()),
            format!("{:.0}", self.peak_bytes() / f64::from(1 << 20)),
            self.state_bytes_per_row().map_or_else(|| "-".into(), |bytes| format!("{bytes:.0}")),
        ]
    }

    /// Of the last run; the runs of a query agree, unless it reads the clock.
    fn rows(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.rows)
    }

    fn to_json(&self) -> Value {
        json!({ "query": self.query, "events": self.events, "rows": self.rows(), "wall_s": self.wall_s(),
                "events_per_s": self.events_per_s(), "cpu_s": self.cpu_s(),
                "cpu_s_per_million_events": self.cpu_s_per_million(), "peak_memory_bytes": self.peak_bytes() as u64,
                "state_bytes_per_row": self.state_bytes_per_row(),
                "runs": self.runs.iter().map(Measurement::to_json).collect::<Vec<_>>() })
    }
}

/// Gathers the figures of all queries and prints them.
pub(super) struct Report {
    format: FigureFormat,
    /// What holds for all queries, as members of the document.
    setup: Value,
    done: Vec<Figures>,
}

impl Report {
    pub(super) fn new(format: FigureFormat, setup: Value) -> Self {
        Self { format, setup, done: Vec::new() }
    }

    /// Takes a query's figures; prints them where each is printed by itself.
    pub(super) fn add(&mut self, figures: Figures) -> Result<()> {
        if self.format == FigureFormat::Jsonl {
            let mut object = self.setup.clone();
            if let (Value::Object(all), Value::Object(own)) = (&mut object, figures.to_json()) {
                all.extend(own);
            }
            print_text(&format!("{object}\n"))?;
        }
        self.done.push(figures);
        Ok(())
    }

    /// Prints what there is.
    pub(super) fn finish(mut self) -> Result<()> {
        match self.format {
            FigureFormat::Table if self.done.is_empty() => Ok(()),
            FigureFormat::Table => print_text(&self.table()),
            FigureFormat::Json => {
                let queries = self.done.iter().map(Figures::to_json).collect();
                if let Value::Object(members) = &mut self.setup {
                    members.insert("queries".into(), Value::Array(queries));
                }
                print_text(&format!("{:#}\n", self.setup))
            }
            FigureFormat::Jsonl => Ok(()),
        }
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(HEADER);
        table.add_rows(self.done.iter().map(Figures::row));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let lines: Vec<String> =
            table.lines().map(|line| line.trim_end().trim_start_matches(' ').to_string()).collect();
        format!("{}\n", lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(wall_ms: u64, cpu_ms: u64, peak_mib: u64) -> Measurement {
        Measurement {
            parallelism: 2,
            rows: 920_000,
            late: 0,
            wall: Duration::from_millis(wall_ms),
            cpu: Duration::from_millis(cpu_ms),
            peak_bytes: peak_mib << 20,
            state_rows: peak_mib,
            state_bytes: 100 * peak_mib,
        }
    }

    #[test]
    fn figures_are_medians() {
        let figures = Figures::new("q0", 2_000_000, vec![run(900, 1600, 70), run(500, 800, 60), run(400, 1000, 80)]);
        let want = ["q0", "2,000,000", "920,000", "0.50", "4,000,000", "1.00", "0.500", "70", "100"];
        assert_eq!(figures.row(), want);
        let even = Figures::new("q0", 1_000_000, vec![run(100, 100, 60), run(200, 300, 70)]);
        assert_eq!((even.wall_s(), even.cpu_s()), (0.15000000000000002, 0.2));
    }

    #[test]
    fn columns_of_numbers_are_flush_right() {
        let mut report = Report::new(FigureFormat::Table, json!({}));
        for (query, ms) in [("q0", 10_000), ("q10", 900)] {
            report.add(Figures::new(query, 1_000_000, vec![run(ms, ms, 64)])).unwrap();
        }
        let table = report.table();
        let ends: Vec<usize> = table.lines().map(str::len).collect();
        assert_eq!(ends.len(), 3);
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{table}");
        assert!(table.starts_with("QUERY "), "{table}");
    }
}

//! Runs `tests/sql/*.slt` at every batch size and parallelism, also with crashes in between (`restores.rs`), and checks what
//! `tests/sql/errors/*.slt` are told.
//!
//! The formats are described in `tests/sql/README.md`. Expected rows are DuckDB's or computed by hand.

#![allow(clippy::unwrap_used, reason = "a test ends with a panic")]

mod gate;
mod restores;
mod visible;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use rheos::arrow::record_batch::RecordBatch;
use rheos::text::ColumnText;

const BATCH_ROWS: [usize; 3] = [1, 7, 8192];
const PARALLELISM: [usize; 3] = [1, 2, 3];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the crate lies in the repository")
}

fn slt_files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<_> = entries.filter(|p| p.extension().is_some_and(|e| e == "slt")).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has cases");
    files
}

struct Case {
    name: String,
    program: String,
    ordered: bool,
    expected: Vec<String>,
}

/// The cases of a file; see the README beside them.
fn parse(text: &str) -> Vec<Case> {
    let mut parts = text.split("\n-- case: ");
    let setup = parts.next().unwrap_or_default().lines().filter(|line| !line.starts_with('#'));
    let setup = setup.collect::<Vec<_>>().join("\n");
    parts.map(|part| parse_case(&setup, part)).collect()
}

fn parse_case(setup: &str, part: &str) -> Case {
    let (name, body) = part.split_once('\n').expect("a case has a name and a program");
    let end = body.find("\n-- duckdb:").or_else(|| body.find("\n-- hand:"));
    let program = &body[..end.unwrap_or_else(|| panic!("case '{name}' has no oracle"))];
    let (_, rows) = body.split_once("\n----\n").unwrap_or_else(|| panic!("case '{name}' has no ----"));
    let rows = rows.lines().take_while(|line| !line.is_empty()).map(str::to_string).collect();
    let mut whole = String::from(setup);
    for line in program.lines() {
        match line.strip_prefix("-- run: ") {
            Some(path) => whole.push_str(&fs::read_to_string(root().join(path.trim())).unwrap()),
            None => whole.push_str(&format!("\n{line}")),
        }
    }
    let ordered = program.lines().any(|line| line.trim() == "-- ordered");
    Case { name: name.to_string(), program: whole, ordered, expected: rows }
}

fn cells(batches: &[RecordBatch]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch.columns().iter().map(|c| ColumnText::try_new(c).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let cell = |c: &ColumnText| match c.is_null(row) {
                true => "NULL".to_string(),
                false => Some(c.text(row)).filter(|t| !t.is_empty()).unwrap_or_else(|| "(empty)".to_string()),
            };
            rows.push(columns.iter().map(cell).collect::<Vec<_>>().join("|"));
        }
    }
    rows
}

fn is_alike(got: &str, want: &str) -> bool {
    let (got, want): (Vec<_>, Vec<_>) = (got.split('|').collect(), want.split('|').collect());
    let cell = |(a, b): (&&str, &&str)| {
        let point = |t: &str| t.contains('.') || t.contains('e');
        match (a.parse::<f64>(), b.parse::<f64>()) {
            _ if a == b => true,
            (Ok(x), Ok(y)) if point(a) || point(b) => (x - y).abs() <= (1e-9 * x.abs().max(y.abs())).max(1e-12),
            _ => false,
        }
    };
    got.len() == want.len() && got.iter().zip(&want).all(cell)
}

/// What differs, or nothing.
fn difference(case: &Case, mut got: Vec<String>) -> Option<String> {
    let mut want = case.expected.clone();
    if !case.ordered {
        got.sort();
        want.sort();
    }
    if got.len() == want.len() && got.iter().zip(&want).all(|(g, w)| is_alike(g, w)) {
        return None;
    }
    let mut text = format!("{} rows, expected {}\n", got.len(), want.len());
    for i in 0..got.len().max(want.len()) {
        let (g, w) = (got.get(i).map_or("-", String::as_str), want.get(i).map_or("-", String::as_str));
        if !is_alike(g, w) {
            let _ = writeln!(text, "  row {i}: {g}\n  expected {w}");
            if text.lines().count() > 8 {
                break;
            }
        }
    }
    Some(text)
}

fn run(case: &Case, batch_rows: usize, parallelism: usize) -> Result<Vec<String>, String> {
    program(case, batch_rows, parallelism)
        .collect()
        .map(|batches| cells(&batches))
        .map_err(|e| format!("refused or failed: {e}"))
}

fn program(case: &Case, batch_rows: usize, parallelism: usize) -> rheos::SqlProgram {
    rheos::sql(&case.program)
        .variable("DATA", "tests/sql/data")
        .batch_rows(batch_rows)
        .parallelism(parallelism)
        // Epochs end in the middle of these small inputs.
        .set("checkpoint.interval", "2 ms")
}

/// All cases, each with the name of its file.
fn all_cases() -> Vec<(String, Case)> {
    let mut cases = Vec::new();
    for file in slt_files("tests/sql") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        cases.extend(parse(&fs::read_to_string(&file).unwrap()).into_iter().map(|case| (name.clone(), case)));
    }
    cases
}

#[test]
fn every_case_gives_the_expected_rows_at_every_batch_size_and_parallelism() {
    std::env::set_current_dir(root()).unwrap();
    let (cases, mut failures) = (all_cases(), Vec::new());
    for (file, case) in &cases {
        'case: for batch_rows in BATCH_ROWS {
            for parallelism in PARALLELISM {
                let problem = match run(case, batch_rows, parallelism) {
                    Ok(rows) => difference(case, rows),
                    Err(error) => Some(error),
                };
                if let Some(problem) = problem {
                    let how = format!("{batch_rows} rows a batch, parallelism {parallelism}");
                    failures.push(format!("{file}: {} ({how}): {problem}", case.name));
                    break 'case;
                }
            }
        }
    }
    let cases = cases.len();
    println!("{cases} cases, {} failed", failures.len());
    assert!(failures.is_empty(), "{} of {cases} cases failed:\n{}", failures.len(), failures.join("\n"));
    assert!(cases >= 60, "there are {cases} cases");
}

/// The same rows, where results change as rows come and the rows at the end are given.
#[test]
fn every_case_gives_the_expected_rows_by_changes() {
    std::env::set_current_dir(root()).unwrap();
    let (cases, mut failures, mut refused) = (all_cases(), Vec::new(), Vec::new());
    for (number, (file, case)) in cases.iter().enumerate() {
        // Each case with one size and one parallelism, all of them over all cases.
        let (batch_rows, parallelism) = (BATCH_ROWS[number % 3], PARALLELISM[number / 3 % 3]);
        let problem = match program(case, batch_rows, parallelism).set("emit.mode", "changes").collect() {
            Ok(batches) => difference(case, cells(&batches)),
            // What cannot take rows back is refused by its name.
            Err(error) if ["R0142", "R0702"].contains(&error.code().as_str()) => {
                refused.push(format!("{file}: {}: {}", case.name, error.message()));
                None
            }
            Err(error) => Some(format!("{} {error}", error.code())),
        };
        if let Some(problem) = problem {
            failures.push(format!(
                "{file}: {} ({batch_rows} rows a batch, parallelism {parallelism}): {problem}",
                case.name
            ));
        }
    }
    let cases = cases.len();
    println!("{cases} cases, {} failed, {} refused:\n{}", failures.len(), refused.len(), refused.join("\n"));
    assert!(failures.is_empty(), "{} of {cases} cases failed:\n{}", failures.len(), failures.join("\n"));
    assert!(refused.len() * 20 < cases, "{} of {cases} cases were refused", refused.len());
}

#[test]
fn every_mistake_is_told_with_its_place_and_what_to_try() {
    std::env::set_current_dir(root()).unwrap();
    let (mut cases, mut failures) = (0, Vec::new());
    for file in slt_files("tests/sql/errors") {
        for part in fs::read_to_string(&file).unwrap().split("\n-- case: ").skip(1) {
            cases += 1;
            if let Err(problem) = check_mistake(part) {
                failures.push(format!("{}: {problem}", part.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {cases} mistakes:\n{}", failures.len(), failures.join("\n"));
    assert!(cases >= 30, "there are {cases} mistakes");
}

fn check_mistake(part: &str) -> Result<(), String> {
    let (_, body) = part.split_once('\n').expect("a case has a name");
    let (program, facts) = body.split_once("\n-- error: ").ok_or("no -- error: line")?;
    let mut lines = facts.lines().take_while(|line| !line.is_empty());
    let (code, place) = lines.next().and_then(|l| l.split_once(' ')).ok_or("no code and place")?;
    let error = match rheos::sql(program).plan() {
        Ok(_) => return Err("the program was accepted".into()),
        Err(error) => error,
    };
    let told = || format!("{} {} (try: {:?}) at {:?}", error.code(), error.message(), error.hint(), error.span());
    if code != "-" && error.code() != code {
        return Err(format!("expected {code}, told {}", told()));
    }
    let at = error.span().map_or("none".to_string(), |s| format!("{}:{}", s.line, s.column));
    if place.trim() != "-" && at != place.trim() {
        return Err(format!("expected place {place}, told {}", told()));
    }
    for line in lines {
        let (what, wanted) = line.split_once(": ").ok_or_else(|| format!("unreadable: {line}"))?;
        let said = if what == "hint" { error.hint().unwrap_or_default() } else { error.message() };
        let said = said.to_lowercase();
        if !wanted.split('|').any(|w| said.contains(&w.trim().to_lowercase())) {
            return Err(format!("expected {what} with '{wanted}', told {}", told()));
        }
    }
    Ok(())
}

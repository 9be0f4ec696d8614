//! The examples of the book and the README: each ```` ```sql,test ```` block is run, and its output is the block behind it.
//!
//! ```text
//!   ```sql,setup        put before every later example of the page
//!   ```sql,test         rows as a table; their order counts where the program says ORDER BY
//!   ```sql,test,error   the program is refused; every line of the next block is in the message
//!   ```sql,test,contains   every line of the next block is in the output
//!   ```sql,test,var:NAME=VALUE   run with --var
//! ```

use std::path::{Path, PathBuf};

use crate::process::{Outcome, command_in, finish, start};

struct Block {
    line: usize,
    info: String,
    body: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (n, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some(Block { line: n + 1, info: info.to_string(), body: String::new() }),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.body.push_str(&format!("{line}\n")),
            (None, None) => {}
        }
    }
    found
}

fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages.extend(self::pages(&path));
        } else if path.extension().is_some_and(|e| e == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    pages
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn run(folder: &Path, sql: &str, flags: &[&str], table: bool) -> Outcome {
    let mut args = vec!["run", "-c", sql];
    if table {
        args.extend(["-o", "table"]);
    }
    for flag in flags {
        if let Some(variable) = flag.strip_prefix("var:") {
            args.extend(["--var", variable]);
        }
    }
    finish(start(command_in(folder, &args)), b"")
}

fn lines_of(text: &str, sorted: bool) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|l| l.trim_end().to_string()).collect();
    if sorted {
        lines.sort();
    }
    lines
}

/// Runs the examples of one page; says how many there were and what was wrong.
fn check_page(page: &Path, folder: &Path) -> (usize, Vec<String>) {
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = blocks(&text);
    let (mut setup, mut examples, mut wrong) = (String::new(), 0, Vec::new());
    for (i, block) in blocks.iter().enumerate() {
        let flags: Vec<&str> = block.info.split(',').collect();
        if flags[0] != "sql" {
            continue;
        }
        if flags.contains(&"setup") {
            // On one line, so that the places in messages are those of the example.
            setup = block.body.replace('\n', " ");
        }
        if !flags.contains(&"test") {
            continue;
        }
        examples += 1;
        let place = format!("{}:{}", page.display(), block.line);
        let Some(expected) = blocks.get(i + 1).filter(|b| b.info == "text") else {
            wrong.push(format!("{place}: no ```text block with the output follows"));
            continue;
        };
        let table = !block.body.contains("'print'");
        let outcome = run(folder, &format!("{setup}{}", block.body), &flags, table);
        let contains = |text: &str| expected.body.lines().all(|l| text.contains(l.trim()));
        let good = if flags.contains(&"error") {
            outcome.code == 65 && contains(&outcome.stderr)
        } else if flags.contains(&"contains") {
            outcome.code == 0 && contains(&outcome.stdout)
        } else {
            let sorted = !block.body.contains("ORDER BY");
            outcome.code == 0 && lines_of(&outcome.stdout, sorted) == lines_of(&expected.body, sorted)
        };
        if !good {
            let Outcome { code, stdout, stderr } = outcome;
            wrong.push(format!("{place}: exit code {code}\n{stdout}{stderr}\nexpected:\n{}", expected.body));
        }
    }
    (examples, wrong)
}

#[test]
fn the_examples_of_the_book_give_what_the_book_says() {
    let book = project().join("docs/src");
    let data = book.join("data");
    let (mut examples, mut wrong) = (0, Vec::new());
    for page in pages(&book) {
        let (n, found) = check_page(&page, &data);
        examples += n;
        wrong.extend(found);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(examples > 30, "only {examples} examples were found");
}

/// Every option of a connector is on its page, and every connector has one.
#[test]
fn the_pages_of_the_connectors_name_every_option() {
    let book = project().join("docs/src/connectors");
    let listed = finish(start(command_in(&book, &["connectors", "-o", "json"])), b"");
    let connectors: serde_json::Value = serde_json::from_str(&listed.expect_code(0).stdout).unwrap();
    for connector in connectors.as_array().unwrap() {
        let name = connector["name"].as_str().unwrap();
        let page = std::fs::read_to_string(book.join(format!("{name}.md"))).unwrap_or_default();
        for option in connector["options"].as_array().unwrap() {
            let option = option["name"].as_str().unwrap();
            assert!(page.contains(&format!("`{option}`")), "docs/src/connectors/{name}.md does not name '{option}'");
        }
    }
}

/// The rows over which the aggregates of the functions page are computed; the page shows them.
const ROWS: &str = "(VALUES (1, CAST(2 AS DOUBLE), true, 'a'), (2, 4, false, 'b'), (3, 7, true, 'b'), (4, NULL, true, NULL)) AS t(n, x, b, s)";

/// The calls of the functions page, `| call | result |`, with what each is asked of.
fn calls(page: &str) -> Vec<(String, String)> {
    let mut from = "";
    let mut calls = Vec::new();
    for line in page.lines() {
        if line.starts_with("## ") {
            from = if line == "## Aggregates" { ROWS } else { "" };
        }
        let row = line.strip_prefix("| `").and_then(|l| l.strip_suffix("` |")).and_then(|l| l.split_once("` | `"));
        let Some((call, result)) = row else { continue };
        let from = if from.is_empty() { String::new() } else { format!(" FROM {from}") };
        calls.push((format!("SELECT {} AS r{from};", call.replace("\\|", "|")), result.replace("\\|", "|")));
    }
    calls
}

#[test]
fn every_function_has_an_example_and_gives_its_result() {
    let book = project().join("docs/src/sql");
    let page = std::fs::read_to_string(book.join("functions.md")).unwrap();
    let windows = std::fs::read_to_string(book.join("windows.md")).unwrap().to_lowercase();
    let calls = calls(&page);
    let mut differ = Vec::new();
    for some in calls.chunks(50) {
        let program: String = some.iter().map(|(call, _)| format!("{call}\n")).collect();
        let outcome = run(&project(), &program, &[], false);
        let rows: Vec<&str> = outcome.expect_code(0).stdout.lines().collect();
        assert_eq!(rows.len(), some.len(), "{rows:?}");
        for ((call, want), row) in some.iter().zip(rows) {
            let got = row.strip_prefix("{\"r\":").and_then(|l| l.strip_suffix('}')).unwrap_or(row);
            if got != want {
                differ.push(format!("{call} gives {got}, not {want}"));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    let listed = finish(start(command_in(&project(), &["functions", "-o", "json"])), b"");
    let functions: serde_json::Value = serde_json::from_str(&listed.expect_code(0).stdout).unwrap();
    let has_example = |f: &serde_json::Value| {
        let call = format!("{}(", f["name"].as_str().unwrap());
        if f["kind"] == "window" { windows.contains(&call) } else { page.contains(&call) }
    };
    let missing: Vec<&serde_json::Value> =
        functions.as_array().unwrap().iter().filter(|f| !has_example(f)).map(|f| &f["name"]).collect();
    assert!(missing.is_empty(), "without an example in the book: {missing:?}");
}

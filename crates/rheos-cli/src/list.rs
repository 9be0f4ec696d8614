//! `rheos connectors` and `rheos functions`: what a program may name.

use anyhow::Result;
use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};
use rheos::connector::TABLE_OPTIONS;
use rheos::error::did_you_mean;
use rheos::options::OptionDef;
use rheos::query::FunctionInfo;
use rheos::{Connector, Error};
use serde_json::{Value, json};

use crate::args::{ListArgs, ListFormat};
use crate::program::print_text;
use crate::report::{Failure, code};

/// `rheos connectors [NAME]`.
pub(crate) fn connectors(args: &ListArgs) -> Result<()> {
    let registry = rheos::connectors();
    let all: Vec<&dyn Connector> = registry.iter().map(|c| &**c).collect();
    let text = match (&args.name, args.output.format()) {
        (None, ListFormat::Table) => {
            columns(all.iter().map(|c| vec![c.name().to_string(), c.summary().to_string()]), &["NAME", "WHAT IT IS"])
        }
        (None, ListFormat::Json) => document(all.iter().map(|c| connector_json(*c)).collect()),
        (Some(name), output) => {
            let known = all.iter().map(|c| c.name());
            let Some(found) = all.iter().find(|c| c.name().eq_ignore_ascii_case(name)) else {
                return not_found("connector", name, known);
            };
            match output {
                ListFormat::Table => connector_text(*found),
                ListFormat::Json => document(connector_json(*found)),
            }
        }
    };
    print_text(&text)
}

fn connector_text(connector: &dyn Connector) -> String {
    let mut text = format!("{}: {}\n", connector.name(), connector.summary());
    for (heading, options) in option_groups(connector) {
        let rows = options.iter().map(|o| {
            let default = if o.required { "required".to_string() } else { o.default.to_string() };
            vec![format!("'{}'", o.name), o.kind.display(), default, option_help(o)]
        });
        text.push_str(&format!("\n{heading}\n{}", columns(rows, &["OPTION", "VALUE", "DEFAULT", "WHAT IT DOES"])));
    }
    let metadata = connector.metadata();
    if !metadata.is_empty() {
        let rows = metadata.iter().map(|m| vec![format!("'{}'", m.key), m.help.to_string()]);
        text.push_str(&format!("\nColumns with METADATA FROM\n{}", columns(rows, &["KEY", "WHAT IT IS"])));
    }
    text
}

/// The connector's options, and those that every table has that is read.
fn option_groups(connector: &dyn Connector) -> Vec<(&'static str, &'static [OptionDef])> {
    let mut groups = connector.options();
    if connector.is_readable() {
        groups.push(("Every table that is read", TABLE_OPTIONS));
    }
    groups
}

fn option_help(option: &OptionDef) -> String {
    if option.aliases.is_empty() {
        return option.help.to_string();
    }
    format!("{} Also: {}.", option.help, option.aliases.join(", "))
}

fn connector_json(connector: &dyn Connector) -> Value {
    let options: Vec<Value> = option_groups(connector)
        .iter()
        .flat_map(|(group, options)| options.iter().map(move |o| (group, o)))
        .map(|(group, o)| {
            json!({ "name": o.name, "group": group, "type": o.kind.display(), "default": o.default,
                    "required": o.required, "aliases": o.aliases, "help": o.help })
        })
        .collect();
    let metadata: Vec<Value> = connector.metadata().iter().map(|m| json!({ "key": m.key, "help": m.help })).collect();
    json!({ "name": connector.name(), "summary": connector.summary(), "options": options, "metadata": metadata })
}

/// `rheos functions [NAME]`.
pub(crate) fn functions(args: &ListArgs) -> Result<()> {
    let all = rheos::query::functions();
    let text = match (&args.name, args.output.format()) {
        (None, ListFormat::Table) => columns(
            all.iter().map(|f| vec![f.name.to_string(), f.kind.name().to_string(), first_sentence(&f.description)]),
            &["NAME", "KIND", "WHAT IT DOES"],
        ),
        (None, ListFormat::Json) => document(all.iter().map(function_json).collect()),
        (Some(name), output) => {
            let is = |f: &&FunctionInfo| {
                f.name.eq_ignore_ascii_case(name) || f.aliases.iter().any(|a| a.eq_ignore_ascii_case(name))
            };
            // One name may be a scalar function and an aggregate.
            let found: Vec<&FunctionInfo> = all.iter().filter(is).collect();
            if found.is_empty() {
                return not_found("function", name, all.iter().map(|f| &*f.name));
            }
            match output {
                ListFormat::Table => found.iter().map(|f| function_text(f)).collect::<Vec<_>>().join("\n"),
                ListFormat::Json => document(found.iter().map(|f| function_json(f)).collect()),
            }
        }
    };
    print_text(&text)
}

fn function_text(function: &FunctionInfo) -> String {
    let mut text = format!("{} ({})\n", function.syntax, function.kind.name());
    if !function.description.is_empty() {
        text.push_str(&format!("\n{}\n", function.description.trim_end()));
    }
    if !function.arguments.is_empty() {
        text.push('\n');
    }
    for (name, meaning) in &function.arguments {
        text.push_str(&format!("  {name}: {}\n", meaning.trim()));
    }
    if let Some(example) = &function.example {
        // Most come as Markdown.
        let lines = example.lines().filter(|l| !l.starts_with("```")).map(|l| format!("  {l}").trim_end().to_string());
        text.push_str(&format!("\nexample:\n{}\n", lines.collect::<Vec<_>>().join("\n").trim_end()));
    }
    if !function.aliases.is_empty() {
        text.push_str(&format!("\nalso: {}\n", function.aliases.join(", ")));
    }
    text
}

fn function_json(function: &FunctionInfo) -> Value {
    let arguments: Vec<Value> = function.arguments.iter().map(|(n, m)| json!({ "name": n, "meaning": m })).collect();
    json!({ "name": function.name, "kind": function.kind.name(), "syntax": function.syntax,
            "description": function.description, "arguments": arguments, "example": function.example,
            "aliases": function.aliases })
}

fn first_sentence(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let end = line.find(". ").map_or(line.len(), |i| i + 1);
    line[..end].to_string()
}

fn not_found<'a>(what: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let error = Error::invalid(507, format!("there is no {what} '{name}'")).with_hint(did_you_mean(
        name,
        known,
        &format!("rheos {what}s lists all"),
    ));
    Err(Failure::Plain { error, code: code::NOT_FOUND }.into())
}

/// A JSON document, for people too.
pub(crate) fn document(value: Value) -> String {
    format!("{value:#}\n")
}

/// Aligned columns without lines. The last one wraps at the terminal's width; in a pipe every row is one line.
pub(crate) fn columns(rows: impl Iterator<Item = Vec<String>>, header: &[&str]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header.to_vec());
    let rows: Vec<Vec<String>> = rows.collect();
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0).clamp(4, 44);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    let fixed: Vec<ColumnConstraint> = (0..header.len() - 1)
        .map(|c| ColumnConstraint::LowerBoundary(Width::Fixed(width(c).max(header[c].len()) as u16 + 2)))
        .collect();
    table.add_rows(rows);
    table.set_constraints(fixed);
    let lines: Vec<String> = table.lines().map(|l| l.trim().to_string()).collect();
    format!("{}\n", lines.join("\n"))
}

//! `rheos config show`: the settings of `rheos run` as they are now, and where each value comes from.

use anyhow::Result;
use clap::{Arg, ArgMatches, CommandFactory, parser::ValueSource};
use rheos::RunConfig;
use serde_json::{Map, Value, json};

use super::{KEYS, Value as FileValue, files_values};
use crate::args::{Cli, ConfigShowArgs, ListFormat};
use crate::list::columns;
use crate::program::print_text;

/// A setting and where its value comes from.
#[derive(Debug, PartialEq)]
struct Setting {
    name: String,
    value: String,
    origin: String,
}

/// Prints the settings. `matches`: the command line, whose shared flags count as any other flag's value.
pub(crate) fn show(args: &ConfigShowArgs, matches: &ArgMatches) -> Result<()> {
    let settings = settings(matches);
    let text = match args.output {
        ListFormat::Table => table(&settings, args.origin),
        ListFormat::Json => {
            let object = |s: &Setting| {
                let mut object = Map::from_iter([("name".into(), json!(s.name)), ("value".into(), json!(s.value))]);
                if args.origin {
                    object.insert("origin".into(), json!(s.origin));
                }
                Value::Object(object)
            };
            format!("{:#}\n", Value::Array(settings.iter().map(object).collect()))
        }
    };
    print_text(&text)
}

fn table(settings: &[Setting], origin: bool) -> String {
    let shown = if origin { 3 } else { 2 };
    let row = |s: &Setting| {
        let mut row = vec![s.name.clone(), s.value.clone(), s.origin.clone()];
        row.truncate(shown);
        row
    };
    columns(settings.iter().map(row), &["SETTING", "VALUE", "ORIGIN"][..shown])
}

fn settings(matches: &ArgMatches) -> Vec<Setting> {
    let root = Cli::command();
    let run = root.find_subcommand("run");
    let args = || root.get_arguments().chain(run.into_iter().flat_map(|run| run.get_arguments()));
    let of = |key: &&str| args().find(|arg| arg.get_long() == Some(*key)).map(|arg| flag(arg, key, matches));
    let mut settings: Vec<Setting> = KEYS.iter().filter_map(of).collect();
    for (table, variable) in [("var", "RHEOS_VAR"), ("set", "RHEOS_SET")] {
        settings.extend(named(table, variable));
    }
    settings
}

/// The value of a flag: option, environment, file, default.
fn flag(arg: &Arg, key: &str, matches: &ArgMatches) -> Setting {
    let setting = |value: String, origin: String| Setting { name: key.to_string(), value, origin };
    let id = arg.get_id().as_str();
    // Only the flags that all commands share can stand on this command line; all of them are switches.
    if arg.is_global_set() && matches.value_source(id) == Some(ValueSource::CommandLine) {
        return setting("true".into(), format!("option --{key}"));
    }
    let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(value) = environment(&variable) {
        return setting(value, format!("environment {variable}"));
    }
    match files_values().and_then(|values| values.flags.get(key)) {
        Some(FileValue { text, file }) => setting(text.clone(), file.clone()),
        None => setting(default(key), "default".into()),
    }
}

/// A variable that is set; an empty one counts as not set.
fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn default(key: &str) -> String {
    match key {
        "parallelism" => RunConfig::default().parallelism.to_string(),
        "batch-rows" => RunConfig::default().batch_rows.to_string(),
        "output" => "table on a terminal, jsonl in a pipe".into(),
        "state-dir" | "copy-dir" | "encryption-key-file" => "none".into(),
        _ => "false".into(),
    }
}

/// The entries of `[var]` or `[set]`; that of the environment is stronger than a file's.
fn named(table: &str, variable: &str) -> Vec<Setting> {
    let from_environment = environment(variable)
        .and_then(|text| text.split_once('=').map(|(name, value)| (name.trim().to_string(), value.to_string())));
    let entries = files_values().map(|values| if table == "var" { &values.variables } else { &values.settings });
    let mut settings: Vec<Setting> = entries
        .into_iter()
        .flatten()
        .filter(|(name, _)| from_environment.as_ref().is_none_or(|(own, _)| own != *name))
        .map(|(name, value)| Setting {
            name: format!("{table}.{name}"),
            value: value.text.clone(),
            origin: value.file.clone(),
        })
        .collect();
    settings.extend(from_environment.map(|(name, value)| Setting {
        name: format!("{table}.{name}"),
        value,
        origin: format!("environment {variable}"),
    }));
    settings
}

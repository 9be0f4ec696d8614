//! Configuration files: the values of flags that are not given.
//!
//! ```text
//!   flag > RHEOS_<FLAG> > --config FILE > ./rheos.toml > $XDG_CONFIG_HOME/rheos/config.toml > default
//! ```
//!
//! A key is a flag's name (`parallelism = 4`); the tables `[var]` and `[set]` hold variables and settings. An unknown
//! key is an error with the nearest name. The values become the defaults of clap's own definition of a flag, so that
//! they are checked exactly as on the command line. `rheos config show` says where each comes from.

pub(crate) mod show;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::Result;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use rheos::error::did_you_mean;
use rheos::{Error, ErrorKind};

use crate::report::{Failure, code};

/// The flags that a file may set: those of `run` and the ones that all commands share, but for what is said of one start only
/// (`from`, `accept-duplicates`, `allow-dropped-state`).
const KEYS: &[&str] = &[
    "parallelism",
    "output",
    "batch-rows",
    "state-dir",
    "copy-dir",
    "encryption-key-file",
    "drain",
    "quiet",
    "verbose",
];

/// A value of a file, and the file.
#[derive(Debug, Clone)]
struct Value {
    text: String,
    file: String,
}

/// What the files say together.
#[derive(Debug, Default)]
struct Values {
    /// By the flag's name.
    flags: BTreeMap<String, Value>,
    /// `[var]` and `[set]`, which are not defaults of a flag: the command line adds to them.
    variables: BTreeMap<String, Value>,
    settings: BTreeMap<String, Value>,
}

static VALUES: OnceLock<Values> = OnceLock::new();

fn files_values() -> Option<&'static Values> {
    VALUES.get()
}

/// The variables of the files, weaker than `--var`.
pub(crate) fn variables() -> Vec<(String, String)> {
    files_values().map(|values| texts(&values.variables)).unwrap_or_default()
}

/// The settings of the files, weaker than `--set`.
pub(crate) fn settings() -> Vec<(String, String)> {
    files_values().map(|values| texts(&values.settings)).unwrap_or_default()
}

fn texts(values: &BTreeMap<String, Value>) -> Vec<(String, String)> {
    values.iter().map(|(name, value)| (name.clone(), value.text.clone())).collect()
}

/// The command line's definition with the files' values as defaults.
pub(crate) fn with_file_defaults(command: Command, args: &[OsString]) -> Result<Command> {
    let mut values = Values::default();
    // The weakest first: later files overwrite.
    for file in files(args) {
        read(&file, &mut values)?;
    }
    check(&command, &values.flags)?;
    // The one call of this function sets it.
    let values = VALUES.get_or_init(|| values);
    let command = command.mut_args(|arg| with_default(arg, &values.flags));
    Ok(command.mut_subcommands(|sub| with_defaults(sub, &values.flags)))
}

/// Whether clap takes the values: told here, where their files are known.
fn check(root: &Command, flags: &BTreeMap<String, Value>) -> Result<()> {
    let run = root.find_subcommand("run");
    for arg in root.get_arguments().chain(run.into_iter().flat_map(Command::get_arguments)) {
        let Some((key, value)) = arg.get_long().and_then(|long| flags.get_key_value(long)) else { continue };
        let alone = Command::new("check").no_binary_name(true).arg(with_default(arg.clone().env(None::<&str>), flags));
        let Err(error) = alone.try_get_matches_from(std::iter::empty::<OsString>()) else { continue };
        let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        let what = Error::invalid(509, format!("'{key}' in '{}' cannot be '{}'{reason}", value.file, value.text));
        return refuse(match error.get(ContextKind::ValidValue) {
            Some(ContextValue::Strings(choices)) if !choices.is_empty() => {
                what.with_hint(format!("it is one of {}", choices.join(", ")))
            }
            _ => what.with_hint(format!("`rheos run --help` says what --{key} takes")),
        });
    }
    Ok(())
}

/// A usage error, which names the variable of the environment where that holds the value.
pub(crate) fn with_variable(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let (Some(ContextValue::String(flag)), Some(ContextValue::String(value))) =
        (error.get(ContextKind::InvalidArg), error.get(ContextKind::InvalidValue))
    else {
        return error;
    };
    let long = flag.trim_start_matches('-').split([' ', '=']).next().unwrap_or_default();
    let variable = format!("RHEOS_{}", long.to_uppercase().replace('-', "_"));
    let given = args.iter().any(|arg| arg.to_string_lossy().ends_with(value.as_str()));
    if !given && std::env::var(&variable).is_ok_and(|held| held == *value) {
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    error
}

/// The keys that hold for all commands; `run` takes all, but `output`, for one, means something else for the others.
const EVERYWHERE: &[&str] = &["parallelism", "encryption-key-file"];

/// A command below the root.
fn with_defaults(command: Command, flags: &BTreeMap<String, Value>) -> Command {
    let run = command.get_name() == "run";
    let takes = |arg: &Arg| run || arg.get_long().is_some_and(|long| EVERYWHERE.contains(&long));
    let command = command.mut_args(|arg| if takes(&arg) { with_default(arg, flags) } else { arg });
    command.mut_subcommands(|sub| with_defaults(sub, flags))
}

fn with_default(arg: Arg, flags: &BTreeMap<String, Value>) -> Arg {
    match arg.get_long().and_then(|long| flags.get(long)) {
        // Clap keeps defaults for the life of the process.
        Some(value) => {
            let value: &'static str = Box::leak(value.text.clone().into_boxed_str());
            arg.default_value(value)
        }
        None => arg,
    }
}

/// A file that is read, and whether it was asked for by name.
struct File {
    path: PathBuf,
    named: bool,
}

/// The files, weakest first.
fn files(args: &[OsString]) -> Vec<File> {
    let xdg = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let mut files: Vec<File> =
        xdg.into_iter().map(|folder| File { path: folder.join("rheos/config.toml"), named: false }).collect();
    files.push(File { path: PathBuf::from("rheos.toml"), named: false });
    let named =
        named_file(args).or_else(|| std::env::var_os("RHEOS_CONFIG").filter(|v| !v.is_empty()).map(PathBuf::from));
    files.extend(named.map(|path| File { path, named: true }));
    files
}

/// `--config FILE` or `--config=FILE`, before clap reads the arguments: what it finds changes clap's defaults.
fn named_file(args: &[OsString]) -> Option<PathBuf> {
    for (i, arg) in args.iter().enumerate() {
        let Some(text) = arg.to_str() else { continue };
        match text.strip_prefix("--config") {
            _ if text == "--" => return None,
            Some("") => return args.get(i + 1).map(PathBuf::from),
            Some(rest) if rest.starts_with('=') => return Some(PathBuf::from(&rest[1..])),
            _ => {}
        }
    }
    None
}

fn read(file: &File, values: &mut Values) -> Result<()> {
    let name = file.path.display().to_string();
    let text = match std::fs::read_to_string(&file.path) {
        Ok(text) => text,
        // A file that nobody asked for may be absent, and a home that cannot be read is no reason to stop.
        Err(_) if !file.named => return Ok(()),
        Err(error) => return refuse(Error::io("read the configuration", &name, &error)),
    };
    let parsed: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let text = error.to_string();
            return refuse(Error::invalid(510, format!("'{name}' is not TOML: {}", text.trim_end())));
        }
    };
    for (key, value) in parsed {
        match (key.as_str(), value) {
            ("var", toml::Value::Table(table)) => values.variables.extend(words(&name, "var", table)?),
            ("set", toml::Value::Table(table)) => {
                let settings = words(&name, "set", table)?;
                settings.iter().try_for_each(|(setting, value)| check_setting(&name, setting, &value.text))?;
                values.settings.extend(settings);
            }
            (known, value) if KEYS.contains(&known) => {
                values.flags.insert(key.clone(), Value { text: word(&name, &key, value)?, file: name.clone() });
            }
            ("var" | "set", _) => {
                return refuse(
                    Error::invalid(509, format!("'{key}' in '{name}' is not a table"))
                        .with_hint(format!("write [{key}] on a line of its own, and below it lines NAME = \"value\"")),
                );
            }
            _ => {
                let known = KEYS.iter().copied().chain(["var", "set"]);
                let list = format!("the keys are: {}", known.clone().collect::<Vec<_>>().join(", "));
                return refuse(
                    Error::invalid(508, format!("'{name}' has an unknown key '{key}'"))
                        .with_hint(did_you_mean(&key, known, &list)),
                );
            }
        }
    }
    Ok(())
}

fn words(file: &str, key: &str, table: toml::Table) -> Result<BTreeMap<String, Value>> {
    let entry = |(name, value): (String, toml::Value)| {
        let text = word(file, &format!("{key}.{name}"), value)?;
        Ok((name, Value { text, file: file.to_string() }))
    };
    table.into_iter().map(entry).collect()
}

/// A line of `[set]`, told here, where its file is known.
fn check_setting(file: &str, name: &str, value: &str) -> Result<()> {
    let Err(error) = rheos::query::check_setting(name, value) else { return Ok(()) };
    let what = Error::invalid(509, format!("[set] in '{file}': {}", error.message()));
    refuse(match error.hint() {
        Some(hint) => what.with_hint(hint),
        None => what,
    })
}

fn word(file: &str, key: &str, value: toml::Value) -> Result<String> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(n) => Ok(n.to_string()),
        toml::Value::Float(n) => Ok(n.to_string()),
        toml::Value::Boolean(b) => Ok(b.to_string()),
        _ => refuse(Error::invalid(509, format!("'{key}' in '{file}' is neither text nor a number nor true or false"))),
    }
}

fn refuse<T>(error: Error) -> Result<T> {
    let code = if error.kind() == ErrorKind::Invalid { code::BAD_CONFIG } else { code::INPUT_MISSING };
    Err(Failure::Plain { error, code }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_flag_is_found_in_both_forms_and_not_behind_two_dashes() {
        let find = |args: &[&str]| named_file(&args.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(find(&["rheos", "run", "--config", "a.toml"]), Some("a.toml".into()));
        assert_eq!(find(&["rheos", "--config=b.toml"]), Some("b.toml".into()));
        assert_eq!(find(&["rheos", "run", "--", "--config"]), None);
        assert_eq!(find(&["rheos", "--configure"]), None);
    }

    #[test]
    fn every_key_is_a_flag() {
        use clap::CommandFactory;
        let root = crate::args::Cli::command();
        let run = root.find_subcommand("run").expect("there is a command run").clone();
        let longs: Vec<&str> = root.get_arguments().chain(run.get_arguments()).filter_map(Arg::get_long).collect();
        for key in KEYS {
            assert!(longs.contains(key), "{key}");
        }
    }
}

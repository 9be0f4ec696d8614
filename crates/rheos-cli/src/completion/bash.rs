//! The script for bash. Clap's offers flags where a file may stand, and cannot enter folders.
//!
//! `bash.sh` is the engine, the same for any program; filled in are two tables by command, as bash's `case` writes them.

use clap::{Arg, Command, ValueHint};

use super::PROGRAM;

const ENGINE: &str = include_str!("bash.sh");

/// The script. `command` is built, with its `bin_name`s.
pub(super) fn script(command: &Command) -> String {
    let (mut commands, mut places) = (String::new(), String::new());
    fill(command, PROGRAM, &mut commands, &mut places);
    ENGINE.replace("        @COMMANDS@\n", &commands).replace("        @PLACES@\n", &places)
}

/// Adds the lines of a command, which stands behind `path`, and of those below it.
fn fill(command: &Command, path: &str, commands: &mut String, places: &mut String) {
    let below: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    let shown = || command.get_arguments().filter(|arg| !arg.is_hide_set());
    let flags: Vec<String> = shown().flat_map(spellings).collect();
    commands.push_str(&format!("        '{path}') commands='{}' flags='{}' ;;\n", below.join(" "), flags.join(" ")));
    for arg in shown().filter(|arg| !arg.is_positional() && arg.get_action().takes_values()) {
        let pattern: Vec<String> = spellings(arg).iter().map(|flag| format!("'{path} {flag}'")).collect();
        places.push_str(&format!("        {}) offer='{}' ;;\n", pattern.join(" | "), offer(arg)));
    }
    for (i, arg) in command.get_positionals().enumerate() {
        places.push_str(&format!("        '{path} {}') offer='{}' ;;\n", i + 1, offer(arg)));
    }
    for sub in command.get_subcommands() {
        fill(sub, &format!("{path} {}", sub.get_name()), commands, places);
    }
}

/// `-o` and `--output`; nothing for an argument without a flag.
fn spellings(arg: &Arg) -> Vec<String> {
    let short = arg.get_short().map(|short| format!("-{short}"));
    short.into_iter().chain(arg.get_long().map(|long| format!("--{long}"))).collect()
}

/// The words that may stand for a value, or what kind of path.
fn offer(arg: &Arg) -> String {
    let values = arg.get_possible_values();
    let words: Vec<&str> = values.iter().filter(|v| !v.is_hide_set()).map(|v| v.get_name()).collect();
    match arg.get_value_hint() {
        _ if !words.is_empty() => words.join(" "),
        ValueHint::DirPath => "@folders".into(),
        ValueHint::AnyPath | ValueHint::FilePath => "@files".into(),
        _ => "@nothing".into(),
    }
}

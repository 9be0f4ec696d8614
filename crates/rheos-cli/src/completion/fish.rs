//! What clap's script for fish lacks: it knows flags and commands, but no arguments, and lets fish offer files for them.

use clap::{Command, ValueHint};

use super::PROGRAM;

/// Lines behind clap's script, which use its functions. `command` is built.
pub(super) fn arguments(command: &Command) -> String {
    let mut lines = String::new();
    for sub in command.get_subcommands() {
        let at = format!("__fish_{PROGRAM}_using_subcommand {}", sub.get_name());
        argument(sub, &at, &mut lines);
        for below in sub.get_subcommands() {
            argument(below, &format!("{at}; and __fish_seen_subcommand_from {}", below.get_name()), &mut lines);
        }
    }
    lines
}

/// The argument of a command that stands where the condition `at` holds; of those above others clap takes care.
fn argument(command: &Command, at: &str, lines: &mut String) {
    let arg = command.get_positionals().next();
    let is_path = arg.is_some_and(|arg| matches!(arg.get_value_hint(), ValueHint::AnyPath | ValueHint::FilePath));
    if command.has_subcommands() || is_path {
        return;
    }
    let here = format!("complete -c {PROGRAM} -n \"{at}\" -f");
    let values = arg.map(|arg| arg.get_possible_values()).unwrap_or_default();
    let (told, plain): (Vec<_>, Vec<_>) = values.iter().partition(|value| value.get_help().is_some());
    let plain: Vec<&str> = plain.iter().map(|value| value.get_name()).collect();
    lines.push_str(&format!("{here} -a \"{}\"\n", plain.join(" ")));
    for value in told {
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        let help = help.replace('\\', "\\\\").replace('\'', "\\'");
        lines.push_str(&format!("{here} -a {} -d '{help}'\n", value.get_name()));
    }
}

//! `rheos completion bash|zsh|fish`: the script that lets a shell complete commands, flags and their values.
//!
//! ```text
//!   Cli ─► without hidden ─► offered ─┬─► bash (our own)
//!          commands          (names,  ├─► clap's zsh
//!                             help)   └─► clap's fish + lines for arguments
//! ```
//!
//! Invariant: what a script offers, the command line takes. The script is of one version, as the list of flags is.

mod bash;
mod fish;

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_complete::{Shell, generate};

use crate::args::{Cli, CompletionArgs, CompletionShell};
use crate::program::print_text;

/// The program's name in the scripts.
const PROGRAM: &str = "rheos";

/// Prints the script.
pub(crate) fn completion(args: &CompletionArgs) -> Result<()> {
    print_text(&script(args.shell))
}

fn script(shell: CompletionShell) -> String {
    let mut command = offered();
    command.set_bin_name(PROGRAM);
    command.build();
    let by_clap = |shell: Shell| {
        let mut bytes = Vec::new();
        generate(shell, &mut command.clone(), PROGRAM, &mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    };
    match shell {
        CompletionShell::Bash => bash::script(&command),
        CompletionShell::Zsh => by_clap(Shell::Zsh),
        CompletionShell::Fish => by_clap(Shell::Fish) + &fish::arguments(&command),
    }
}

/// The definition as the scripts are to offer it.
fn offered() -> Command {
    let command = without_hidden(&Cli::command()).version(env!("CARGO_PKG_VERSION")).propagate_version(true);
    let connectors = rheos::connectors();
    let connectors = connectors.iter().map(|c| PossibleValue::new(kept(c.name())).help(kept(c.summary())));
    let mut functions: Vec<String> = rheos::query::functions().into_iter().map(|f| f.name.to_string()).collect();
    // One name may be a scalar function and an aggregate.
    functions.sort();
    functions.dedup();
    let functions = functions.iter().map(|name| PossibleValue::new(kept(name)));
    with_help(with_names(with_names(command, "connectors", connectors), "functions", functions))
}

/// Clap keeps names for the life of the process.
fn kept(text: &str) -> &'static str {
    Box::leak(text.to_string().into_boxed_str())
}

/// The definition without the commands that are not shown in help either: the scripts would offer them.
fn without_hidden(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(without_hidden);
    let mut copy = Command::new(kept(command.get_name()));
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    copy.args(command.get_arguments().map(hinted)).subcommands(shown)
}

/// A value that is neither a path nor one of a list is free text: the shells would offer files for it.
fn hinted(arg: &Arg) -> Arg {
    let free = arg.get_action().takes_values() && arg.get_value_hint() == ValueHint::Unknown;
    if free { arg.clone().value_hint(ValueHint::Other) } else { arg.clone() }
}

/// The command's argument is one of these names. The command line takes any, to name the nearest one.
fn with_names(root: Command, command: &str, names: impl Iterator<Item = PossibleValue>) -> Command {
    let parser = PossibleValuesParser::new(names);
    root.mut_subcommand(command, |sub| sub.mut_arg("name", |arg| arg.value_parser(parser)))
}

/// Commands under `help` instead of clap's own, whose argument makes fish offer files.
fn with_help(command: Command) -> Command {
    if !command.has_subcommands() {
        return command;
    }
    let help = topic(&command).name("help").about("Print this message or the help of the given subcommand(s)");
    command.disable_help_subcommand(true).mut_subcommands(with_help).subcommand(help)
}

/// A command as `help` takes it: its name and those below it.
fn topic(command: &Command) -> Command {
    let copy = Command::new(kept(command.get_name())).disable_help_flag(true).disable_version_flag(true);
    copy.disable_help_subcommand(true)
        .about(command.get_about().cloned().unwrap_or_default())
        .subcommands(command.get_subcommands().map(topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_offer_what_help_shows_and_no_more() {
        for shell in [CompletionShell::Bash, CompletionShell::Zsh, CompletionShell::Fish] {
            let script = script(shell);
            for word in ["explain", "completion", "nexmark", "parallelism", "mermaid", "filesystem", "date_bin"] {
                assert!(script.contains(word), "{shell:?} lacks {word}");
            }
            assert!(!script.contains("measure"), "{shell:?}");
        }
    }

    /// The scripts do not quote them.
    #[test]
    fn names_are_plain_words() {
        fn check(command: &Command) {
            for value in command.get_arguments().flat_map(Arg::get_possible_values) {
                let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
                assert!(value.get_name().chars().all(plain), "{}", value.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&offered());
    }
}

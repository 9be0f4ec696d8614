//! `rheos completion bash|zsh|fish`: the script that lets a shell complete commands, flags and their values.

use anyhow::Result;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};

use crate::args::{Cli, CompletionArgs, CompletionShell};
use crate::program::print_text;

/// Prints the script.
pub(crate) fn completion(args: &CompletionArgs) -> Result<()> {
    print_text(&script(args.shell))
}

fn script(shell: CompletionShell) -> String {
    let shell = match shell {
        CompletionShell::Bash => Shell::Bash,
        CompletionShell::Zsh => Shell::Zsh,
        CompletionShell::Fish => Shell::Fish,
    };
    let mut command = without_hidden(&Cli::command()).version(env!("CARGO_PKG_VERSION")).propagate_version(true);
    let mut bytes = Vec::new();
    generate(shell, &mut command, "rheos", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The definition without the commands that are not shown in help either: the scripts would offer them.
fn without_hidden(command: &Command) -> Command {
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(without_hidden);
    // Clap keeps names for the life of the process.
    let name: &'static str = Box::leak(command.get_name().to_string().into_boxed_str());
    let mut copy = Command::new(name);
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    copy.args(command.get_arguments()).subcommands(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_offer_what_help_shows_and_no_more() {
        for shell in [CompletionShell::Bash, CompletionShell::Zsh, CompletionShell::Fish] {
            let script = script(shell);
            for word in ["explain", "completion", "nexmark", "parallelism", "mermaid"] {
                assert!(script.contains(word), "{shell:?} lacks {word}");
            }
            assert!(!script.contains("measure"), "{shell:?}");
        }
    }
}

//! `rheos completion`: the scripts, asked by the shells themselves where they are installed.

use std::process::{Command, Output};

use crate::process::Sandbox;

fn script(shell: &str) -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let text = sandbox.run(&["completion", shell]).expect_code(0).stdout.clone();
    std::fs::write(sandbox.path("rheos.completion"), &text).unwrap();
    (sandbox, text)
}

/// Runs a shell in the folder of the script; `None`, and a word about it, where it is not installed.
fn ask(sandbox: &Sandbox, shell: &str, args: &[&str]) -> Option<Output> {
    let asked = Command::new(shell).args(args).current_dir(sandbox.path("")).output();
    if asked.is_err() {
        crate::process::say(&format!("skipped: there is no `{shell}`"));
    }
    asked.ok()
}

#[test]
fn bash_takes_the_script_and_completes() {
    let (sandbox, _) = script("bash");
    let Some(checked) = ask(&sandbox, "bash", &["-n", "rheos.completion"]) else { return };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let registered = ask(&sandbox, "bash", &["-c", "source ./rheos.completion; complete -p rheos"]).unwrap();
    assert!(String::from_utf8_lossy(&registered.stdout).trim_end().ends_with(" rheos"), "{registered:?}");
    // What Tab does: the words so far, the number of the one to complete, then the function.
    let cases = [
        ("rheos ex", "explain"),
        ("rheos explain --format m", "mermaid"),
        ("rheos bench n", "nexmark"),
        ("rheos run --para", "--parallelism"),
    ];
    for (line, want) in cases {
        let words: Vec<&str> = line.split(' ').collect();
        let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
        let query = format!(
            "source ./rheos.completion; COMP_WORDS=({line}); COMP_CWORD={}; _rheos rheos '{last}' '{before}'; echo \"${{COMPREPLY[@]}}\"",
            words.len() - 1
        );
        let answer = ask(&sandbox, "bash", &["-c", &query]).unwrap();
        assert_eq!(String::from_utf8_lossy(&answer.stdout).trim(), want, "{line}: {answer:?}");
    }
}

#[test]
fn zsh_and_fish_take_theirs() {
    for shell in ["zsh", "fish"] {
        let (sandbox, text) = script(shell);
        assert!(text.contains("nexmark") && !text.contains("measure"), "{text}");
        if let Some(checked) = ask(&sandbox, shell, &["-n", "rheos.completion"]) {
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        }
    }
}

#[test]
fn another_shell_is_a_mistake_of_usage() {
    Sandbox::new().run(&["completion", "tcsh"]).expect_code(2).expect_talk("possible values: bash, zsh, fish");
}

//! Configuration files: which one wins, and what a mistake in one looks like.

use crate::process::{Outcome, Sandbox, finish, start};

const JSONL: &str = "{\"n\":1}\n";
const CSV: &str = "n\n1\n";
const TABLE: &str = " n\n---\n 1\n";

fn run(sandbox: &Sandbox, args: &[&str], variables: &[(&str, &str)]) -> Outcome {
    let mut command = sandbox.command(&[&["run", "-c", "SELECT 1 AS n"], args].concat());
    command.envs(variables.iter().copied());
    command.env("XDG_CONFIG_HOME", sandbox.path("xdg"));
    finish(start(command), b"")
}

#[test]
fn the_nearer_file_wins_and_flags_win_over_all() {
    let xdg: (&str, &[u8]) = ("xdg/rheos/config.toml", b"output = \"csv\"\nquiet = true\n");
    let sandbox = Sandbox::with(&[xdg]);
    assert_eq!(run(&sandbox, &[], &[]).expect_code(0).expect_data(CSV).stderr, "");
    let sandbox = Sandbox::with(&[xdg, ("rheos.toml", b"output = \"table\"")]);
    assert_eq!(run(&sandbox, &[], &[]).expect_code(0).expect_data(TABLE).stderr, "", "quiet still holds");
    let sandbox = Sandbox::with(&[xdg, ("rheos.toml", b"output = \"table\""), ("my.toml", b"output = \"jsonl\"")]);
    run(&sandbox, &["--config", "my.toml"], &[]).expect_code(0).expect_data(JSONL);
    run(&sandbox, &[], &[("RHEOS_CONFIG", "my.toml")]).expect_code(0).expect_data(JSONL);
    run(&sandbox, &["--config", "my.toml"], &[("RHEOS_OUTPUT", "csv")]).expect_code(0).expect_data(CSV);
    run(&sandbox, &["-o", "table"], &[("RHEOS_OUTPUT", "csv")]).expect_code(0).expect_data(TABLE);
}

#[test]
fn variables_of_a_file_and_of_the_command_line_are_put_together() {
    let sandbox = Sandbox::with(&[("rheos.toml", b"[var]\nA = \"1\"\nB = 2\n")]);
    let outcome = sandbox.run(&["run", "-c", "SELECT ${A} AS a, ${B} AS b, ${C} AS c", "--var", "B=5", "--var", "C=6"]);
    outcome.expect_code(0).expect_data("{\"a\":1,\"b\":5,\"c\":6}\n");
}

#[test]
fn mistakes_in_a_file_are_named() {
    let cases: &[(&[u8], &str)] = &[
        (b"paralelism = 2", "did you mean 'parallelism'?"),
        (b"parallelism = [1]", "'parallelism' in 'rheos.toml'"),
        (b"var = 3", "[var]"),
        (b"output = ", "is not TOML"),
    ];
    for (text, talk) in cases {
        let sandbox = Sandbox::with(&[("rheos.toml", text)]);
        run(&sandbox, &[], &[]).expect_code(78).expect_talk(talk);
    }
    let sandbox = Sandbox::with(&[("rheos.toml", b"output = \"xml\"")]);
    run(&sandbox, &[], &[]).expect_code(2).expect_talk("xml");
    run(&Sandbox::new(), &["--config", "absent.toml"], &[]).expect_code(66).expect_talk("absent.toml");
}

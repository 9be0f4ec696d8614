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
        (b"[set]\nparalelism = 2", "error[R0509]: [set] in 'rheos.toml': there is no setting 'paralelism'"),
        (b"[set]\ntimezone = \"Mars\"", "error[R0509]: [set] in 'rheos.toml': setting 'timezone' is 'Mars'"),
    ];
    for (text, talk) in cases {
        let sandbox = Sandbox::with(&[("rheos.toml", text)]);
        run(&sandbox, &[], &[]).expect_code(78).expect_talk(talk);
    }
    let sandbox = Sandbox::with(&[("rheos.toml", b"output = \"xml\"")]);
    run(&sandbox, &[], &[]).expect_code(78).expect_talk("error[R0509]: 'output' in 'rheos.toml' cannot be 'xml'");
    run(&sandbox, &[], &[]).expect_talk("it is one of table, jsonl, csv");
    let sandbox = Sandbox::with(&[("rheos.toml", b"parallelism = \"x\"")]);
    run(&sandbox, &[], &[]).expect_code(78).expect_talk("'parallelism' in 'rheos.toml' cannot be 'x'");
    run(&Sandbox::new(), &["--config", "absent.toml"], &[]).expect_code(66).expect_talk("absent.toml");
}

#[test]
fn a_wrong_setting_of_the_environment_is_shown_there() {
    let shown = " --> RHEOS_SET:1:1\n  |\n1 | nope=1\n  | ^^^^\n";
    run(&Sandbox::new(), &[], &[("RHEOS_SET", "nope=1")]).expect_code(65).expect_talk(shown);
    let given = run(&Sandbox::new(), &["--set", "timezone=UTC"], &[("RHEOS_SET", "nope=1")]);
    given.expect_code(0);
}

/// `RHEOS_OUTPUT` is set for the rows of `run`; the lists have formats of their own.
#[test]
fn lists_take_the_output_of_the_environment_only_where_it_is_theirs() {
    let sandbox = Sandbox::new();
    let list = |args: &[&str], output: &str| {
        let mut command = sandbox.command(args);
        command.env("RHEOS_OUTPUT", output);
        finish(start(command), b"")
    };
    for name in ["connectors", "functions"] {
        for output in ["table", "jsonl", "csv"] {
            let outcome = list(&[name], output);
            assert!(outcome.expect_code(0).stdout.starts_with("NAME"), "{name}, {output}: {}", outcome.stdout);
        }
        let outcome = list(&[name], "json");
        assert!(outcome.expect_code(0).stdout.starts_with('['), "{name}: {}", outcome.stdout);
        assert!(list(&[name, "-o", "table"], "json").expect_code(0).stdout.starts_with("NAME"), "{name}");
        list(&[name, "-o", "csv"], "json").expect_code(2).expect_talk("csv");
    }
}

/// The rows of `config show --origin`: setting, value, origin.
fn shown(sandbox: &Sandbox, args: &[&str], variables: &[(&str, &str)]) -> Vec<(String, String, String)> {
    let mut command = sandbox.command(&[&["config", "show", "--origin", "-o", "json"], args].concat());
    command.envs(variables.iter().copied());
    command.env("XDG_CONFIG_HOME", sandbox.path("xdg"));
    let outcome = finish(start(command), b"");
    let rows: serde_json::Value = serde_json::from_str(&outcome.expect_code(0).stdout).unwrap();
    let word = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_string();
    rows.as_array().unwrap().iter().map(|r| (word(r, "name"), word(r, "value"), word(r, "origin"))).collect()
}

#[test]
fn the_origin_of_every_value_is_shown() {
    let sandbox = Sandbox::with(&[
        ("xdg/rheos/config.toml", b"parallelism = 3\noutput = \"csv\"\n"),
        ("rheos.toml", b"output = \"table\"\ndrain = true\n[var]\nA = 1\nB = 2\n[set]\n\"timezone\" = \"UTC\"\n"),
    ]);
    let variables = [("RHEOS_DRAIN", "false"), ("RHEOS_VAR", "B=5")];
    let rows = shown(&sandbox, &["--quiet"], &variables);
    let of = |name: &str| {
        let row = rows.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
        (row.1.as_str(), row.2.as_str())
    };
    assert_eq!(of("parallelism"), ("3", sandbox.path("xdg/rheos/config.toml").to_str().unwrap()));
    assert_eq!(of("output"), ("table", "rheos.toml"));
    assert_eq!(of("drain"), ("false", "environment RHEOS_DRAIN"));
    assert_eq!(of("batch-rows"), ("8192", "default"));
    assert_eq!(of("quiet"), ("true", "option --quiet"));
    assert_eq!(of("verbose"), ("false", "default"));
    assert_eq!(of("var.A"), ("1", "rheos.toml"));
    assert_eq!(of("var.B"), ("5", "environment RHEOS_VAR"));
    assert_eq!(of("set.timezone"), ("UTC", "rheos.toml"));
    assert_eq!(of("state-dir"), ("none", "default"));
    assert_eq!(rows.len(), 12, "{rows:?}");
}

#[test]
fn settings_are_shown_as_a_table_without_their_origin_unless_asked() {
    let sandbox = Sandbox::new();
    let plain = sandbox.run(&["config", "show"]);
    let header = |outcome: &Outcome| outcome.expect_code(0).stdout.lines().next().unwrap_or_default().to_string();
    assert_eq!(header(&plain).split_whitespace().collect::<Vec<_>>(), ["SETTING", "VALUE"]);
    let origin = sandbox.run(&["config", "show", "--origin"]);
    assert_eq!(header(&origin).split_whitespace().collect::<Vec<_>>(), ["SETTING", "VALUE", "ORIGIN"]);
}

#[test]
fn a_switch_of_the_environment_is_true_or_false() {
    let show = |word: &str| {
        let rows = shown(&Sandbox::new(), &[], &[("RHEOS_DRAIN", word)]);
        rows.into_iter().find(|row| row.0 == "drain").map(|row| row.1)
    };
    assert_eq!(show("true").as_deref(), Some("true"));
    for word in ["true", "1", "Yes", "on", "false", "0", "no", "OFF", ""] {
        run(&Sandbox::new(), &[], &[("RHEOS_DRAIN", word)]).expect_code(0).expect_data(JSONL);
    }
    for variable in ["RHEOS_DRAIN", "RHEOS_ACCEPT_DUPLICATES", "RHEOS_ALLOW_DROPPED_STATE"] {
        let refused = run(&Sandbox::new(), &[], &[(variable, "maybe")]);
        refused.expect_code(2).expect_data("").expect_talk(&format!("invalid value 'maybe' for '{variable}'"));
    }
    let sandbox = Sandbox::with(&[("rheos.toml", b"drain = \"maybe\"")]);
    run(&sandbox, &[], &[]).expect_code(78).expect_talk("'drain' in 'rheos.toml' cannot be 'maybe'");
}

#[test]
fn a_file_may_say_where_state_lies_and_not_how_one_start_goes_on() {
    let sandbox = Sandbox::with(&[("rheos.toml", b"state-dir = \"state\"\ncopy-dir = \"copy\"\n")]);
    run(&sandbox, &[], &[]).expect_code(0).expect_data(JSONL).expect_talk("state in state\n");
    assert!(sandbox.path("copy/journal").is_dir());
    run(&sandbox, &["--from", "third"], &[]).expect_code(4).expect_talk("error[R0608]: there is no savepoint 'third'");
    run(&sandbox, &["--state-dir", "other", "--copy-dir", "second"], &[])
        .expect_code(0)
        .expect_talk("state in other\n");
    for key in ["from = 3", "accept-duplicates = true", "allow-dropped-state = true"] {
        let sandbox = Sandbox::with(&[("rheos.toml", key.as_bytes())]);
        run(&sandbox, &[], &[]).expect_code(78).expect_talk("error[R0508]");
    }
}

//! `rheos completion`: the scripts, put where the documentation says, in the shells themselves where they are installed.
//!
//! Each shell is given lines as a person types them, with Tab behind them, and tells what it made of each: bash and zsh by
//! a key that writes the line to a file, so that nothing has to be read off a screen, fish by its `complete -C`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use crate::process::Sandbox;

/// What is typed, and the words that may stand in place of its last one.
type Case = (&'static str, &'static [&'static str]);

const FILES: &[&str] = &["a.sql", "data.csv", "sp\\ ace.sql", "sub"];
const CONNECTORS: &[&str] = &["blackhole", "datagen", "filesystem", "nexmark", "print", "stdin"];
const TOPICS: &[&str] = &[
    "bench",
    "checkpoint",
    "completion",
    "config",
    "connectors",
    "explain",
    "functions",
    "run",
    "savepoint",
    "state",
    "validate",
];

const CASES: &[Case] = &[
    // Commands and what is below them, with flags and their values in between.
    ("rheos ru", &["run"]),
    ("rheos -q ex", &["explain"]),
    ("rheos --config conf ex", &["explain"]),
    ("rheos bench n", &["nexmark"]),
    ("rheos config s", &["show"]),
    ("rheos help ", TOPICS),
    ("rheos help r", &["run"]),
    ("rheos help bench ", &["latency", "nexmark", "startup"]),
    ("rheos bench help s", &["startup"]),
    // Files.
    ("rheos run ", FILES),
    ("rheos validate ", FILES),
    ("rheos explain ", FILES),
    ("rheos run a", &["a.sql"]),
    ("rheos run sp", &["sp\\ ace.sql"]),
    ("rheos run su", &["sub"]),
    ("rheos run sub/", &["sub/c.sql"]),
    ("rheos run -p 2 --var X=1 a", &["a.sql"]),
    ("rheos run -c 'SELECT 1' --out", &["--output"]),
    ("rheos --config su", &["sub"]),
    ("rheos --config sp", &["sp\\ ace.sql"]),
    ("rheos run --config d", &["data.csv"]),
    ("rheos bench nexmark --data ", &["sub"]),
    ("rheos run --state-dir su", &["sub"]),
    ("rheos run --copy-dir su", &["sub"]),
    ("rheos run --encryption-key-file d", &["data.csv"]),
    ("rheos checkpoint list --encr", &["--encryption-key-file"]),
    // Flags.
    ("rheos run --para", &["--parallelism"]),
    ("rheos run a.sql --d", &["--drain"]),
    ("rheos bench nexmark --so", &["--source"]),
    // Values of flags.
    ("rheos run -o ", &["changelog", "csv", "jsonl", "table"]),
    ("rheos connectors -o ", &["json", "table"]),
    ("rheos explain --format m", &["mermaid"]),
    ("rheos run --output=j", &["--output=jsonl"]),
    ("rheos bench nexmark --source=p", &["--source=parquet"]),
    ("rheos run -p ", &[]),
    ("rheos run -c ", &[]),
    ("rheos run --set ", &[]),
    ("rheos run --var ", &[]),
    ("rheos bench latency --rate ", &[]),
    // Names.
    ("rheos connectors ", CONNECTORS),
    ("rheos connectors f", &["filesystem"]),
    ("rheos functions lp", &["lpad"]),
    ("rheos functions date_b", &["date_bin"]),
    ("rheos completion ", &["bash", "fish", "zsh"]),
    ("rheos completion z", &["zsh"]),
    ("rheos run -- a", &["a.sql"]),
];

/// Commands without arguments: zsh begins a flag.
const ENDS: &[Case] = &[("rheos bench nexmark ", &[]), ("rheos config show ", &[])];

/// What bash does besides.
const BASH: &[Case] = &[
    ("rheos run a.sql ", &[]),
    ("rheos connectors print ", &[]),
    ("rheos completion bash ", &[]),
    ("rheos bench -p 2 nex", &[]),
    ("rheos run a.sql > d", &["data.csv"]),
    ("rheos run a.sql 2> d", &["data.csv"]),
    ("rheos run --var INPUT=d", &["INPUT=data.csv"]),
    ("rheos run a.sql --var INPUT=d", &["INPUT=data.csv"]),
    ("rheos run - --d", &["--drain"]),
];

/// A home in which the scripts are installed, and a folder `here` with files.
fn home() -> Sandbox {
    let sandbox = Sandbox::with(&[
        ("here/a.sql", b"SELECT 1"),
        ("here/data.csv", b""),
        ("here/sp ace.sql", b""),
        ("here/sub/c.sql", b""),
    ]);
    std::fs::create_dir(sandbox.path("bin")).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rheos"), sandbox.path("bin/rheos")).unwrap();
    for file in [".bashrc", ".zshrc"] {
        std::fs::write(sandbox.path(file), "").unwrap();
    }
    let help = sandbox.run(&["completion", "--help"]);
    let lines: Vec<&str> = help.expect_code(0).stdout.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let (eval, install): (Vec<&str>, Vec<&str>) = lines.iter().partition(|line| line.starts_with("eval "));
    let eval = eval.concat();
    let install: Vec<&str> = install.into_iter().filter(|line| line.contains("~/.")).collect();
    let done = ask(&sandbox, "sh", &["-e", "-c", &install.join("\n")]).unwrap();
    assert!(done.status.success(), "{install:?}: {done:?}");
    std::fs::write(sandbox.path(".bashrc"), format!("{eval}\n{BASH_KEYS}")).unwrap();
    std::fs::write(sandbox.path(".zshrc"), ZSH_KEYS).unwrap();
    std::fs::write(sandbox.path("drive.zsh"), ZSH_DRIVER).unwrap();
    sandbox
}

/// Runs a shell in `here`; `None`, and a word about it, where it is not installed.
fn ask(home: &Sandbox, shell: &str, args: &[&str]) -> Option<Output> {
    told(shell, shell_in(home, shell).args(args))
}

fn told(shell: &str, command: &mut Command) -> Option<Output> {
    let output = command.output().unwrap();
    // What `timeout` says of a program that it cannot find.
    if output.status.code() == Some(127) {
        crate::process::say(&format!("skipped: there is no `{shell}`, its completion is not tested"));
        return None;
    }
    assert_ne!(output.status.code(), Some(124), "{shell} waits for ever: {output:?}");
    Some(output)
}

fn shell_in(home: &Sandbox, shell: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["60", shell]);
    let path = std::env::var("PATH").unwrap_or_default();
    command.current_dir(home.path("here")).env("PATH", format!("{}:{path}", home.path("bin").display()));
    command.env("HOME", home.path("")).env("ZDOTDIR", home.path("")).env("TERM", "dumb").env("LC_ALL", "C.UTF-8");
    command.env("INPUTRC", "/dev/null").env("OUT", home.path("out"));
    for name in ["XDG_CONFIG_HOME", "XDG_DATA_HOME", "RHEOS_CONFIG", "BASH_ENV", "ENV"] {
        command.env_remove(name);
    }
    command
}

/// `\e*` inserts all that the line may go on with; `^X^W` writes the line to the file and empties it.
const BASH_KEYS: &str = r#"
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
bind 'set completion-query-items 0'
bind 'set page-completions off'
told() { printf '%s\n' "$READLINE_LINE" >> "$OUT"; READLINE_LINE=; READLINE_POINT=0; }
bind -x '"\C-x\C-w": told'
"#;

/// The same keys.
const ZSH_KEYS: &str = r#"
PROMPT=
fpath+=~/.zfunc
autoload -U compinit
compinit -u -d ~/.zcompdump
setopt nobeep
LISTMAX=10000
insert-all() { _main_complete; compstate[insert]=all }
zle -C insert-all complete-word insert-all
bindkey '^[*' insert-all
told() { print -r -- "$BUFFER" >> $OUT; BUFFER=; print -n '<told>' }
zle -N told
bindkey '^X^W' told
zle-line-init() { print -n '<ready>' }
zle -N zle-line-init
"#;

/// A zsh that types into another: its editor wants a terminal. Waits until each line is written.
const ZSH_DRIVER: &str = r#"
zmodload zsh/zpty
zpty shell "zsh -d -i"
zpty -r shell seen '*<ready>*'
for keys in "$@"; do
    zpty -w -n shell "$keys"$'\x18\x17'
    zpty -r shell seen '*<told>*' || exit 1
done
zpty -d shell
"#;

/// The line with the key that suits it: Tab, as people do, where one word is expected, or none.
fn typed(case: &Case) -> String {
    let key = if case.1.len() > 1 { "\x1b*" } else { "\t" };
    format!("{}{key}", case.0)
}

/// The words in place of the last one, of lines that a shell has written.
fn last_words(lines: &str, cases: &[&Case]) -> Vec<BTreeSet<String>> {
    let found: Vec<&str> = lines.lines().collect();
    assert_eq!(found.len(), cases.len(), "{lines}");
    let of = |(case, line): (&&Case, &str)| {
        let kept = &case.0[..=case.0.rfind(' ').unwrap()];
        let behind = line.strip_prefix(kept).unwrap_or_else(|| panic!("{} became {line}", case.0));
        // A blank behind a backslash is part of a name; folders get a slash, and in zsh flags a sign.
        let words = behind.replace("\\ ", "\u{0}");
        let words = words.split(' ').map(|word| word.trim_end_matches(['/', '=']).replace('\u{0}', "\\ "));
        let mut words: BTreeSet<String> = words.filter(|word| !word.is_empty()).collect();
        if case.1.is_empty() {
            // What was typed stays.
            words.remove(&case.0[kept.len()..]);
        }
        words
    };
    cases.iter().zip(found).map(of).collect()
}

#[track_caller]
fn compare(shell: &str, cases: &[&Case], found: &[BTreeSet<String>]) {
    for (case, found) in cases.iter().zip(found) {
        let expected: BTreeSet<String> = case.1.iter().map(ToString::to_string).collect();
        assert_eq!(*found, expected, "{shell}: {}", case.0);
    }
}

fn written(home: &Sandbox, output: &Output) -> String {
    std::fs::read_to_string(home.path("out")).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn bash_completes() {
    let home = home();
    let cases: Vec<&Case> = CASES.iter().chain(ENDS).chain(BASH).collect();
    // Its editor takes keys from a pipe, too.
    let keys: String = cases.iter().map(|case| typed(case) + "\x18\x17").collect();
    let keys_file = home.path("keys");
    std::fs::write(&keys_file, keys).unwrap();
    let Some(_) = ask(&home, "bash", &["-c", ":"]) else { return };
    // In a session of its own: an interactive shell would take the terminal of whoever runs the tests.
    let mut command = shell_in(&home, "setsid");
    command.args(["--wait", "bash", "-i"]).stdin(std::fs::File::open(&keys_file).unwrap());
    let Some(output) = told("setsid", &mut command) else { return };
    compare("bash", &cases, &last_words(&written(&home, &output), &cases));
}

#[test]
fn zsh_completes() {
    let home = home();
    let cases: Vec<&Case> = CASES.iter().collect();
    let driver = home.path("drive.zsh").display().to_string();
    let keys: Vec<String> = cases.iter().map(|case| typed(case)).collect();
    let args: Vec<&str> = ["-f", &driver].into_iter().chain(keys.iter().map(String::as_str)).collect();
    let Some(output) = ask(&home, "zsh", &args) else { return };
    compare("zsh", &cases, &last_words(&written(&home, &output), &cases));
}

#[test]
fn fish_completes() {
    let home = home();
    let cases: Vec<&Case> = CASES.iter().chain(ENDS).collect();
    let lines = cases.iter().map(|case| case.0);
    let args: Vec<&str> =
        ["-c", "for line in $argv; complete -C $line; echo '<end>'; end"].into_iter().chain(lines).collect();
    let Some(output) = ask(&home, "fish", &args) else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    let words = |part: &str| -> BTreeSet<String> {
        let names = part.lines().map(|line| line.split('\t').next().unwrap_or_default().trim_end_matches('/'));
        names.filter(|name| !name.is_empty()).map(|name| name.replace("\\ ", " ").replace(' ', "\\ ")).collect()
    };
    let found: Vec<BTreeSet<String>> = text.split("<end>\n").take(cases.len()).map(words).collect();
    assert_eq!(found.len(), cases.len(), "{output:?}");
    compare("fish", &cases, &found);
}

#[test]
fn zsh_and_fish_take_their_scripts() {
    let home = home();
    for (shell, file) in [("zsh", ".zfunc/_rheos"), ("fish", ".config/fish/completions/rheos.fish")] {
        if let Some(checked) = ask(&home, shell, &["-n", home.path(file).to_str().unwrap()]) {
            assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        }
    }
}

/// The package bash-completion, where it is installed, loads the script when it is first needed.
#[test]
fn bash_completion_loads_the_script() {
    const PACKAGE: &str = "/usr/share/bash-completion/bash_completion";
    if !Path::new(PACKAGE).exists() {
        return crate::process::say("skipped: there is no bash-completion, its way to load the script is not tested");
    }
    let home = home();
    let install = "mkdir -p ~/.local/share/bash-completion/completions && \
                   rheos completion bash > ~/.local/share/bash-completion/completions/rheos";
    let query = format!(". {PACKAGE}; {install}; _completion_loader rheos; complete -p rheos");
    let output = ask(&home, "bash", &["--norc", "-c", &query]).unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("-F _rheos rheos"), "{output:?}");
}

#[test]
fn another_shell_is_a_mistake_of_usage() {
    Sandbox::new().run(&["completion", "tcsh"]).expect_code(2).expect_talk("possible values: bash, zsh, fish");
}

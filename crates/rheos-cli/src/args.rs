//! The command line: one definition of each flag gives parser, help and environment variable.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};
use rheos::state::{EntryNumber, RestoreFrom, check_savepoint_name};
use rheos::units::parse_duration_ms;

use crate::bench::args::BenchCommand;

/// SQL over streams: reads, computes, writes, until the input ends or you stop it.
#[derive(Debug, Parser)]
#[command(name = "rheos", version, max_term_width = 100, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// No progress and no summary; errors are still shown.
    #[arg(long, short, global = true, env = "RHEOS_QUIET", value_parser = yes_or_no, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Say more: the plan before the run, the counts of each step after it.
    #[arg(long, short, global = true, env = "RHEOS_VERBOSE", value_parser = yes_or_no)]
    pub(crate) verbose: bool,

    /// A file of settings, instead of ./rheos.toml. Its keys are the names of flags.
    #[arg(long, global = true, env = "RHEOS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  rheos run examples/flights/delays.sql
  rheos run -c \"SELECT 40 + 2 AS answer\"
  cat flights.csv | rheos run -c \"CREATE TABLE t (origin STRING) WITH ('connector' = 'stdin', 'format' = 'csv');
                                  SELECT origin, count(*) AS n FROM t GROUP BY origin\"
  rheos explain job.sql
  rheos connectors filesystem
  rheos bench nexmark --events 1M

Exit codes: 0 done, 1 failed while running, 2 usage, 3 validation failed, 4 not found, 5 exists already,
65 SQL or data refused, 66 input missing, 69 no job to ask, 75 state dir in use, 77 not allowed,
78 bad configuration, 130 second Ctrl-C.";

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program; it ends with its input, or with Ctrl-C
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Check a program without running it; exit code 3 if it is refused
    Validate(ProgramArgs),
    /// Show what a program would run: one line a step, with exchanges and the columns that are read
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Measure Rheos on this machine
    #[command(subcommand, arg_required_else_help = true)]
    Bench(BenchCommand),
    /// List the connectors, or the options of one
    #[command(after_help = "Examples:\n  rheos connectors\n  rheos connectors filesystem")]
    Connectors(ListArgs),
    /// List the functions, or describe one
    #[command(
        after_help = "Examples:\n  rheos functions\n  rheos functions approx_percentile_cont\n  rheos functions -o json | grep date"
    )]
    Functions(ListArgs),
    /// Look at the checkpoints in a state directory
    #[command(subcommand, arg_required_else_help = true)]
    Checkpoint(CheckpointCommand),
    /// Make and look at savepoints: checkpoints with a name, which are kept
    #[command(subcommand, arg_required_else_help = true)]
    Savepoint(SavepointCommand),
    /// Look at the state that operators keep in a state directory
    #[command(subcommand, arg_required_else_help = true)]
    State(StateCommand),
    /// Show the settings that configuration files, the environment and flags add up to
    #[command(subcommand, arg_required_else_help = true)]
    Config(ConfigCommand),
    /// Print the completion script of a shell
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion(CompletionArgs),
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  rheos explain job.sql
  rheos explain --format mermaid job.sql >> README.md
  rheos explain --format dot job.sql | dot -Tsvg > job.svg";

const COMPLETION_EXAMPLES: &str = "\
bash: this line in ~/.bashrc
  eval \"$(rheos completion bash)\"

zsh: once, with fpath+=~/.zfunc before compinit in ~/.zshrc
  mkdir -p ~/.zfunc
  rheos completion zsh > ~/.zfunc/_rheos

fish: once
  mkdir -p ~/.config/fish/completions
  rheos completion fish > ~/.config/fish/completions/rheos.fish";

const RUN_EXAMPLES: &str = "\
Rows of a bare SELECT go to stdout, everything else to stderr. Ctrl-C stops in order: what was read is finished, open
windows do not fire (--drain fires them), exit code 0. A second Ctrl-C ends at once.

Examples:
  rheos run job.sql --parallelism 4 --var INPUT=flights.csv
  rheos run job.sql --output csv > result.csv
  rheos run - < job.sql
  rheos run -c \"CREATE TABLE bids (id BIGINT) WITH ('connector' = 'datagen', 'rows-per-second' = '10/s');
                SELECT * FROM bids\"";

/// Where a program comes from, and what it is planned with.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("text").required(true).args(["file", "command"])))]
pub(crate) struct ProgramArgs {
    /// The program's file; - reads it from stdin
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// The program itself
    // A program may begin with a comment.
    #[arg(long, short, value_name = "SQL", env = "RHEOS_COMMAND", allow_hyphen_values = true)]
    pub(crate) command: Option<String>,

    /// Give ${NAME} in the program a value; may be repeated
    #[arg(long = "var", value_name = "NAME=VALUE", env = "RHEOS_VAR", value_parser = name_and_value)]
    pub(crate) variables: Vec<(String, String)>,

    /// As SET 'NAME' = 'VALUE' in the program, and stronger; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE", env = "RHEOS_SET", value_parser = name_and_value)]
    pub(crate) settings: Vec<(String, String)>,

    /// Worker threads [default: one a core]
    #[arg(long, short, value_name = "N", env = "RHEOS_PARALLELISM", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) parallelism: Option<u16>,
}

/// `rheos run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) program: ProgramArgs,

    /// How rows are printed [default: table on a terminal, jsonl in a pipe]
    #[arg(long, short, value_enum, value_name = "FORMAT", env = "RHEOS_OUTPUT")]
    pub(crate) output: Option<RowFormat>,

    /// Rows in a batch, at most [default: 8192]
    #[arg(long, value_name = "ROWS", env = "RHEOS_BATCH_ROWS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) batch_rows: Option<u32>,

    /// Keep state in this folder, s3://, gs:// or az:// URL, and go on from what is there; one place, one job
    #[arg(long, value_name = "DIR|URL", env = "RHEOS_STATE_DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,

    /// Keep a second copy of the state there, and take from it what is damaged
    #[arg(long, value_name = "DIR|URL", env = "RHEOS_COPY_DIR", value_hint = ValueHint::DirPath)]
    pub(crate) copy_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) keys: KeyArgs,

    /// Go on from this checkpoint (a number), from this savepoint (a name), or from none
    #[arg(long, value_name = "CHECKPOINT", env = "RHEOS_FROM", value_parser = restore_from)]
    pub(crate) from: Option<RestoreFrom>,

    /// Let output show twice, where going back to a checkpoint makes it so
    #[arg(long, env = "RHEOS_ACCEPT_DUPLICATES", value_parser = yes_or_no)]
    pub(crate) accept_duplicates: bool,

    /// Let state go that the program has no operator for
    #[arg(long, env = "RHEOS_ALLOW_DROPPED_STATE", value_parser = yes_or_no)]
    pub(crate) allow_dropped_state: bool,

    /// Let open windows fire when the job is stopped
    #[arg(long, env = "RHEOS_DRAIN", value_parser = yes_or_no)]
    pub(crate) drain: bool,
}

/// How state is encrypted.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// A file of keys (lines ID:BASE64); state is encrypted with the first
    #[arg(long, value_name = "FILE", env = "RHEOS_ENCRYPTION_KEY_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) encryption_key_file: Option<PathBuf>,
}

/// A flag's variable, or its value in a file: a typing error must not be taken for a yes.
fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.trim().to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        _ => Err("it must be true or false".into()),
    }
}

fn savepoint_name(text: &str) -> Result<String, String> {
    check_savepoint_name(text).map(|()| text.to_string()).map_err(|error| error.to_string())
}

fn restore_from(text: &str) -> Result<RestoreFrom, String> {
    match (text, text.parse()) {
        ("none", _) => Ok(RestoreFrom::Nothing),
        (_, Ok(number)) => Ok(RestoreFrom::Entry(EntryNumber(number))),
        _ if check_savepoint_name(text).is_ok() => Ok(RestoreFrom::Savepoint(text.into())),
        _ if text.contains('/') => Err(
            "it names a checkpoint or savepoint of the job's own state directory. To go on from one of another directory, copy that \
             directory while no run uses it, and give the copy as --state-dir"
                .into(),
        ),
        _ => Err(
            "write the number of a checkpoint, as `rheos checkpoint list` shows it, the name of a savepoint, or none"
                .into(),
        ),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match parse_duration_ms(text) {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms.unsigned_abs())),
        Ok(_) => Err("it must be more than zero".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// `rheos explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) program: ProgramArgs,

    /// What the plan is written in
    #[arg(long, value_enum, value_name = "FORMAT", env = "RHEOS_FORMAT", default_value = "text")]
    pub(crate) format: ExplainFormat,
}

/// What a plan is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExplainFormat {
    /// One line a step, for the terminal
    Text,
    /// A flowchart for Markdown pages
    Mermaid,
    /// A graph for Graphviz
    Dot,
}

/// `rheos config`.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// The settings of rheos run, as they are in this folder and environment
    #[command(after_help = "Examples:\n  rheos config show --origin\n  rheos config show -o json")]
    Show(ConfigShowArgs),
}

/// `rheos config show`.
#[derive(Debug, Args)]
pub(crate) struct ConfigShowArgs {
    /// Say where each value comes from: a default, a file, the environment or an option
    #[arg(long, env = "RHEOS_ORIGIN", value_parser = yes_or_no)]
    pub(crate) origin: bool,

    /// How the list is printed
    #[arg(long, short, value_enum, value_name = "FORMAT", env = "RHEOS_OUTPUT", default_value = "table")]
    pub(crate) output: ListFormat,
}

/// `rheos completion`.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: CompletionShell,
}

/// The shells that can complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// Fish
    Fish,
}

/// `rheos checkpoint`.
#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// List the checkpoints, newest first
    List(CheckpointArgs),
    /// Show what is in a checkpoint: sources, state, sinks
    #[command(after_help = "Examples:\n  rheos checkpoint inspect DIR\n  rheos checkpoint inspect DIR 17 -o json")]
    Inspect(CheckpointOneArgs),
    /// Read all that checkpoints consist of; exit code 3 if anything is damaged
    Verify(CheckpointVerifyArgs),
    /// Delete a checkpoint or savepoint and what only it needs
    Delete(CheckpointDeleteArgs),
    /// Encrypt all state with the first key of --encryption-key-file, so that older keys are not needed any more
    Encrypt(CheckpointEncryptArgs),
}

/// A state directory that is looked at.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The state directory: a folder or URL
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: PathBuf,

    #[command(flatten)]
    pub(crate) keys: KeyArgs,
}

/// The second copy of a state directory that is changed.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// Where the second copy of the state lies, if there is one
    #[arg(long, value_name = "DIR|URL", env = "RHEOS_COPY_DIR", value_hint = ValueHint::DirPath)]
    pub(crate) copy_dir: Option<PathBuf>,
}

/// `rheos checkpoint list`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// `rheos checkpoint inspect`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointOneArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// A checkpoint's number or a savepoint's name [default: the newest]
    pub(crate) checkpoint: Option<String>,

    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// `rheos checkpoint verify`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointVerifyArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// A checkpoint's number or a savepoint's name [default: all]
    pub(crate) checkpoint: Option<String>,

    /// Where the second copy of the state lies: it is read, too
    #[arg(long, value_name = "DIR|URL", env = "RHEOS_COPY_DIR", value_hint = ValueHint::DirPath)]
    pub(crate) copy_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// `rheos checkpoint delete`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointDeleteArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    #[command(flatten)]
    pub(crate) copy: CopyArgs,

    /// A checkpoint's number or a savepoint's name
    pub(crate) checkpoint: String,
}

/// `rheos checkpoint encrypt`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointEncryptArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    #[command(flatten)]
    pub(crate) copy: CopyArgs,
}

/// `rheos savepoint`.
#[derive(Debug, Subcommand)]
pub(crate) enum SavepointCommand {
    /// Let the running job make a savepoint; prints its number when it is complete
    #[command(
        after_help = "Examples:\n  rheos savepoint create DIR before-upgrade\n  rheos savepoint create DIR done --stop"
    )]
    Create(SavepointCreateArgs),
    /// List the savepoints, newest first
    List(CheckpointArgs),
    /// Delete a savepoint and what only it needs
    Delete(SavepointDeleteArgs),
}

/// `rheos savepoint create`.
#[derive(Debug, Args)]
pub(crate) struct SavepointCreateArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// The savepoint's name: letters, digits, '-', '_' and '.'
    #[arg(value_name = "NAME", value_parser = savepoint_name)]
    pub(crate) name: String,

    /// Stop the job with it, so that no output becomes visible that the savepoint does not know of
    #[arg(long, env = "RHEOS_STOP", value_parser = yes_or_no)]
    pub(crate) stop: bool,

    /// How long to wait until it is complete
    #[arg(long, value_name = "TIME", env = "RHEOS_TIMEOUT", default_value = "1 min", value_parser = duration)]
    pub(crate) timeout: Duration,
}

/// `rheos savepoint delete`.
#[derive(Debug, Args)]
pub(crate) struct SavepointDeleteArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    #[command(flatten)]
    pub(crate) copy: CopyArgs,

    /// The savepoint's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// `rheos state`.
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// List the tables of state, with their rows and bytes
    List(StateListArgs),
    /// Print the state of an operator as rows
    #[command(after_help = STATE_EXAMPLES)]
    Read(StateReadArgs),
}

const STATE_EXAMPLES: &str = "\
Examples:
  rheos state read DIR --operator window-aggregate
  rheos state read DIR --operator sessions --table rows --key user=ann -o csv
  rheos state read DIR --operator window-aggregate --from before-upgrade -o arrow > state.arrows";

/// `rheos state list`.
#[derive(Debug, Args)]
pub(crate) struct StateListArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// A checkpoint's number or a savepoint's name [default: the newest]
    #[arg(long, value_name = "CHECKPOINT", env = "RHEOS_FROM")]
    pub(crate) from: Option<String>,

    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// `rheos state read`.
#[derive(Debug, Args)]
pub(crate) struct StateReadArgs {
    #[command(flatten)]
    pub(crate) place: PlaceArgs,

    /// The operator: its id, the beginning of its id, or its name if only one has it
    #[arg(long, value_name = "OPERATOR", env = "RHEOS_OPERATOR")]
    pub(crate) operator: String,

    /// The table [default: the only one beside how far windows have fired]
    #[arg(long, value_name = "TABLE", env = "RHEOS_TABLE")]
    pub(crate) table: Option<String>,

    /// Only rows with this value in a column, written as jsonl prints it; nothing behind = is NULL, "" an empty text; may be repeated
    #[arg(long = "key", value_name = "COLUMN=VALUE", env = "RHEOS_KEY", value_parser = name_and_value)]
    pub(crate) keys: Vec<(String, String)>,

    /// A checkpoint's number or a savepoint's name [default: the newest]
    #[arg(long, value_name = "CHECKPOINT", env = "RHEOS_FROM")]
    pub(crate) from: Option<String>,

    /// How rows are printed [default: table on a terminal, jsonl in a pipe]
    #[arg(long, short, value_enum, value_name = "FORMAT", env = "RHEOS_OUTPUT")]
    pub(crate) output: Option<StateFormat>,
}

/// How rows of state are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateFormat {
    /// Aligned columns, for people
    Table,
    /// One JSON object a line; bytes are base64
    Jsonl,
    /// RFC 4180 with a header line
    Csv,
    /// An Arrow IPC stream
    Arrow,
}

/// `rheos connectors`, `rheos functions`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// One of them, in full
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// The format of a list.
#[derive(Debug, Args)]
pub(crate) struct ListOutput {
    /// How the list is printed [env: RHEOS_OUTPUT, if it is one of these] [default: table]
    #[arg(long, short, value_enum, value_name = "FORMAT")]
    output: Option<ListFormat>,
}

impl ListOutput {
    /// The format that was asked for. `RHEOS_OUTPUT` may hold a format of rows, which says nothing about lists.
    pub(crate) fn format(&self) -> ListFormat {
        let variable = || ListFormat::from_str(&std::env::var("RHEOS_OUTPUT").ok()?, false).ok();
        self.output.or_else(variable).unwrap_or(ListFormat::Table)
    }
}

/// How rows are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// Aligned columns, for people
    Table,
    /// One JSON object a line
    Jsonl,
    /// RFC 4180 with a header line
    Csv,
    /// How the result changes, a line a change: +I, -U, +U, -D
    Changelog,
}

/// How lists are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// Aligned columns, for people
    Table,
    /// One JSON document
    Json,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_string(), value.to_string())),
        _ => Err("write it as NAME=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent_and_every_flag_has_its_variable() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        check_flags(&command);
    }

    fn check_flags(command: &clap::Command) {
        for arg in command.get_arguments().filter(|a| !a.is_positional()) {
            let name = arg.get_long().expect("every flag has a long name");
            if matches!(name, "help" | "version") {
                continue;
            }
            // `list.rs` asks for it: the variable names a format of rows, and lists have their own.
            if name == "output" && arg.get_env().is_none() {
                continue;
            }
            let variable = format!("RHEOS_{}", name.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(variable.as_str()), "--{name}");
        }
        command.get_subcommands().filter(|s| s.get_name() != "help").for_each(check_flags);
    }
}

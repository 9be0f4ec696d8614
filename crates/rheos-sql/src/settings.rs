//! `SET 'name' = 'value'` and `--set`: what a program decides about its own run.

use arrow::array::timezone::Tz;
use rheos_core::error::{Error, Result, Span, did_you_mean};
use rheos_core::units::parse_duration_ms;

use crate::hints::checked_ttl;

/// The settings that exist: name, and what it does.
pub const SETTINGS: &[(&str, &str)] = &[
    ("parallelism", "Workers of the job; the number of cores unless given."),
    ("checkpoint.interval", "How often an epoch ends; 1 s unless given."),
    ("checkpoint.dir", "Where the job keeps its state, as --state-dir; nowhere unless given."),
    ("checkpoint.copies", "1, or 2 with another copy of all state in checkpoint.copy-dir."),
    ("checkpoint.copy-dir", "Where the second copy of the state lies: a folder or URL."),
    ("checkpoint.encryption-key-file", "A file of keys; state is encrypted with the first."),
    ("checkpoint.max-in-flight", "Epochs that have ended and are not complete, at most; 4 unless given."),
    (
        "emit.mode",
        "What queries give: 'changes' as rows come, 'final' rows only, or 'auto', which is final where the input ends.",
    ),
    ("emit.interval", "How often a query tells what has changed; with each checkpoint.interval unless given."),
    (
        "restart.attempts-max",
        "How often a job that keeps state is started again within restart.window; 10 unless given.",
    ),
    ("restart.backoff", "Wait before the first restart, which doubles with each failure; 100 ms unless given."),
    ("restart.backoff-max", "Longest wait before a restart; 1 min unless given."),
    ("restart.window", "Failures that are older do not count; 10 min unless given."),
    ("state.ttl", "How long state that no window ends lives behind the last change of its key; for ever unless given."),
    ("timezone", "The zone of the days and hours of a TIMESTAMP_LTZ; UTC unless given."),
];

/// Flink's names of the same settings.
const FLINKS: &[(&str, &str)] = &[
    ("parallelism.default", "parallelism"),
    ("execution.checkpointing.interval", "checkpoint.interval"),
    ("execution.checkpointing.dir", "checkpoint.dir"),
    ("execution.checkpointing.max-concurrent-checkpoints", "checkpoint.max-in-flight"),
    ("restart-strategy.failure-rate.max-failures-per-interval", "restart.attempts-max"),
    ("restart-strategy.exponential-delay.initial-backoff", "restart.backoff"),
    ("restart-strategy.exponential-delay.max-backoff", "restart.backoff-max"),
    ("restart-strategy.failure-rate.failure-rate-interval", "restart.window"),
    ("table.exec.state.ttl", "state.ttl"),
    ("table.local-time-zone", "timezone"),
];

/// The name that a setting has here.
pub(crate) fn own_name(name: &str) -> &str {
    FLINKS.iter().find(|(flinks, _)| *flinks == name).map_or(name, |(_, own)| own)
}

/// What holds for a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Workers; `None`: the number of cores.
    pub parallelism: Option<usize>,
    /// How often an epoch ends.
    pub checkpoint_interval_ms: i64,
    /// Where state lies.
    pub state: StateSettings,
    /// Epochs that have ended and are not complete, at most.
    pub checkpoint_max_in_flight: usize,
    /// How often, and how soon, a job that keeps state is started again.
    pub restart: RestartSettings,
    /// How long state that no window ends lives, in ms; `None`: for ever.
    pub state_ttl_ms: Option<i64>,
    /// What queries give.
    pub emit: Emit,
    /// The session's zone.
    pub timezone: String,
}

/// What a query gives while its input goes on, and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Emit {
    /// `emit.mode`.
    pub mode: EmitMode,
    /// `emit.interval`, in ms; `None`: at the ends of epochs.
    pub interval_ms: Option<i64>,
}

/// What a query gives while its input goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EmitMode {
    /// Final rows where the input ends and its rows only come, else changes.
    #[default]
    Auto,
    /// Changes, as rows come.
    Changes,
    /// Rows that do not change any more.
    Final,
}

/// Where a job keeps its state, and how: the settings as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StateSettings {
    /// `checkpoint.dir`.
    pub dir: Option<String>,
    /// `checkpoint.copies`: 1 or 2.
    pub copies: Option<u8>,
    /// `checkpoint.copy-dir`.
    pub copy_dir: Option<String>,
    /// `checkpoint.encryption-key-file`.
    pub encryption_key_file: Option<String>,
}

/// What holds for restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestartSettings {
    /// Restarts within the window, at most.
    pub attempts_max: u32,
    /// Wait before the first.
    pub backoff_ms: u64,
    /// Longest wait.
    pub backoff_ms_max: u64,
    /// How long a failure counts.
    pub window_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            parallelism: None,
            checkpoint_interval_ms: 1000,
            state: StateSettings::default(),
            checkpoint_max_in_flight: 4,
            restart: RestartSettings { attempts_max: 10, backoff_ms: 100, backoff_ms_max: 60_000, window_ms: 600_000 },
            state_ttl_ms: None,
            emit: Emit::default(),
            timezone: "UTC".into(),
        }
    }
}

/// Whether a setting exists and takes a value. Errors: `Invalid`, as a `SET` of it would give, with the place of the name
/// or of the value in the text `name=value`.
pub fn check_setting(name: &str, value: &str) -> Result<()> {
    let behind_name = name.chars().count() as u64 + 1;
    let (column, end_column) = match Settings::knows(name) {
        true => (behind_name + 1, behind_name + 1 + value.chars().count() as u64),
        false => (1, behind_name),
    };
    let at = Span { line: 1, column, end_line: 1, end_column };
    Settings::default().set(name, value).map_err(|e| e.with_span(at))
}

impl Settings {
    /// Whether there is a setting of this name.
    pub(crate) fn knows(name: &str) -> bool {
        SETTINGS.iter().any(|s| s.0 == own_name(name))
    }

    /// Sets one. Errors: `Invalid` for an unknown name, with the nearest one, or a value that does not fit.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let refuse = |what: &str, hint: &str| {
            Err(Error::invalid(104, format!("setting '{name}' is '{value}', but {what}")).with_hint(hint))
        };
        match own_name(name) {
            "parallelism" => match value.parse::<usize>() {
                Ok(n) if (1..=1024).contains(&n) => self.parallelism = Some(n),
                _ => return refuse("it must be a whole number from 1 to 1024", "a number from 1 to 1024"),
            },
            "checkpoint.copies" => match value {
                "1" => self.state.copies = Some(1),
                "2" => self.state.copies = Some(2),
                _ => return refuse("it must be 1 or 2", "2 keeps another copy in 'checkpoint.copy-dir'"),
            },
            "checkpoint.dir" | "checkpoint.copy-dir" | "checkpoint.encryption-key-file" if value.is_empty() => {
                return refuse("a path cannot be empty", "leave the setting out");
            }
            "checkpoint.dir" => self.state.dir = Some(value.into()),
            "checkpoint.copy-dir" => self.state.copy_dir = Some(value.into()),
            "checkpoint.encryption-key-file" => self.state.encryption_key_file = Some(value.into()),
            "checkpoint.interval" => self.checkpoint_interval_ms = duration_ms(name, value)?,
            "checkpoint.max-in-flight" => match value.parse::<usize>() {
                Ok(n) if (1..=IN_FLIGHT_MAX).contains(&n) => self.checkpoint_max_in_flight = n,
                _ => return refuse("it must be a whole number from 1 to 100", "write it as '4'"),
            },
            "restart.attempts-max" => match value.parse() {
                Ok(n) => self.restart.attempts_max = n,
                _ => {
                    let what = "it must be a whole number from 0 to 4294967295";
                    return refuse(what, "write it as '10', or '0' for no restart");
                }
            },
            "restart.backoff" => self.restart.backoff_ms = duration_ms(name, value)?.unsigned_abs(),
            "restart.backoff-max" => self.restart.backoff_ms_max = duration_ms(name, value)?.unsigned_abs(),
            "restart.window" => self.restart.window_ms = duration_ms(name, value)?.unsigned_abs(),
            "emit.mode" => match value.to_ascii_lowercase().as_str() {
                "auto" => self.emit.mode = EmitMode::Auto,
                "changes" => self.emit.mode = EmitMode::Changes,
                "final" => self.emit.mode = EmitMode::Final,
                _ => return refuse("it must be 'auto', 'changes' or 'final'", "write it as 'changes'"),
            },
            "emit.interval" => self.emit.interval_ms = Some(duration_ms(name, value)?),
            // As in Flink, none is for ever.
            "state.ttl" if value.trim_start().starts_with("0 ") => self.state_ttl_ms = None,
            "state.ttl" => {
                self.state_ttl_ms = Some(checked_ttl(value).map_err(|e| e.context(format!("setting '{name}'")))?);
            }
            "timezone" if value.eq_ignore_ascii_case("utc") => self.timezone = "UTC".into(),
            "timezone" if value.parse::<Tz>().is_ok() => self.timezone = value.into(),
            "timezone" => {
                return refuse("there is no such zone", "write it as 'Europe/Berlin', '+02:00' or 'UTC'");
            }
            _ => {
                let names = SETTINGS.iter().map(|s| s.0);
                let list = format!("the settings are: {}", names.clone().collect::<Vec<_>>().join(", "));
                return Err(Error::invalid(104, format!("there is no setting '{name}'"))
                    .with_hint(did_you_mean(name, names, &list)));
            }
        }
        Ok(())
    }
}

/// Epochs in flight, at most: each keeps a part of every sink and source in memory.
const IN_FLIGHT_MAX: usize = 100;

/// A duration of more than zero, in ms.
fn duration_ms(name: &str, value: &str) -> Result<i64> {
    let ms = parse_duration_ms(value).map_err(|e| e.context(format!("setting '{name}'")))?;
    if ms < 1 {
        let message = format!("setting '{name}' is '{value}', but it must be more than zero");
        return Err(Error::invalid(104, message).with_hint("write it as '1 s'"));
    }
    Ok(ms)
}

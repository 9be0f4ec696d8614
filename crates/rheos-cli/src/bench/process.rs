//! Runs programs in processes of their own.
//!
//! The process that waits runs nothing itself: on Linux a child's largest size is at least what its parent had when it
//! was started.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use rheos::{Error, ErrorKind};

use super::measure::Measurement;
use crate::report::{Failure, code};

/// Starts this binary again and again.
#[derive(Debug)]
pub(super) struct Runner {
    binary: PathBuf,
    quiet: bool,
}

impl Runner {
    /// Errors: where the system does not tell which file this process runs.
    pub(super) fn try_new(quiet: bool) -> Result<Self> {
        Ok(Self { binary: std::env::current_exe().context("cannot find the binary of this process")?, quiet })
    }

    /// This binary, without the settings of the environment: flags of the benchmark, such as RHEOS_OUTPUT, would mean
    /// something else to the child.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("RHEOS_")) {
            command.env_remove(name);
        }
        command
    }

    /// Runs a program to its end in an empty folder, which is deleted with all that the program has written there.
    ///
    /// The child shows its own progress and its own errors on stderr. Errors: `what` failed, with the child's exit code.
    pub(super) fn measure(&self, what: &str, program: &str, parallelism: Option<u16>) -> Result<Measurement> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let mut command = self.command();
        command.args(["bench", "measure"]).current_dir(folder.path());
        if self.quiet {
            command.arg("--quiet");
        }
        if let Some(workers) = parallelism {
            command.arg(format!("--parallelism={workers}"));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.binary.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A child that has ended already says why by its exit code.
            let _ = stdin.write_all(program.as_bytes());
        }
        let output = child.wait_with_output().context("cannot wait for the process of a run")?;
        if !output.status.success() {
            return Err(failed(what, output.status));
        }
        let parsed = serde_json::from_slice(&output.stdout).ok();
        let measurement = parsed.as_ref().and_then(Measurement::from_json);
        measurement.ok_or_else(|| not_measured(what, "its process gave no figures", code::FAILED))
    }
}

/// A child that ended badly; its code is ours.
pub(super) fn failed(what: &str, status: ExitStatus) -> anyhow::Error {
    let code = status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(code::FAILED);
    not_measured(what, &format!("its process ended with {status}"), code)
}

fn not_measured(what: &str, cause: &str, code: u8) -> anyhow::Error {
    let error = Error::new(ErrorKind::External, 531, format!("{what} could not be measured: {cause}"));
    Failure::Plain { error: error.with_hint("the message above says why"), code }.into()
}

//! Errors on stderr, and the exit code that goes with each.
//!
//! ```text
//! error[R0131]: there is no column 'dep_dely' in flights
//!   --> job.sql:3:12
//!    |
//!  3 | SELECT avg(dep_dely)
//!    |            ^^^^^^^^
//!   try: did you mean 'dep_delay'?
//! ```

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use rheos::ErrorKind;

/// Exit codes; the docs list them.
pub(crate) mod code {
    pub(crate) const FAILED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const NOT_VALID: u8 = 3;
    pub(crate) const NOT_FOUND: u8 = 4;
    pub(crate) const EXISTS: u8 = 5;
    pub(crate) const REFUSED: u8 = 65;
    pub(crate) const INPUT_MISSING: u8 = 66;
    pub(crate) const NOT_REACHED: u8 = 69;
    pub(crate) const IN_USE: u8 = 75;
    pub(crate) const NOT_ALLOWED: u8 = 77;
    pub(crate) const BAD_CONFIG: u8 = 78;
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// What ends the program with a code of its own.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of a program, which is shown with its text.
    Program { error: rheos::Error, text: String, name: String, code: u8 },
    /// An error without a text.
    Plain { error: rheos::Error, code: u8 },
    /// Whoever reads stdout has gone: nothing more to say.
    BrokenPipe,
}

impl Failure {
    /// An error without a text; its kind gives the code.
    pub(crate) fn plain(error: rheos::Error) -> Self {
        let code = exit_code(&error);
        Self::Plain { error, code }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Program { error, .. } | Failure::Plain { error, .. } => error.fmt(f),
            Failure::BrokenPipe => f.write_str("stdout was closed"),
        }
    }
}

impl std::error::Error for Failure {}

/// There is no checkpoint or savepoint of that name.
const NO_CHECKPOINT: &str = "R0608";

/// The exit code of an error that a run came to.
pub(crate) fn exit_code(error: &rheos::Error) -> u8 {
    match error.kind() {
        _ if error.code() == NO_CHECKPOINT => code::NOT_FOUND,
        ErrorKind::Invalid | ErrorKind::User | ErrorKind::Corrupt => code::REFUSED,
        ErrorKind::InputMissing => code::INPUT_MISSING,
        ErrorKind::Conflict => code::EXISTS,
        ErrorKind::InUse => code::IN_USE,
        ErrorKind::NotAllowed => code::NOT_ALLOWED,
        ErrorKind::External | ErrorKind::Internal => code::FAILED,
    }
}

/// Shows an error and gives its exit code.
pub(crate) fn show(error: &anyhow::Error) -> ExitCode {
    let (text, code) = match error.downcast_ref::<Failure>() {
        Some(Failure::BrokenPipe) => return ExitCode::SUCCESS,
        Some(Failure::Program { error, text, name, code }) => (rheos::query::render(error, text, name), *code),
        Some(Failure::Plain { error, code }) => (plain(error), *code),
        None => (format!("error: {error:#}"), code::FAILED),
    };
    let mut stderr = std::io::stderr().lock();
    let text = if colour(&stderr) { paint(&text) } else { text };
    // Nobody is left to tell if stderr is closed.
    let _ = writeln!(stderr, "{}", text.trim_end());
    ExitCode::from(code)
}

fn plain(error: &rheos::Error) -> String {
    let hint = error.hint().map(|h| format!("\n  try: {h}")).unwrap_or_default();
    format!("error[{}]: {}{hint}", error.code(), error.message())
}

/// Whether a stream may carry colour.
pub(crate) fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// The first line's `error[..]` in bold red; the rest stays as it is.
fn paint(text: &str) -> String {
    match text.split_once(':') {
        Some((head, rest)) if head.starts_with("error") => format!("\x1b[1;31m{head}\x1b[0m:{rest}"),
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_code_of_the_conventions() {
        let codes = [
            (ErrorKind::Invalid, 65),
            (ErrorKind::User, 65),
            (ErrorKind::Corrupt, 65),
            (ErrorKind::InputMissing, 66),
            (ErrorKind::Conflict, 5),
            (ErrorKind::InUse, 75),
            (ErrorKind::NotAllowed, 77),
            (ErrorKind::External, 1),
            (ErrorKind::Internal, 1),
        ];
        for (kind, code) in codes {
            assert_eq!(exit_code(&rheos::Error::new(kind, 0, "")), code, "{kind:?}");
        }
        assert_eq!(exit_code(&rheos::Error::invalid(608, "there is no checkpoint 17")), 4);
    }

    #[test]
    fn a_plain_error_has_code_cause_and_hint() {
        let error = rheos::Error::invalid(501, "two results").with_hint("keep one");
        assert_eq!(plain(&error), "error[R0501]: two results\n  try: keep one");
    }
}

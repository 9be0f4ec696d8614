//! What is asked and answered, as one line of JSON each.

use std::time::Duration;

use rheos_checkpoint::coordinator::check_savepoint_name;
use rheos_checkpoint::journal::EntryNumber;
use rheos_core::{Error, ErrorKind, Result};
use rheos_runtime::{AfterSavepoint, Asked, JobControl};
use serde::{Deserialize, Serialize};

use super::TIMEOUT_MAX;

/// Longest line, in bytes.
pub(super) const LINE_BYTES_MAX: u64 = 16 << 10;

/// `{"savepoint":"before-upgrade","stop":false,"timeout_ms":60000}`
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    savepoint: String,
    /// Whether the job is to stop with it.
    stop: bool,
    timeout_ms: u64,
}

/// `{"checkpoint":17}` or `{"error":{"kind":"conflict","code":612,"message":"...","hint":"..."}}`
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Answer {
    Checkpoint(u64),
    Error(Told),
}

/// An error on its way.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    kind: String,
    code: u16,
    message: String,
    hint: Option<String>,
}

/// Kinds by the names that travel.
const KINDS: [(ErrorKind, &str); 9] = [
    (ErrorKind::Invalid, "invalid"),
    (ErrorKind::User, "user"),
    (ErrorKind::InputMissing, "input-missing"),
    (ErrorKind::Conflict, "conflict"),
    (ErrorKind::InUse, "in-use"),
    (ErrorKind::NotAllowed, "not-allowed"),
    (ErrorKind::External, "external"),
    (ErrorKind::Corrupt, "corrupt"),
    (ErrorKind::Internal, "internal"),
];

impl Request {
    /// Errors: `Invalid` (R0672) for what is no name.
    pub(super) fn try_new(name: &str, then: AfterSavepoint, timeout: Duration) -> Result<Self> {
        check_savepoint_name(name)?;
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Ok(Self { savepoint: name.to_string(), stop: then == AfterSavepoint::Stop, timeout_ms })
    }

    pub(super) fn line(&self) -> Result<Vec<u8>> {
        line(self)
    }

    /// Errors: `Invalid` (R0674) for what is no request.
    pub(super) fn parse(line: &[u8]) -> Result<Self> {
        serde_json::from_slice(line).map_err(|e| {
            Error::invalid(674, format!("a request cannot be read: {e}")).with_hint("ask by 'rheos savepoint create'")
        })
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms).min(TIMEOUT_MAX)
    }

    /// Hands it to the job.
    pub(super) fn ask(&self, control: &JobControl) -> Asked {
        let then = if self.stop { AfterSavepoint::Stop } else { AfterSavepoint::GoOn };
        control.savepoint(self.savepoint.as_str(), then)
    }
}

impl Answer {
    pub(super) fn of(result: Result<EntryNumber>) -> Self {
        match result {
            Ok(number) => Self::Checkpoint(number.0),
            Err(error) => {
                let kind = KINDS.iter().find(|(kind, _)| *kind == error.kind()).map_or("internal", |(_, name)| name);
                let code = error.code().trim_start_matches('R').parse().unwrap_or(900);
                let hint = error.hint().map(str::to_string);
                Self::Error(Told { kind: kind.into(), code, message: error.message().into(), hint })
            }
        }
    }

    pub(super) fn line(&self) -> Result<Vec<u8>> {
        line(self)
    }

    /// What the job has said. Errors: its own; `External` (R0674) for what is no answer.
    pub(super) fn parse(line: &[u8]) -> Result<EntryNumber> {
        let answer = serde_json::from_slice(line).map_err(|e| {
            Error::new(ErrorKind::External, 674, format!("the job's answer cannot be read: {e}"))
                .with_hint("use the version of Rheos that runs the job")
        })?;
        match answer {
            Self::Checkpoint(number) => Ok(EntryNumber(number)),
            Self::Error(Told { kind, code, message, hint }) => {
                let kind = KINDS.iter().find(|(_, name)| *name == kind).map_or(ErrorKind::Internal, |(kind, _)| *kind);
                let error = Error::new(kind, code, message);
                Err(hint.map_or(error.clone(), |hint| error.with_hint(hint)))
            }
        }
    }
}

fn line(what: &impl Serialize) -> Result<Vec<u8>> {
    let mut line =
        serde_json::to_vec(what).map_err(|e| Error::internal(format!("a message cannot be written: {e}")))?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_arrive_as_they_were_given() {
        let answers = KINDS.map(|(kind, name)| Err(Error::new(kind, 612, name).with_hint("so"))).into_iter();
        for answer in answers.chain([Ok(EntryNumber(17)), Err(Error::new(ErrorKind::External, 614, "no hint"))]) {
            let line = Answer::of(answer.clone()).line().unwrap();
            assert_eq!(Answer::parse(&line), answer);
        }
    }

    #[test]
    fn a_request_is_one_line_and_anything_else_is_none() {
        let request = Request::try_new("a", AfterSavepoint::Stop, Duration::from_secs(60)).unwrap();
        let line = request.line().unwrap();
        assert_eq!(line, b"{\"savepoint\":\"a\",\"stop\":true,\"timeout_ms\":60000}\n");
        assert_eq!(Request::parse(&line).unwrap().timeout(), Duration::from_secs(60));
        for other in ["", "GET / HTTP/1.1", "{}", "{\"savepoint\":\"a\",\"stop\":true,\"timeout_ms\":1,\"more\":1}"] {
            assert_eq!(Request::parse(other.as_bytes()).unwrap_err().code(), "R0674", "{other}");
        }
        assert_eq!(Request::try_new("no name", AfterSavepoint::GoOn, TIMEOUT_MAX).unwrap_err().code(), "R0672");
    }
}

//! The one error of the lower crates, sorted by what the caller can do about it.
//!
//! Shape of a message: one sentence on the cause (`message`), one on what to try (`hint`), and, where there is a text,
//! its place. The command line prints it as `error[R0123]: cause`, place, `try: hint`.

use std::fmt;
use std::sync::Arc;

/// What the caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The program, an option or a configuration is wrong: fix the input.
    Invalid,
    /// A record or a user's function is at fault.
    User,
    /// An input file or folder is missing or cannot be read.
    InputMissing,
    /// Something that should be made exists already.
    Conflict,
    /// Another process holds what is needed: wait for it, or end it.
    InUse,
    /// An output may not be written.
    NotAllowed,
    /// A system outside is down or refuses.
    External,
    /// Stored data is damaged.
    Corrupt,
    /// A defect of Rheos.
    Internal,
}

/// A place in a text that the user wrote. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Line of the first character.
    pub line: u64,
    /// Column of the first character.
    pub column: u64,
    /// Line of the last character.
    pub end_line: u64,
    /// Column just behind the last character.
    pub end_column: u64,
}

/// An error with its stable code, cause, place and hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    inner: Box<Parts>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    kind: ErrorKind,
    code: u16,
    message: String,
    hint: Option<String>,
    span: Option<Span>,
}

/// The result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `code` is the number behind the `R` and is listed in the docs.
    pub fn new(kind: ErrorKind, code: u16, message: impl Into<String>) -> Self {
        Self { inner: Box::new(Parts { kind, code, message: message.into(), hint: None, span: None }) }
    }

    /// The input is wrong.
    pub fn invalid(code: u16, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, code, message)
    }

    /// A record or a user's function is at fault (code R0300 unless given otherwise).
    pub fn user(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::User, 300, message)
    }

    /// A defect of Rheos (code R0900).
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, 900, message)
            .with_hint("this is a defect of Rheos; please report it with the program that shows it")
    }

    /// Reading or writing `path` failed. A missing or unreadable input becomes `InputMissing`, the rest `External`.
    pub fn io(what: &str, path: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let (kind, code) = match error.kind() {
            Io::NotFound | Io::PermissionDenied | Io::IsADirectory => (ErrorKind::InputMissing, 201),
            Io::AlreadyExists => (ErrorKind::Conflict, 202),
            _ => (ErrorKind::External, 203),
        };
        let cause = match error.kind() {
            Io::NotFound => "it does not exist".to_string(),
            Io::PermissionDenied => "permission denied".to_string(),
            _ => error.to_string(),
        };
        let hint = match error.kind() {
            Io::NotFound => "look at the path; one that does not begin with '/' is looked for where Rheos was started",
            Io::PermissionDenied => "give the user that runs Rheos the permission, or take another path",
            Io::IsADirectory | Io::NotADirectory => "look at the path: a part of it is not what it should be",
            Io::AlreadyExists => "take another path, or move away what is there",
            Io::StorageFull | Io::QuotaExceeded => "make space",
            Io::InvalidFilename => "take a shorter name",
            _ => "look at the disk and the path, then start again",
        };
        Self::new(kind, code, format!("cannot {what} '{path}': {cause}")).with_hint(hint)
    }

    /// Writing, making or removing `path` failed. Without permission it becomes `NotAllowed`, the rest `External`.
    pub fn output(what: &str, path: &str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let wrapped = Self::io(what, path, error);
        match error.kind() {
            Io::PermissionDenied | Io::ReadOnlyFilesystem => Self::new(ErrorKind::NotAllowed, 236, wrapped.message())
                .with_hint("write to another folder, or ask for the permission to write there"),
            _ if wrapped.kind() == ErrorKind::InputMissing => Self::new(ErrorKind::External, 203, wrapped.message())
                .with_hint("look at the path: nothing can be made there"),
            _ => wrapped,
        }
    }

    /// What the reader of the message should try.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.inner.hint = Some(hint.into());
        self
    }

    /// Where in the user's text it is.
    #[must_use]
    pub fn with_span(mut self, span: Span) -> Self {
        self.inner.span = Some(span);
        self
    }

    /// Puts `context: ` before the message.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.inner.message = format!("{context}: {}", self.inner.message);
        self
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The stable code, e.g. `R0123`.
    pub fn code(&self) -> String {
        format!("R{:04}", self.inner.code)
    }

    /// The cause in one sentence.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// What to try.
    pub fn hint(&self) -> Option<&str> {
        self.inner.hint.as_deref()
    }

    /// Where in the text.
    pub fn span(&self) -> Option<Span> {
        self.inner.span
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner.message)?;
        if let Some(hint) = &self.inner.hint {
            write!(f, " (try: {hint})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Who is told of what goes wrong without ending the job, such as a disk that is full for a while.
#[derive(Clone)]
pub struct Warn(Arc<dyn Fn(&Error) + Send + Sync>);

impl Warn {
    /// Calls `warn`, on any thread.
    pub fn new(warn: Arc<dyn Fn(&Error) + Send + Sync>) -> Self {
        Self(warn)
    }

    /// Tells it.
    pub fn tell(&self, error: &Error) {
        (self.0)(error);
    }
}

impl Default for Warn {
    /// Nobody.
    fn default() -> Self {
        Self(Arc::new(|_| ()))
    }
}

impl fmt::Debug for Warn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Warn")
    }
}

impl From<arrow::error::ArrowError> for Error {
    /// Kernels fail on data (overflow, division by zero), so the row is at fault, not the engine.
    fn from(error: arrow::error::ArrowError) -> Self {
        Error::user(error.to_string())
    }
}

/// The name in `known` that is nearest to `name`, if any is near enough to be meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), k))
        .filter(|(distance, k)| *distance <= (k.len().max(name.len()) / 3).max(1))
        .min_by_key(|(distance, k)| (*distance, k.len()))
        .map(|(_, k)| k)
}

/// `did you mean 'x'?` or, where nothing is near, `fallback`.
pub fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, fallback: &str) -> String {
    match nearest(name, known) {
        Some(k) => format!("did you mean '{k}'?"),
        None => fallback.to_string(),
    }
}

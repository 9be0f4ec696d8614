//! What an object store's failure means here.

use object_store::Error as Cause;
use rheos_core::{Error, ErrorKind};

use crate::errors::full;
use crate::store::WriteFailure;

/// Says that a bucket, or a file that was to be copied, is not there.
const MISSING: &str = "it does not exist";

/// A failed request: `External`, but `NotAllowed` where credentials do not do (R0622); R0621 where no space is left.
pub(super) fn failed(what: &str, place: &str, cause: &Cause) -> Error {
    let text = text(cause);
    let message = |text: &str| format!("cannot {what} '{place}': {text}");
    match cause {
        _ if is_refused(cause, &text) => Error::new(ErrorKind::NotAllowed, 622, message(&text))
            .with_hint("look at the credentials, and at what they may do there: list, read, write and delete"),
        _ if is_not_found(cause, &text) => Error::new(ErrorKind::External, 622, message(MISSING))
            .with_hint("look at the name of the bucket or container, the region and the endpoint"),
        _ if text.contains("URL scheme is not allowed") => Error::new(ErrorKind::External, 622, message(&text))
            .with_hint("a server without TLS has to be allowed: AWS_ALLOW_HTTP=true, and so for GOOGLE_ and AZURE_"),
        _ if text.contains("507 Insufficient") || text.contains("StorageFull") => full(place, text),
        _ => Error::new(ErrorKind::External, 622, message(&text))
            .with_hint("look at the object store and the way to it, then start again"),
    }
}

/// Not all requests that fail have a variant of their own.
fn is_refused(cause: &Cause, text: &str) -> bool {
    let words = ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "401 Unauthorized", "403 Forbidden"];
    let told = words.iter().any(|word| text.contains(word));
    told || matches!(cause, Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. })
}

/// As above.
fn is_not_found(cause: &Cause, text: &str) -> bool {
    let words = ["NoSuchBucket", "ContainerNotFound", "404 Not Found"];
    matches!(cause, Cause::NotFound { .. }) || words.iter().any(|word| text.contains(word))
}

/// Whether [`failed`] was told that something is not there.
pub(super) fn is_missing(error: &Error) -> bool {
    error.code() == "R0622" && error.message().ends_with(MISSING)
}

/// A failed write. What is impossible was not written; of anything else the answer may have been lost. Also of a refusal: it
/// may be that of a second try, and the first was carried out (a token runs out between the two).
pub(super) fn not_written(what: &str, place: &str, cause: &Cause) -> WriteFailure {
    let error = failed(what, place, cause);
    match cause {
        Cause::InvalidPath { .. } | Cause::NotSupported { .. } | Cause::NotImplemented { .. } => {
            WriteFailure::NotWritten(error)
        }
        _ => WriteFailure::Unknown(error),
    }
}

/// The cause in words: what the server says in its XML, or the innermost error.
fn text(cause: &Cause) -> String {
    let mut innermost: &dyn std::error::Error = cause;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let (whole, innermost) = (cause.to_string(), innermost.to_string());
    let between = |tag: &str| {
        let begin = whole.find(&format!("<{tag}>"))? + tag.len() + 2;
        let length = whole[begin..].find(&format!("</{tag}>"))?;
        Some(&whole[begin..begin + length])
    };
    match (between("Code"), between("Message")) {
        (Some(code), Some(message)) if !message.trim().is_empty() => format!("{code}: {}", message.trim()),
        (Some(code), _) => code.to_string(),
        _ => innermost.lines().next().unwrap_or_default().chars().take(300).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> Cause {
        Cause::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn the_servers_words_are_told_without_their_dress() {
        let xml = "Server returned non-2xx status code: 400: <Error><Code>InvalidRegion</Code><Message>no\n</Message></Error>";
        assert_eq!(text(&generic(xml)), "InvalidRegion: no");
        assert_eq!(text(&generic("<Error><Code>SlowDown</Code><Message></Message></Error>")), "SlowDown");
        assert_eq!(text(&generic("connection refused\nmore")), "connection refused");
    }

    #[test]
    fn what_is_impossible_is_not_written_and_anything_else_is_unknown() {
        let path = || "p".to_string();
        let impossible = Cause::NotSupported { source: "no".into() };
        assert!(matches!(not_written("write", "s3://b/p/a", &impossible), WriteFailure::NotWritten(_)));
        // Behind a first try that may have been carried out.
        let refused = Cause::PermissionDenied { path: path(), source: "no".into() };
        let failure = not_written("write", "s3://b/p/a", &refused);
        assert!(matches!(&failure, WriteFailure::Unknown(e) if e.kind() == ErrorKind::NotAllowed));
        let missing = Cause::NotFound { path: path(), source: "404".into() };
        assert!(matches!(not_written("write", "s3://b/p/a", &missing), WriteFailure::Unknown(_)));
        let silent = not_written("write", "s3://b/p/a", &generic("operation timed out"));
        assert!(matches!(&silent, WriteFailure::Unknown(e) if e.kind() == ErrorKind::External));
        assert_eq!(silent.error().message(), "cannot write 's3://b/p/a': operation timed out");
        assert!(crate::is_full(not_written("write", "a", &generic("507 Insufficient Storage")).error()));
        for words in ["status code: 403 Forbidden: no", "<Error><Code>SignatureDoesNotMatch</Code></Error>"] {
            assert_eq!(failed("list", "s3://b/p", &generic(words)).kind(), ErrorKind::NotAllowed, "{words}");
        }
        let no_bucket = "<Error><Code>NoSuchBucket</Code><Message>none</Message></Error>";
        assert!(is_missing(&failed("list", "s3://b/p", &generic(no_bucket))));
        assert!(is_missing(&failed("list", "a", &Cause::NotFound { path: path(), source: "404".into() })));
        assert!(!is_missing(silent.error()));
    }
}

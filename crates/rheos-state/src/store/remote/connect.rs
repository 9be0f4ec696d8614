//! From `s3://bucket/prefix` to a client; the rest of what it needs stands in the environment.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use rheos_core::{Error, Result};

/// The schemes, and what each is, for messages.
const SCHEMES: [(&str, &str); 3] = [("s3", "AWS_"), ("gs", "GOOGLE_"), ("az", "AZURE_")];

/// For how long a request is tried again, and how often. The job tries again on its own, more patiently, and a stop does not wait long.
const RETRY_SECONDS_MAX: u64 = 10;
const RETRIES_MAX: usize = 8;

/// Whether a place is meant as a URL, so that it is not taken for a folder.
pub(in crate::store) fn is_url(place: &str) -> bool {
    let scheme = place.split_once("://").map_or("", |(scheme, _)| scheme);
    !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Scheme, bucket and prefix (without a slash at either end).
fn parse(url: &str) -> Result<(&str, &str, &str)> {
    let wrong = |what: &str| {
        Error::invalid(641, format!("'{url}' is no place for state: {what}"))
            .with_hint("write s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or the path of a folder")
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it is no URL"))?;
    if !SCHEMES.iter().any(|(known, _)| *known == scheme) {
        return Err(wrong(&format!("'{scheme}' is none of s3, gs, az")));
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if bucket.is_empty() || !bucket.bytes().all(letter) {
        return Err(wrong("the name of the bucket is letters, digits, '-', '_' and '.'"));
    }
    let prefix = prefix.trim_end_matches('/');
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(letter) && part.bytes().any(|b| b != b'.');
    if !prefix.is_empty() && !prefix.split('/').all(is_part) {
        return Err(wrong("the parts of the prefix are letters, digits, '-', '_' and '.'"));
    }
    Ok((scheme, bucket, prefix))
}

/// A client, and the prefix. Nothing is asked of the store yet.
///
/// Errors: `Invalid` (R0641) for another URL, (R0645) for settings that do not do.
pub(super) fn connect(url: &str) -> Result<(Arc<dyn ObjectStore>, String)> {
    let (scheme, bucket, prefix) = parse(url)?;
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
            base: 2.0,
        },
        max_retries: RETRIES_MAX,
        retry_timeout: Duration::from_secs(RETRY_SECONDS_MAX),
    };
    let store: Result<Arc<dyn ObjectStore>, object_store::Error> = match scheme {
        "s3" => {
            AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry).build().map(|s| Arc::new(s) as _)
        }
        "gs" => GoogleCloudStorageBuilder::from_env()
            .with_bucket_name(bucket)
            .with_retry(retry)
            .build()
            .map(|s| Arc::new(s) as _),
        _ => MicrosoftAzureBuilder::from_env()
            .with_container_name(bucket)
            .with_retry(retry)
            .build()
            .map(|s| Arc::new(s) as _),
    };
    let store = store.map_err(|e| {
        // Without the name of the library's variant.
        let whole = e.to_string();
        let told = whole.split_once(" error: ").map_or(whole.as_str(), |(_, told)| told);
        let variables = SCHEMES.iter().find(|(known, _)| *known == scheme).map_or("", |(_, variables)| variables);
        Error::invalid(645, format!("'{url}' cannot be used: {told}"))
            .with_hint(format!("the settings are environment variables whose names begin with {variables}"))
    })?;
    Ok((store, prefix.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_scheme_bucket_and_prefix() {
        assert_eq!(parse("s3://b/p/q/").unwrap(), ("s3", "b", "p/q"));
        assert_eq!(parse("gs://b").unwrap(), ("gs", "b", ""));
        assert_eq!(parse("az://a-b.c/x").unwrap(), ("az", "a-b.c", "x"));
        for url in [
            "s3://",
            "s3:///p",
            "http://b/p",
            "file:///tmp",
            "s3://b//p",
            "s3://b/../p",
            "s3://b/p?x=1",
            "s3://k:s@b/p",
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.code() == "R0641" && error.message().contains(url) && error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn a_path_is_no_url() {
        assert!(["s3://b/p", "http://x", "S3://b"].iter().all(|u| is_url(u)));
        assert!(["state", "./a://b", "/tmp/x", "C:\\state", "://b", "s3:/b"].iter().all(|p| !is_url(p)));
    }
}

//! What a file tells about itself, the same for all of its rows: path, name, size and when it was changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use rheos_core::connector::{MetadataColumn, MetadataKey};
use rheos_core::{Error, Result};

use super::paths::shown;

/// The keys of `METADATA FROM`, as Flink names them.
pub(crate) fn keys() -> Vec<MetadataKey> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let key = |key, data_type, help| MetadataKey { key, data_type, help };
    vec![
        key("file.path", DataType::Utf8, "The whole path of the row's file."),
        key("file.name", DataType::Utf8, "The last part of the path."),
        key("file.size", DataType::Int64, "The bytes of the file, when its reading begins."),
        key("file.modification-time", time, "When the file was changed last, to the millisecond."),
    ]
}

/// The values for one file, each one row long.
///
/// Errors: the file cannot be looked at; `Internal` for a key that there is not.
pub(crate) fn values(path: &Path, columns: &[MetadataColumn]) -> Result<Vec<ArrayRef>> {
    let io = |e| Error::io("read", &shown(path), &e);
    let about = fs::metadata(path).map_err(io)?;
    let text = |text: String| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let value = |column: &MetadataColumn| -> Result<ArrayRef> {
        let value = match column.key.as_str() {
            "file.path" => text(shown(&std::path::absolute(path).map_err(io)?)),
            "file.name" => text(path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
            "file.size" => Arc::new(Int64Array::from(vec![i64::try_from(about.len()).unwrap_or(i64::MAX)])),
            "file.modification-time" => {
                let ms = about.mtime().saturating_mul(1000).saturating_add(about.mtime_nsec() / 1_000_000);
                Arc::new(TimestampMicrosecondArray::from(vec![ms.saturating_mul(1000)]).with_timezone("UTC"))
            }
            key => return Err(Error::internal(format!("files have no metadata '{key}'"))),
        };
        Ok(cast(&value, &column.data_type)?)
    };
    columns.iter().map(value).collect()
}

//! Files: csv, JSON lines and Parquet; one file, a folder or a glob; read in parallel, written as folders of parts.
//!
//! ```text
//!   path ──► files in byte order ──► splits (row groups, byte ranges of lines, whole files) ──► readers
//!     └─ looked at again and again (watch), or one file that becomes longer (follow)
//!   rows ──► hidden parts ──stage──► closed, on disk ──commit (merge, ledger)──► [day=../]part-<worker>-<n>.csv
//!                                                                          └──► day=../_SUCCESS when it is complete
//! ```

mod broken;
mod commit;
mod disk;
mod folder;
mod follow;
mod gzip;
mod input;
mod ledger;
mod merge;
mod metadata;
mod moved;
mod options;
mod parquet;
mod part;
mod partition;
mod partition_time;
mod paths;
mod position;
mod reader;
mod rotation;
mod sink;
mod sink_options;
mod source;
mod splits;
mod staged;
mod success;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use rheos_core::Result;
use rheos_core::connector::{Connector, MetadataKey, TableDefinition};
use rheos_core::options::OptionDef;
use rheos_core::sink::Sink;
use rheos_core::source::Source;

pub(crate) use options::{CSV, ON_ERROR, RECORD_SIZE_MAX, decoding, on_error, record_bytes_max, text_format};
pub(crate) use reader::{account, count_records};

/// The connector `filesystem`.
pub(crate) fn connector() -> Arc<dyn Connector> {
    Arc::new(Filesystem)
}

struct Filesystem;

impl Connector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn summary(&self) -> &'static str {
        "Reads csv, JSON lines and Parquet from a file, a folder or a glob, and writes them as a folder of parts."
    }

    fn options(&self) -> Vec<(&'static str, &'static [OptionDef])> {
        vec![
            ("General", options::GENERAL),
            ("Reading", options::SOURCE),
            ("Csv", options::CSV),
            ("Writing", sink_options::SINK),
            ("Parquet", sink_options::PARQUET),
            ("Partitions that are complete", sink_options::PARTITION_COMMIT),
        ]
    }

    fn has_partitions(&self) -> bool {
        true
    }

    fn metadata(&self) -> Vec<MetadataKey> {
        metadata::keys()
    }

    fn infer_schema(&self, table: &TableDefinition) -> Result<Option<SchemaRef>> {
        source::infer_schema(table)
    }

    fn check_options(&self, table: &TableDefinition) -> Result<()> {
        // Files are looked at by source and sink.
        options::FileOptions::try_new(table).map(drop)
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(source::FileSource::try_new(table)?))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn Sink>> {
        Ok(Arc::new(sink::FileSink::try_new(table)?))
    }

    fn letters_sink(&self, table: &TableDefinition) -> Result<Option<Arc<dyn Sink>>> {
        Ok(Some(Arc::new(sink::FileSink::letters(table)?)))
    }
}

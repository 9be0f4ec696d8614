//! A file of a followed folder that is not what its table says, such as one without a declared column: one bad record, so that the
//! files behind it are read.

use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use rheos_core::letters::DeadLetter;
use rheos_core::source::{ReaderContext, SourcePoll, SplitReader};
use rheos_core::{Error, ErrorKind, Result};
use rheos_formats::OnError;

use super::paths::shown;
use super::position::{RowPosition, parse};

/// See the module.
pub(crate) struct BrokenReader {
    reason: String,
    schema: SchemaRef,
    on_error: OnError,
    /// Whether the record has been given.
    told: bool,
    ctx: ReaderContext,
}

impl BrokenReader {
    pub(crate) fn try_new(
        reason: String,
        position: Option<&str>,
        schema: SchemaRef,
        on_error: OnError,
        ctx: ReaderContext,
    ) -> Result<Self> {
        let RowPosition(told) =
            position.map_or(Ok(RowPosition(0)), |text| parse(text, "a file that is one bad record"))?;
        Ok(Self { reason, schema, on_error, told: told > 0, ctx })
    }
}

/// The position of a [`GoneReader`].
pub(super) const GONE: &str = "gone";

/// A reader of a file that was replaced by another.
///
/// Errors: `Corrupt` (R0233) unless nothing of it was read, which is told.
pub(super) fn gone(path: &Path, is_unread: bool, ctx: &ReaderContext) -> Result<Box<dyn SplitReader>> {
    let (what, hint) = match is_unread {
        true => ("and nothing of it is read", "rename files into the folder under names of their own"),
        false => ("when it had been read in part", "put the file that it was back"),
    };
    let message = format!("'{}' was replaced by another file {what}", shown(path));
    let error = Error::new(ErrorKind::Corrupt, 233, message).with_hint(hint);
    if !is_unread {
        return Err(error);
    }
    ctx.warn.tell(&error);
    Ok(Box::new(GoneReader))
}

/// Reads nothing: the file was replaced before anything of it was read.
struct GoneReader;

impl SplitReader for GoneReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        Ok(SourcePoll::Finished)
    }

    fn position(&self) -> String {
        GONE.into()
    }
}

impl SplitReader for BrokenReader {
    fn poll(&mut self) -> Result<SourcePoll> {
        if self.told {
            return Ok(SourcePoll::Finished);
        }
        match self.on_error {
            OnError::Fail => {
                let hint = "take the file out of the folder, or keep bad records: a run whose --state-dir is a folder does, and so \
                            does a query of <table>$errors";
                return Err(Error::user(self.reason.clone()).with_hint(hint));
            }
            OnError::Skip => {
                let note = self.reason.clone();
                self.ctx.counters.add_skipped(1);
                self.ctx.counters.note_skipped(move || note.clone());
            }
            OnError::DeadLetter => {
                let letter = DeadLetter { position: Some(0), reason: self.reason.clone(), raw: vec![] };
                self.ctx.put_letters(vec![letter]);
            }
        }
        self.told = true;
        self.ctx.counters.add_read(1);
        Ok(SourcePoll::Batch(RecordBatch::new_empty(Arc::clone(&self.schema))))
    }

    fn position(&self) -> String {
        RowPosition(u64::from(self.told)).to_string()
    }
}

//! Puts staged parts together: many small ones, one an epoch and worker, become few visible ones.
//!
//! ```text
//!   csv, JSON   bytes behind bytes, compressed or not; all headers but the first are left out
//!   Parquet     row groups behind row groups; small ones are written anew as one
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rheos_core::{Error, ErrorKind, Result};
use rheos_formats::parquet::merge::ParquetMerger;
use xxhash_rust::xxh3::Xxh3Default;

use super::disk;
use super::options::{FileFormat, FileOptions};
use super::paths::shown;
use super::staged::{Attempt, Checksum, Staged, StagedPart};

/// A staged part, and what it is staged with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) staged: &'a Staged,
    pub(crate) part: &'a StagedPart,
}

impl Input<'_> {
    fn order(&self) -> (u64, Option<Attempt>, usize, u64) {
        (self.staged.epoch, self.staged.attempt, self.staged.worker, self.part.n)
    }
}

/// Cuts the parts of one partition into those that become one visible part each. Depends on its arguments alone, whatever
/// their order, so that a repeated commit finds what it has done.
///
/// Parts of different attempts stay apart: the program may have changed between them, and the columns with it.
pub(crate) fn outputs<'a>(mut inputs: Vec<Input<'a>>, part_bytes_max: u64) -> Vec<Vec<Input<'a>>> {
    inputs.sort_by_key(Input::order);
    let mut outputs: Vec<Vec<Input<'a>>> = vec![];
    let mut bytes = 0_u64;
    for input in inputs {
        bytes = bytes.saturating_add(input.part.bytes);
        match outputs.last_mut() {
            Some(output)
                if bytes <= part_bytes_max
                    && output[0].staged.attempt == input.staged.attempt
                    && output[0].staged.suffix == input.staged.suffix =>
            {
                output.push(input);
            }
            _ => {
                bytes = input.part.bytes;
                outputs.push(vec![input]);
            }
        }
    }
    outputs
}

/// The error for a part that is not there, or not as it was staged.
pub(crate) fn disappeared(path: &Path, what: &str) -> Error {
    // A job that was started in another working directory looks for it elsewhere.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let message = format!("the finished part '{}' {what} before it was committed", shown(&path));
    Error::new(ErrorKind::Corrupt, 215, message).with_hint(
        "let one job at a time write to the folder, start it in the same working directory, and leave hidden files alone; put \
         the file back, or start the job without its state",
    )
}

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 256 << 10;

/// Writes the inputs, which lie in `table`, to the file `path`, and that to the disk.
///
/// Errors: `Corrupt` for an input that is missing or was changed.
pub(crate) fn merge(table: &Path, inputs: &[Input<'_>], path: &Path, options: &FileOptions) -> Result<()> {
    let out = disk::create_file(path)?;
    let out = match options.format {
        FileFormat::Text(_) => append_text(table, inputs, path, out)?,
        FileFormat::Parquet => append_row_groups(table, inputs, path, out, options)?,
    };
    disk::sync_file(&out, path)
}

/// Errors: `Corrupt` (R0215) if the part is not there, or is not as long as it was staged.
pub(crate) fn open(table: &Path, input: &Input<'_>) -> Result<File> {
    let path = table.join(input.staged.hidden_name(input.part));
    let opened = disk::step().and_then(|()| File::open(&path)).and_then(|file| Ok((file.metadata()?.len(), file)));
    match opened {
        Ok((length, file)) if length == input.part.bytes => Ok(file),
        Ok((length, _)) => {
            Err(disappeared(&path, &format!("has been changed from {} to {length} bytes", input.part.bytes)))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(disappeared(&path, "has disappeared")),
        Err(e) => Err(Error::io("read", &shown(&path), &e)),
    }
}

/// Reads the part once, and leaves it at its beginning.
///
/// Errors: `Corrupt` (R0215) if the part is not there, or not as it was staged.
pub(crate) fn open_whole(table: &Path, input: &Input<'_>) -> Result<File> {
    copy(table, input, 0, |_| Ok(()))?;
    open(table, input)
}

/// Gives the part's bytes from `from` on, by and by. Errors: as [`open_whole`]; those of `give`.
fn copy(table: &Path, input: &Input<'_>, from: u64, mut give: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let path = table.join(input.staged.hidden_name(input.part));
    let mut file = open(table, input)?;
    let (mut buffer, mut hash, mut at) = (vec![0; COPY_BYTES], Box::<Xxh3Default>::default(), 0);
    loop {
        let n = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("read", &shown(&path), &e)),
        };
        hash.update(&buffer[..n]);
        let passed_over = usize::try_from(from.saturating_sub(at)).unwrap_or(n).min(n);
        give(&buffer[passed_over..n])?;
        at += n as u64;
    }
    match input.part.checksum {
        Some(checksum) if checksum != Checksum(hash.digest()) => {
            Err(disappeared(&path, "has been damaged (its checksum is another one)"))
        }
        _ => Ok(()),
    }
}

fn append_text(table: &Path, inputs: &[Input<'_>], path: &Path, mut out: File) -> Result<File> {
    for (n, input) in inputs.iter().enumerate() {
        let from = if n == 0 { 0 } else { input.part.header_bytes };
        copy(table, input, from, |bytes| out.write_all(bytes).map_err(|e| Error::output("write", &shown(path), &e)))?;
    }
    Ok(out)
}

fn append_row_groups(
    table: &Path,
    inputs: &[Input<'_>],
    path: &Path,
    out: File,
    options: &FileOptions,
) -> Result<File> {
    let out = io::BufWriter::with_capacity(256 << 10, out);
    let mut merger = ParquetMerger::new(out, options.sink.parquet_compression);
    for input in inputs {
        let file = open_whole(table, input)?;
        let name = || format!("'{}'", table.join(input.staged.hidden_name(input.part)).display());
        merger.append(file).map_err(|e| e.context(name()))?;
    }
    let out = merger.finish()?;
    out.into_inner().map_err(|e| Error::output("write", &shown(path), e.error()))
}

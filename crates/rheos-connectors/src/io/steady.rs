//! Files that are read or written from one end to the other, at offsets that are known: what fails for a moment is tried again,
//! and what half an attempt has left is written over.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::patience::Patience;

/// Something that is written at offsets.
pub(crate) trait WriteAt {
    /// See [`FileExt::write_at`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
}

impl WriteAt for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }
}

/// A file that is written.
pub(crate) struct SteadyWriter<F = File> {
    file: F,
    name: String,
    at: u64,
    patience: Patience,
}

impl SteadyWriter {
    /// Makes a file that nobody else has.
    pub(crate) fn create(path: &Path, patience: Patience) -> io::Result<Self> {
        let name = path.display().to_string();
        let mut is_first = true;
        let file = patience.steadily("write", &name, || {
            // An attempt of ours that failed may have made it.
            let is_new = std::mem::take(&mut is_first);
            File::options().write(true).create(true).create_new(is_new).truncate(true).open(path)
        })?;
        Ok(Self { file, name, at: 0, patience })
    }

    /// All of it to the disk. Not tried again but where it was interrupted: what a disk has once failed to take, the system forgets.
    pub(crate) fn sync(self) -> io::Result<()> {
        loop {
            match self.file.sync_all() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

impl<F: WriteAt> Write for SteadyWriter<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (file, at) = (&self.file, self.at);
        let n = self.patience.steadily("write", &self.name, || file.write_at(bytes, at))?;
        self.at += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is read.
pub(crate) struct SteadyReader {
    path: PathBuf,
    name: String,
    file: File,
    about: Metadata,
    at: u64,
    patience: Patience,
}

impl SteadyReader {
    pub(crate) fn open(path: &Path, patience: Patience) -> io::Result<Self> {
        let name = path.display().to_string();
        let (file, about) = patience.steadily("read", &name, || {
            let file = File::open(path)?;
            let about = file.metadata()?;
            Ok((file, about))
        })?;
        Ok(Self { path: path.into(), name, file, about, at: 0, patience })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// As it was when it was opened.
    pub(crate) fn about(&self) -> &Metadata {
        &self.about
    }

    /// [`Read`] goes on there. Only of files with offsets.
    pub(crate) fn skip_to(&mut self, offset: u64) {
        self.at = offset;
    }

    /// Reads at an offset, which only files have.
    pub(crate) fn read_at(&mut self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let Self { path, name, file, about, patience, .. } = self;
        let mut is_stale = false;
        patience.steadily("read", name, || {
            if std::mem::take(&mut is_stale) {
                *file = again(path, about)?;
            }
            let read = file.read_at(bytes, offset);
            is_stale = read.as_ref().is_err_and(|e| e.kind() == ErrorKind::StaleNetworkFileHandle);
            read
        })
    }
}

/// Opens a file once more, of which the server has forgotten that it is open.
fn again(path: &Path, before: &Metadata) -> io::Result<File> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    match (about.dev(), about.ino()) == (before.dev(), before.ino()) {
        true => Ok(file),
        false => Err(io::Error::other("another file has taken its place")),
    }
}

impl Read for SteadyReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // A pipe has no offsets.
        if !self.about.is_file() {
            return self.file.read(bytes);
        }
        let n = self.read_at(bytes, self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use rheos_core::error::Warn;

    use super::*;

    /// A disk that takes a few bytes at a time, and of those that it refuses keeps some.
    #[derive(Default)]
    struct Moody {
        bytes: RefCell<Vec<u8>>,
        calls: RefCell<u32>,
    }

    impl WriteAt for Moody {
        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
            *self.calls.borrow_mut() += 1;
            let (at, call) = (offset as usize, *self.calls.borrow());
            let n = bytes.len().min(1 + call as usize % 5);
            let mut held = self.bytes.borrow_mut();
            if held.len() < at + n {
                held.resize(at + n, 0);
            }
            held[at..at + n].copy_from_slice(&bytes[..n]);
            match call % 3 {
                0 => Err(io::Error::from_raw_os_error(5)),
                1 => Ok(n),
                _ => Err(ErrorKind::Interrupted.into()),
            }
        }
    }

    #[test]
    fn what_half_a_write_has_left_is_written_over() {
        let patience = Patience::new(Warn::default());
        let mut out = SteadyWriter { file: Moody::default(), name: "x".into(), at: 0, patience };
        let text: Vec<u8> = (0..1000_u32).map(|n| (n % 251) as u8).collect();
        text.chunks(37).for_each(|chunk| out.write_all(chunk).unwrap());
        assert_eq!(*out.file.bytes.borrow(), text);
    }

    #[test]
    fn a_file_is_made_once_and_only_by_us() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let patience = Patience::new(Warn::default());
        let mut out = SteadyWriter::create(&path, patience.clone()).unwrap();
        out.write_all(b"rows").unwrap();
        out.sync().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"rows");
        assert_eq!(SteadyWriter::create(&path, patience.clone()).err().unwrap().kind(), ErrorKind::AlreadyExists);
        let mut reader = SteadyReader::open(&path, patience).unwrap();
        reader.skip_to(2);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ws");
    }
}

//! Small files beside the segments: JSON and its checksum, there as a whole or not at all.

use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::Disk;

/// Longer ones are not read, in bytes.
const BYTES_MAX: u64 = 256 << 20;

/// What a file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<T> {
    Nothing,
    /// Its checksum is wrong, or it says something else.
    Damaged,
    Whole(T),
}

/// Puts `content` in the place of what the file says. It is there for good.
pub(crate) fn write(disk: &dyn Disk, path: &Path, content: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(content)?;
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    let temporary = path.with_added_extension("tmp");
    disk.remove(&temporary)?;
    let file = disk.create(&temporary)?;
    file.write_at(&bytes, 0)?;
    file.sync()?;
    disk.rename(&temporary, path)?;
    disk.sync_folder(path.parent().unwrap_or(path))
}

pub(crate) fn read<T: DeserializeOwned>(disk: &dyn Disk, path: &Path) -> io::Result<Found<T>> {
    let file = match disk.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        file => file?,
    };
    let length = file.length_bytes()?;
    if !(4..=BYTES_MAX).contains(&length) {
        return Ok(Found::Damaged);
    }
    let mut bytes = vec![0; length as usize];
    file.read_at(&mut bytes, 0)?;
    let (text, sum) = bytes.split_at(bytes.len() - 4);
    if crc32c::crc32c(text).to_be_bytes() != sum {
        return Ok(Found::Damaged);
    }
    Ok(serde_json::from_slice(text).map_or(Found::Damaged, Found::Whole))
}

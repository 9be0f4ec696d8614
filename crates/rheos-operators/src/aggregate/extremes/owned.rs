//! The values of all groups, one behind the other.
//!
//! ```text
//!   places   group 0 ─► chunk 0 [alpha|beta|....|gamma]        a value that is replaced by one no longer than it is overwritten;
//!            group 1 ─► chunk 1 [delta]                        by a longer one, it is dead until the chunks are written anew
//! ```
//! Where the values lie in one chunk, in the order of their groups, the chunk leaves as it is.

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, GenericByteArray, OffsetSizeTrait};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::ByteArrayType;
use datafusion_common::{Result, exec_datafusion_err, exec_err, internal_err};
use datafusion_expr::{EmitTo, GroupsAccumulator};

use super::{Extreme, counts, memory, states};

/// Room of a chunk: a share of what there is already, within bounds.
const CHUNK_SHARE: usize = 8;
const CHUNK_BYTES_MIN: usize = 4 << 10;
const CHUNK_BYTES_MAX: usize = 4 << 20;
/// Room of the first chunk, at most: as much as left the table last time.
const FIRST_CHUNK_BYTES_MAX: usize = 256 << 20;
/// Bytes that may be dead whatever lives.
const DEAD_BYTES_FREE: usize = 1 << 20;

/// Where a value lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: u32,
    start: u32,
    /// [`NONE`]: no value has come.
    length: u32,
}

const NONE: u32 = u32::MAX;
const NOWHERE: Place = Place { chunk: 0, start: 0, length: NONE };

/// See the module.
#[derive(Debug)]
pub(super) struct Owned<T> {
    extreme: Extreme,
    /// By group.
    places: Vec<Place>,
    chunks: Vec<Vec<u8>>,
    /// In all chunks, also of dead values.
    bytes: usize,
    dead_bytes: usize,
    /// What left the table last time.
    left_bytes: usize,
    values: PhantomData<fn() -> T>,
}

impl<T: ByteArrayType> Owned<T> {
    pub(super) fn new(extreme: Extreme) -> Self {
        let (places, chunks) = (vec![], vec![]);
        Self { extreme, places, chunks, bytes: 0, dead_bytes: 0, left_bytes: 0, values: PhantomData }
    }

    fn value(&self, place: Place) -> &[u8] {
        let start = place.start as usize;
        &self.chunks[place.chunk as usize][start..start + place.length as usize]
    }

    fn set(&mut self, group: usize, value: &[u8]) -> Result<()> {
        let place = self.places[group];
        let length = match u32::try_from(value.len()) {
            Ok(length) if length != NONE => length,
            _ => return exec_err!("a value of {} bytes is too long for min and max", value.len()),
        };
        if place.length != NONE && length <= place.length {
            let start = place.start as usize;
            self.chunks[place.chunk as usize][start..start + value.len()].copy_from_slice(value);
            self.dead_bytes += (place.length - length) as usize;
            self.places[group].length = length;
            return Ok(());
        }
        if place.length != NONE {
            self.dead_bytes += place.length as usize;
        }
        self.places[group] = self.append(value, length)?;
        Ok(())
    }

    fn append(&mut self, value: &[u8], length: u32) -> Result<Place> {
        let has_room = |chunk: &Vec<u8>| chunk.capacity() - chunk.len() >= value.len();
        if !self.chunks.last().is_some_and(has_room) {
            let usual = match self.chunks.is_empty() {
                true => (self.left_bytes + self.left_bytes / CHUNK_SHARE).min(FIRST_CHUNK_BYTES_MAX),
                false => (self.bytes / CHUNK_SHARE).min(CHUNK_BYTES_MAX),
            };
            self.chunks.push(memory::with_room(usual.max(CHUNK_BYTES_MIN).max(value.len())));
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        let (Ok(at), Ok(start)) = (u32::try_from(number), u32::try_from(chunk.len())) else {
            return internal_err!("a chunk of values is beyond its bounds");
        };
        chunk.extend_from_slice(value);
        self.bytes += value.len();
        Ok(Place { chunk: at, start, length })
    }

    /// Writes the living values anew, once as much is dead as lives.
    fn compact(&mut self) -> Result<()> {
        if self.dead_bytes <= DEAD_BYTES_FREE.max(self.bytes / 2) {
            return Ok(());
        }
        let chunks = std::mem::take(&mut self.chunks);
        (self.bytes, self.dead_bytes) = (0, 0);
        for group in 0..self.places.len() {
            let place = self.places[group];
            if place.length != NONE {
                let start = place.start as usize;
                let value = &chunks[place.chunk as usize][start..start + place.length as usize];
                self.places[group] = self.append(value, place.length)?;
            }
        }
        Ok(())
    }

    /// The values of the first groups, which leave.
    fn take(&mut self, groups: usize) -> Result<ArrayRef> {
        let rest = self.places.split_off(groups.min(self.places.len()));
        let places = std::mem::replace(&mut self.places, rest);
        let of = |place: &Place| if place.length == NONE { 0 } else { place.length as usize };
        let offsets = offsets::<T::Offset>(places.iter().map(of))?;
        let bytes = places.iter().map(of).sum::<usize>();
        let nulls = places.iter().any(|p| p.length == NONE);
        let nulls = nulls.then(|| NullBuffer::from_iter(places.iter().map(|p| p.length != NONE)));
        let values = match self.places.is_empty() {
            true => self.take_chunk(&places, bytes),
            false => None,
        };
        let values = values.unwrap_or_else(|| {
            let mut values = memory::with_room(bytes);
            let found = places.iter().filter(|p| p.length != NONE);
            found.for_each(|place| values.extend_from_slice(self.value(*place)));
            values
        });
        if self.places.is_empty() {
            self.chunks.clear();
            (self.bytes, self.dead_bytes, self.left_bytes) = (0, 0, bytes);
        } else {
            self.dead_bytes += bytes;
            self.compact()?;
        }
        Ok(Arc::new(GenericByteArray::<T>::try_new(offsets, memory::leave(values), nulls)?))
    }

    /// The one chunk, if it holds the values of these groups as they are wanted and nothing else.
    fn take_chunk(&mut self, places: &[Place], bytes: usize) -> Option<Vec<u8>> {
        let mut at = 0;
        for place in places.iter().filter(|p| p.length != NONE && p.length > 0) {
            if place.chunk != 0 || place.start as usize != at {
                return None;
            }
            at += place.length as usize;
        }
        let chunk = self.chunks.first_mut().filter(|chunk| chunk.len() == bytes)?;
        // What is not used would count for whoever gives credit by memory.
        (chunk.capacity() / 2 <= bytes).then(|| std::mem::take(chunk))
    }
}

/// Where values of such lengths begin and end. Errors: more bytes than the type of the column can count.
fn offsets<O: OffsetSizeTrait>(lengths: impl Iterator<Item = usize>) -> Result<OffsetBuffer<O>> {
    let mut ends = vec![O::zero()];
    let mut end = 0_usize;
    for length in lengths {
        end += length;
        let end = O::from_usize(end)
            .ok_or_else(|| exec_datafusion_err!("the values of min or max are too long for one column"))?;
        ends.push(end);
    }
    Ok(OffsetBuffer::new(ScalarBuffer::from(ends)))
}

impl<T: ByteArrayType> GroupsAccumulator for Owned<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = values[0].as_bytes::<T>();
        self.places.resize(total_num_groups.max(self.places.len()), NOWHERE);
        for (row, group) in group_indices.iter().enumerate() {
            if !counts(values, opt_filter, row) {
                continue;
            }
            let (new, place): (&[u8], Place) = (values.value(row).as_ref(), self.places[*group]);
            if place.length == NONE || self.extreme.is_beyond(new, self.value(place)) {
                self.set(*group, new)?;
            }
        }
        self.compact()
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        match emit_to {
            EmitTo::All => self.take(self.places.len()),
            EmitTo::First(groups) => self.take(groups),
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        states(&values[0], opt_filter)
    }

    fn size(&self) -> usize {
        self.bytes + self.places.len() * size_of::<Place>()
    }
}

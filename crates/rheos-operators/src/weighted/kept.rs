//! One row of each group, of input that nothing is taken away from: the first or last to come, or the smallest or largest.
//!
//! `min`, `max`, `any_value` (the smallest: which one it is then depends on the rows alone), `first_value` and `last_value`. A
//! row is kept as bytes that are ordered as the rows are.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, SortField};
use rheos_core::Result;

use super::columns::{Columns, Pick};
use super::rows::Rows;
use super::{Accumulate, spread};
use crate::evaluation::coerce;

/// See the module.
#[derive(Debug)]
pub(super) struct Kept {
    columns: Columns,
    converter: RowConverter,
    pick: Pick,
    /// Of the columns, the one that is given out.
    result: usize,
    /// By group; `None`: no row yet.
    rows: Vec<Option<Vec<u8>>>,
}

impl Kept {
    /// `result`: which of the columns is given out.
    pub(super) fn try_new(columns: Columns, pick: Pick, result: usize) -> Result<Self> {
        let fields = columns.types.iter().map(|(t, options)| SortField::new_with_options(t.clone(), *options));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Self { columns, converter, pick, result, rows: vec![] })
    }

    fn decoded(&self, slots: &[u32]) -> Result<(Vec<ArrayRef>, BooleanArray)> {
        let kept: Vec<Option<&Vec<u8>>> =
            slots.iter().map(|slot| self.rows.get(*slot as usize).and_then(Option::as_ref)).collect();
        let parser = self.converter.parser();
        let found = self.converter.convert_rows(kept.iter().flatten().map(|row| parser.parse(row)))?;
        let there: Vec<bool> = kept.iter().map(Option::is_some).collect();
        let columns = found.into_iter().zip(&self.columns.types);
        let columns = columns.map(|(column, (data_type, _))| coerce(spread(&column, &there)?, data_type));
        Ok((columns.collect::<Result<_>>()?, BooleanArray::from(there)))
    }
}

impl Accumulate for Kept {
    fn update(&mut self, rows: &Rows) -> Result<()> {
        if self.rows.len() < rows.slots_end {
            self.rows.resize(rows.slots_end, None);
        }
        let columns = self.columns.of(rows.arguments);
        let mask = rows.complete(self.columns.complete.iter().map(|at| &columns[*at]));
        let encoded = self.converter.convert_columns(&columns)?;
        let (kept, pick) = (&mut self.rows, self.pick);
        rows.each(mask.as_ref(), |row, slot, _| {
            let (row, kept) = (encoded.row(row).data(), &mut kept[slot]);
            let Some(kept) = kept else {
                *kept = Some(row.to_vec());
                return;
            };
            let takes_place = match pick {
                Pick::First => false,
                Pick::Last => true,
                Pick::Smallest => row < kept.as_slice(),
                Pick::Largest => row > kept.as_slice(),
            };
            if takes_place {
                kept.clear();
                kept.extend_from_slice(row);
            }
        });
        Ok(())
    }

    fn evaluate(&mut self, slots: &[u32]) -> Result<ArrayRef> {
        Ok(self.decoded(slots)?.0.swap_remove(self.result))
    }

    fn clear(&mut self, slots: &[u32]) {
        for slot in slots {
            if let Some(row) = self.rows.get_mut(*slot as usize) {
                *row = None;
            }
        }
    }

    fn state_fields(&self) -> Vec<Field> {
        let columns = self.columns.types.iter().enumerate();
        let mut fields: Vec<Field> =
            columns.map(|(i, (t, _))| Field::new(format!("kept{i}"), t.clone(), true)).collect();
        fields.push(Field::new("there", DataType::Boolean, false));
        fields
    }

    fn state(&mut self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let (mut columns, there) = self.decoded(slots)?;
        columns.push(Arc::new(there));
        Ok(columns)
    }

    fn restore(&mut self, state: &[ArrayRef], slots: &[u32], slots_end: usize) -> Result<()> {
        self.rows.resize(self.rows.len().max(slots_end), None);
        let width = self.columns.types.len();
        let there = state[width].as_boolean();
        let encoded = self.converter.convert_columns(&state[..width])?;
        for (row, slot) in slots.iter().enumerate() {
            self.rows[*slot as usize] = there.value(row).then(|| encoded.row(row).data().to_vec());
        }
        Ok(())
    }

    fn size(&self) -> usize {
        self.rows.capacity() * size_of::<Option<Vec<u8>>>()
            + self.rows.iter().flatten().map(Vec::capacity).sum::<usize>()
    }
}

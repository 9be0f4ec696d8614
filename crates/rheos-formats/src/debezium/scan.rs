//! Lines of changes into the cells of a tape: the row before, the row after, what has happened.
//!
//! What stands in an envelope is moved to where it stands without one, so that all that follows knows one shape.

use arrow::datatypes::{DataType, Field, Fields};

use crate::bad::{BadKind, Fault};
use crate::cell::{Cell, CellKind, Slot};
use crate::json::rows::JsonScanner;

/// The parts of a line, by their places in [`parts`].
pub(crate) const BEFORE: usize = 0;
pub(crate) const AFTER: usize = 1;
pub(crate) const OPERATION: usize = 2;
const PAYLOAD: usize = 3;

/// What has happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// It is there now: `c` and `r`.
    Insert,
    Update,
    Delete,
}

impl Operation {
    fn of(text: &[u8]) -> Option<Self> {
        match text {
            b"c" | b"r" => Some(Self::Insert),
            b"u" => Some(Self::Update),
            b"d" => Some(Self::Delete),
            _ => None,
        }
    }

    /// Of a cell that [`DebeziumScanner::scan`] has let pass.
    pub(crate) fn of_cell(cell: Cell, data: &[u8]) -> Self {
        Self::of(cell.bytes(data)).unwrap_or(Self::Insert)
    }

    pub(crate) fn has_after(self) -> bool {
        self != Self::Delete
    }
}

/// The parts of a line, for a table with these columns. What is missing in a row is looked at later.
pub(crate) fn parts(columns: &Fields) -> Fields {
    let columns: Fields = columns.iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let change = vec![
        Field::new("before", DataType::Struct(columns.clone()), true),
        Field::new("after", DataType::Struct(columns), true),
        Field::new("op", DataType::Utf8, true),
    ];
    let payload = Field::new("payload", DataType::Struct(change.clone().into()), true);
    change.into_iter().chain([payload]).collect()
}

/// A line that has been looked at.
pub(crate) enum Scanned {
    Change,
    /// Nothing has happened to a row.
    Nothing,
}

/// Puts the parts of lines into the columns of a tape.
#[derive(Debug)]
pub(crate) struct DebeziumScanner {
    json: JsonScanner,
    /// Of [`parts`].
    slots: Vec<Slot>,
    needs_before: bool,
}

impl DebeziumScanner {
    /// `slots`: of `parts`, from [`Slot::nested`].
    pub(crate) fn new(parts: &Fields, slots: &[Slot], needs_before: bool) -> Self {
        Self { json: JsonScanner::new(parts, slots), slots: slots.to_vec(), needs_before }
    }

    /// Fills `cells`, which are null, with the change in `data[start..end]`.
    pub(crate) fn scan(
        &mut self,
        data: &[u8],
        start: usize,
        end: usize,
        cells: &mut [Cell],
    ) -> Result<Scanned, Box<Fault>> {
        if data[start..end].trim_ascii() == b"null" {
            return Ok(Scanned::Nothing);
        }
        self.json.scan(data, start, end, cells)?;
        let fault = |reason: &str| Err(Box::new(Fault::new(BadKind::Change, reason, &data[start..end])));
        match cells[self.slots[PAYLOAD].at].kind {
            CellKind::Object => self.take_out(cells),
            CellKind::Null => {}
            _ => return fault("its 'payload' is no object"),
        }
        let part = |part: usize| cells[self.slots[part].at];
        let (operation, before, after) = (part(OPERATION), part(BEFORE).kind, part(AFTER).kind);
        if (operation.kind, before, after) == (CellKind::Null, CellKind::Null, CellKind::Null) {
            return match is_envelope(data, start, end) {
                true => Ok(Scanned::Nothing),
                false => fault("it is no change of Debezium: it has no 'op'"),
            };
        }
        let known = Some(operation).filter(|o| o.kind == CellKind::Text).and_then(|o| Operation::of(o.bytes(data)));
        match (known, operation.bytes(data)) {
            (Some(Operation::Insert | Operation::Update), _) if after != CellKind::Object => {
                fault("it has no row 'after' the change")
            }
            (Some(Operation::Update), _) if self.needs_before && before != CellKind::Object => {
                fault("it has no row 'before' the change, and the table has no primary key")
            }
            (Some(Operation::Delete), _) if before != CellKind::Object => fault("it has no row 'before' the change"),
            (Some(_), _) => Ok(Scanned::Change),
            (None, b"t") => fault("that all rows are gone (op 't', TRUNCATE) is not supported"),
            (None, b"m") => fault("it is a message (op 'm') and no change of a row"),
            (None, _) => fault("its 'op' is none of c, r, u, d"),
        }
    }

    /// Moves what stands in the payload to where it stands without an envelope.
    fn take_out(&self, cells: &mut [Cell]) {
        for (to, from) in self.slots.iter().zip(&self.slots[PAYLOAD].inside) {
            cells[to.at] = cells[from.at];
            cells.copy_within(from.range.clone(), to.range.start);
        }
    }
}

/// Whether a line is an envelope without a change in it: a payload that is null.
fn is_envelope(data: &[u8], start: usize, end: usize) -> bool {
    let mut has_payload = false;
    let found = crate::json::scan::object(data, start, end, |key, _| has_payload |= key.bytes(data) == b"payload");
    found.is_ok() && has_payload
}

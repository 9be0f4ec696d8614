//! JSON lines into the cells of a tape, ROW values into the cells of their fields, in one pass.
//!
//! ```text
//!   {"a":1,"r":{"x":2,"y":[3]}}      a Plain 1 | r Object {..} | x Plain 2 | y Json [3]
//! ```
//!
//! A ROW value that is no object, or a broken one, keeps its text (any kind but `Object`): the decoder of its column says
//! what is wrong with it. Fields that nobody wants are passed over.

use arrow::datatypes::{DataType, Fields};

use super::keys::{Keys, Values};
use super::scan::{Broken, Scan};
use crate::bad::{BadKind, Fault};
use crate::cell::{Cell, CellKind, Slot};

/// Puts the values of JSON lines into the columns of a tape.
#[derive(Debug)]
pub(crate) struct JsonScanner {
    object: Object,
}

impl JsonScanner {
    /// `slots`: of `fields`, from [`Slot::nested`].
    pub(crate) fn new(fields: &Fields, slots: &[Slot]) -> Self {
        Self { object: Object::new(fields, slots) }
    }

    /// Fills `cells`, which are null, with the line `data[start..end]`.
    pub(crate) fn scan(&mut self, data: &[u8], start: usize, end: usize, cells: &mut [Cell]) -> Result<(), Box<Fault>> {
        let mut s = Scan::new(data, start, end);
        self.object.read(&mut s, cells).and_then(|()| s.done()).map_err(|broken| {
            Box::new(Fault::new(BadKind::Syntax, format!("the line is not valid JSON: {broken}"), &data[start..end]))
        })
    }
}

/// The wanted fields of an object.
#[derive(Debug)]
struct Object {
    keys: Keys,
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    slot: Slot,
    /// For a ROW.
    inside: Option<Object>,
}

impl Object {
    fn new(fields: &Fields, slots: &[Slot]) -> Self {
        let keys = Keys::new(fields.iter().map(|f| f.name().as_str()));
        let fields = fields.iter().zip(slots).map(|(field, slot)| {
            let inside = match field.data_type() {
                DataType::Struct(children) => Some(Object::new(children, &slot.inside)),
                _ => None,
            };
            Field { slot: slot.clone(), inside }
        });
        Self { keys, fields: fields.collect() }
    }

    fn read(&mut self, s: &mut Scan<'_>, cells: &mut [Cell]) -> Result<(), Broken> {
        self.keys.read(s, &mut Row { fields: &mut self.fields, cells })
    }
}

/// The cells of a row, for one object in it.
struct Row<'a> {
    fields: &'a mut [Field],
    cells: &'a mut [Cell],
}

impl Values for Row<'_> {
    fn set(&mut self, data: &[u8], column: usize, cell: Cell) {
        if self.fields[column].inside.is_none() || cell.kind != CellKind::Json {
            self.put(column, cell);
            return;
        }
        let mut s = Scan::new(data, cell.start as usize, cell.end as usize);
        // What was passed over once can be passed over again.
        let _ = self.read(&mut s, column);
    }

    #[inline]
    fn read(&mut self, s: &mut Scan<'_>, column: usize) -> Result<(), Broken> {
        if self.fields[column].inside.is_some() {
            s.space();
            if s.peek() == Some(b'{') {
                return self.read_object(s, column);
            }
        }
        let cell = s.value()?;
        self.put(column, cell);
        Ok(())
    }
}

impl Row<'_> {
    #[inline]
    fn put(&mut self, column: usize, cell: Cell) {
        let slot = &self.fields[column].slot;
        forget(slot, self.cells);
        self.cells[slot.at] = cell;
    }

    fn read_object(&mut self, s: &mut Scan<'_>, column: usize) -> Result<(), Broken> {
        let start = s.at;
        let field = &mut self.fields[column];
        let Some(inside) = &mut field.inside else { return Ok(()) };
        forget(&field.slot, self.cells);
        s.depth += 1;
        let read = inside.read(s, self.cells);
        s.depth -= 1;
        let cell = match read {
            Ok(()) => Cell::new(start, s.at, CellKind::Object),
            Err(_) => {
                self.cells[field.slot.range.clone()].fill(Cell::NULL);
                s.at = start;
                s.skip_nested()?
            }
        };
        self.cells[field.slot.at] = cell;
        Ok(())
    }
}

/// An earlier value of the same key counts no more, nor does what is inside of it.
#[inline]
fn forget(slot: &Slot, cells: &mut [Cell]) {
    if cells[slot.at].kind != CellKind::Null {
        cells[slot.range.clone()].fill(Cell::NULL);
    }
}

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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::RecordBatch;
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Field, Schema, SchemaRef, TimeUnit};
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::{DecodeLimits, Decoded, InputRange, OnError, TextDecoder, TextFormat};

    fn schema() -> SchemaRef {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let inner = DataType::Struct(vec![field("y", DataType::Utf8), field("t", TS)].into());
        let row =
            [field("x", DataType::Int64), field("s", inner), field("l", DataType::new_list(DataType::Int64, true))];
        Arc::new(Schema::new(vec![field("a", DataType::Int64), field("r", DataType::Struct(row.to_vec().into()))]))
    }

    const TS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

    /// The good rows, how many are bad, and what is said of the first of those.
    fn decode(input: &[u8], cut: usize) -> (RecordBatch, u64, Option<String>) {
        let limits = DecodeLimits { batch_rows: 5, record_bytes_max: 1 << 20, on_error: OnError::Skip };
        let range = InputRange::default();
        let mut decoder = TextDecoder::try_new(&TextFormat::Json, &schema(), &[0, 1], limits, range).unwrap();
        let mut chunks = input.chunks(cut);
        let mut batches = vec![];
        loop {
            match decoder.decode().unwrap() {
                Decoded::Batch(batch) => batches.push(batch),
                Decoded::NeedInput => match chunks.next() {
                    Some(chunk) => drop(decoder.push_buffer([b"\n\n\n\n", chunk].concat(), 4)),
                    None => decoder.finish(),
                },
                Decoded::End => break,
            }
        }
        let bad = decoder.take_first_skipped().map(|bad| bad.message("x", 0));
        (concat_batches(&schema(), &batches).unwrap(), decoder.take_skipped(), bad)
    }

    fn text_of(batch: &RecordBatch) -> Vec<Value> {
        let mut text = vec![];
        crate::json::write::write_rows(batch, &mut text).unwrap();
        text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| serde_json::from_slice(l).unwrap()).collect()
    }

    /// An entry of an object: key and value as they are written, mostly good ones.
    fn entry() -> impl Strategy<Value = String> {
        let key = prop::sample::select(vec!["x", "x", "s", "s", "l", "y", "y", "t", "X", "S", "Y", "other", "\\u0078"]);
        let scalars = vec![
            "1",
            "-20",
            "null",
            "12345678901",
            "0",
            "true",
            "1.5",
            "01",
            "tru",
            "\"\"",
            "\"é\"",
            "\"a\\n\"",
            "\"2024-02-29 10:11:12.5\"",
            "\"2024-02-30 10:11:12\"",
            "\"b\\x\"",
            "[]",
            "[1, null,3]",
            "[1}",
            "[1 2]",
            "{}",
            "{\"z\":[{}]}",
            "\"a long text, of more than the bytes of three words\"",
        ];
        let inner = prop::collection::vec((prop::sample::select(vec!["y", "t", "Y", "z"]), 0..scalars.len()), 0..4);
        let separator = prop::sample::select(vec![":", ":", ": ", " :\t"]);
        let all = scalars.clone();
        let inner = inner.prop_map(move |entries| {
            let entries: Vec<String> = entries.into_iter().map(|(k, v)| format!("\"{k}\":{}", all[v])).collect();
            format!("{{{}}}", entries.join(","))
        });
        let value = prop_oneof![prop::sample::select(scalars).prop_map(String::from), inner];
        (key, separator, value).prop_map(|(key, separator, value)| format!("\"{key}\"{separator}{value}"))
    }

    fn object() -> impl Strategy<Value = String> {
        let separator = prop::sample::select(vec![",", ",", ",", " , "]);
        (prop::collection::vec(entry(), 0..6), separator)
            .prop_map(|(e, separator)| format!("{{{}}}", e.join(separator)))
    }

    proptest! {
        /// An object that stands in a text is decoded on another way, which takes whole columns apart.
        #[test]
        fn an_object_is_what_the_text_of_it_is(objects in prop::collection::vec(object(), 1..12), cut in 1usize..200) {
            let lines = |value: &dyn Fn(&str) -> String| {
                let lines = objects.iter().enumerate().map(|(n, o)| format!("{{\"a\":{n},\"r\":{}}}\n", value(o)));
                lines.collect::<String>().into_bytes()
            };
            let (direct, direct_bad, _) = decode(&lines(&|o| o.to_string()), cut);
            let (text, text_bad, _) = decode(&lines(&|o| Value::from(o).to_string()), cut);
            prop_assert_eq!(direct, text);
            prop_assert_eq!(direct_bad, text_bad);
        }

        /// serde_json finds the same values, where each key is there once and everything fits.
        #[test]
        fn good_lines_are_what_serde_reads(
            rows in prop::collection::vec((
                prop::option::of(any::<i64>()), prop::option::of(any::<i64>()), prop::option::of("[a\"\\\\é\n]{0,30}"),
                prop::option::of(prop::collection::vec(any::<i64>(), 0..3)), any::<[bool; 6]>(),
            ), 1..12),
            cut in 1usize..200, pretty: bool,
        ) {
            let mut input = vec![];
            let mut want = vec![];
            for (a, x, y, l, [has_r, has_s, has_x, has_y, flip, more]) in rows {
                let entries = |mut entries: Vec<(&str, Option<Value>)>| {
                    if flip {
                        entries.reverse();
                    }
                    let there = entries.into_iter().filter_map(|(k, v)| Some((k.to_string(), v?)));
                    there.collect::<Vec<_>>()
                };
                let write = |entries: &[(String, Value)]| {
                    let (colon, comma) = if pretty { (": ", ", ") } else { (":", ",") };
                    let entries = entries.iter().map(|(k, v)| format!("\"{k}\"{colon}{}", v.as_str().unwrap_or_default()));
                    format!("{{{}}}", entries.collect::<Vec<_>>().join(comma))
                };
                // Values as text, so that the order of the keys is ours.
                let raw = |value: Value| Some(Value::from(value.to_string()));
                let more = || more.then(|| Value::from("{\"q\":[\"}\",1]}"));
                let s = write(&entries(vec![("y", has_y.then(|| raw(y.clone().into())).flatten()), ("u", more())]));
                let s = if has_s { s } else { "null".into() };
                let r = write(&entries(vec![
                    ("o", more()), ("x", has_x.then(|| raw(x.into())).flatten()), ("s", Some(s.clone().into())),
                    ("l", raw(l.clone().into())),
                ]));
                let r = if has_r { r } else { "null".into() };
                let line = write(&entries(vec![("a", raw(a.into())), ("p", more()), ("r", Some(r.into()))]));
                let read: Map<String, Value> = serde_json::from_str(&line).unwrap();
                let get = |object: &Value, key: &str| object.get(key).cloned().unwrap_or(Value::Null);
                let (a, r) = (read["a"].clone(), &read["r"]);
                let mut row = Value::Null;
                if r.is_object() {
                    let s = get(r, "s");
                    let s = if s.is_object() { serde_json::json!({"y": get(&s, "y"), "t": null}) } else { s };
                    row = serde_json::json!({"x": get(r, "x"), "s": s, "l": get(r, "l")});
                }
                want.push(serde_json::json!({"a": a, "r": row}));
                input.extend(line.into_bytes());
                input.extend(b"\r\n");
            }
            let (batch, bad, _) = decode(&input, cut);
            prop_assert_eq!(bad, 0);
            prop_assert_eq!(text_of(&batch), want);
        }
    }

    #[test]
    fn the_last_of_two_objects_counts_and_says_what_is_wrong() {
        let rows = |input: &str| text_of(&decode(input.as_bytes(), 1000).0);
        let want = |r: Value| vec![serde_json::json!({"a": null, "r": r})];
        let object = serde_json::json!({"x": null, "s": {"y": "b", "t": null}, "l": null});
        assert_eq!(rows(r#"{"r":{"x":1,"s":{"y":"a"}},"r":{"s":{"y":"b"}}}"#), want(object.clone()));
        assert_eq!(
            rows(r#"{"r":{"x":1,"s":{"y":"a"},"s":{"y":"b"}},"R":5,"r":{"s":{"y":"b"}}}"#),
            want(object.clone())
        );
        assert_eq!(rows(r#"{"R":{"s":{"y":"b"}}}"#), want(object));
        assert_eq!(rows(r#"{"r":{"x":1},"r":null}"#), want(Value::Null));
        for (line, reason) in [
            (r#"{"r":{"x":1,}}"#, "line 1, column 'r': the value is not a JSON object: {\"x\":1,}"),
            (r#"{"r":{"x":1}"#, "line 1: the line is not valid JSON: a comma or a closing brace is missing"),
            (r#"{"r":{"x":[1}}}"#, "line 1: the line is not valid JSON: its brackets do not match"),
            (r#"{"R":{"x":tru}}"#, "line 1, column 'r': the value is not a JSON object: {\"x\":tru}"),
            (r#"{"r":{"x":"1"#, "line 1: the line is not valid JSON: a string is not closed"),
        ] {
            let bad = decode(line.as_bytes(), 1000).2.unwrap();
            assert!(bad.contains(reason), "{line}: {bad}");
        }
        let deep = |n| format!("{{\"r\":{{\"z\":{}{}}}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!((decode(deep(127).as_bytes(), 1000).1, decode(deep(128).as_bytes(), 1000).1), (0, 1));
    }
}

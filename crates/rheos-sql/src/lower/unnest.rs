//! `UNNEST`: lists become rows, structs become columns.

use std::sync::Arc;

use datafusion_expr::logical_plan::Unnest;
use rheos_core::error::{Error, Result};
use rheos_operators::{UnnestOutput, UnnestSpec, plan};

use super::Lowering;
use super::stream::{Slot, Stream, unique};

impl Lowering<'_> {
    pub(super) fn unnest(&mut self, unnest: &Unnest) -> Result<Stream> {
        let stream = self.lower(&unnest.input)?;
        let stream = self.assigned(stream)?;
        let stream = self.compact(stream)?;
        let stream = self.settled(stream, "UNNEST")?;
        let names = unique(unnest.schema.fields().iter().map(|f| f.name().clone()));
        let (mut outputs, mut window_columns) = (vec![], vec![]);
        let mut at = 0;
        while let Some(from) = unnest.dependency_indices.get(at) {
            let Some(Slot::Column(column)) = stream.slots.get(*from).copied() else {
                return Err(Error::internal("a column that is unnested is not in the rows"));
            };
            let depths: Vec<_> = unnest.list_type_columns.iter().filter(|(list, _)| list == from).collect();
            let of_input = unnest.dependency_indices[at..].iter().take_while(|d| *d == from).count();
            let named = |n: usize| names[at..at + n].to_vec();
            if unnest.struct_type_columns.contains(from) {
                outputs.push(UnnestOutput::Struct { column, names: named(of_input) });
                at += of_input;
                continue;
            }
            if depths.is_empty() {
                window_columns.extend(stream.window_column(*from).map(|w| (at, w)));
                outputs.push(UnnestOutput::Column(column));
                at += 1;
                continue;
            }
            for ((_, list), name) in depths.iter().zip(named(depths.len())) {
                outputs.push(UnnestOutput::List { column, depth: list.depth, name });
            }
            at += depths.len();
        }
        let spec = UnnestSpec {
            input: Arc::clone(&stream.schema),
            outputs,
            null_handling: unnest.options.null_handling,
            ordinality: None,
        };
        let (node, schema) = plan::unnest(self.graph, stream.node, spec)?;
        Ok(Stream { window_columns, window_length: stream.window_length, ..Stream::plain(node, schema) })
    }
}

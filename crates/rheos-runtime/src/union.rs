//! Inputs put together under one schema.
//!
//! A column that may be null in any input may be null in the union, so a batch of an input in which it never is says more
//! than the union promises. Who puts several batches together takes the schema of the first, so all have to say the same.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use rheos_core::{Batch, Error};
use timely::container::NoopBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use crate::channel::Packet;
use crate::job::{JobShared, Packets};
use crate::time::EpochTime;

/// The batches of `stream` under `schema`, which differs from theirs in names and in what may be null only.
pub(crate) fn under<'scope>(stream: Packets<'scope>, schema: SchemaRef, shared: &Arc<JobShared>) -> Packets<'scope> {
    let mut builder = OperatorBuilder::new("union".into(), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (output, stream) = builder.new_output::<Packet>();
    let mut output: OutputBuilder<EpochTime, NoopBuilder<Packet>> = OutputBuilder::from(output);
    let shared = Arc::clone(shared);
    builder.build(move |capabilities| {
        drop(capabilities);
        move |_| {
            let mut session = output.activate();
            input.for_each(|cap, packet| {
                let Some(Batch { records, ticket }) = packet.0.take() else { return };
                match relabelled(records, &schema) {
                    Ok(records) => {
                        let mut packet = Packet::new(Batch::new(records, ticket));
                        session.session_with_builder(&cap).give_container(&mut packet);
                    }
                    Err(error) => shared.control.fail(error),
                }
            });
        }
    });
    stream
}

fn relabelled(records: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, Error> {
    let told = |error| Error::internal(format!("an input of a union does not fit it: {error}"));
    let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), records.columns().to_vec(), &options).map_err(told)
}

//! The Timely operator of a sink: one writer a worker.
//!
//! Its output carries no rows; the capability on it says how far the writer has got, and the job's probe listens to it.
//! At an epoch's end the writer stages; the committables are the sink's part of the epoch.

use std::rc::Rc;
use std::sync::Arc;

use rheos_core::credit::Wake;
use rheos_core::sink::{EpochEnd, Sink, SinkWriter, Staging, WriterContext};
use rheos_core::time::Watermark;
use rheos_core::{Exchange, NodeId, Result};
use timely::dataflow::Scope;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;

use crate::channel::Packet;
use crate::intake::Intake;
use crate::job::{JobShared, Packets, connect};
use crate::parts::WorkerParts;
use crate::time::EpochTime;

pub(crate) fn build<'scope>(
    scope: Scope<'scope, EpochTime>,
    node: NodeId,
    stream: Packets<'scope>,
    exchange: Exchange,
    sink: Arc<dyn Sink>,
    shared: &Arc<JobShared>,
    parts: &Rc<WorkerParts>,
) -> Packets<'scope> {
    let mut builder = OperatorBuilder::new(format!("sink-{}", node.0), scope);
    let address = builder.operator_info().address;
    let sync = scope.worker().sync_activator_for(address.to_vec());
    let wake: Wake = Arc::new(move || {
        let _ = sync.activate();
    });
    let mut drain = connect(&mut builder, stream, &exchange, shared);
    let (_output, progress) = builder.new_output::<Packet>();
    let worker = scope.index();
    let (shared, parts) = (Arc::clone(shared), Rc::clone(parts));
    parts.register(node, shared.operator(node));
    builder.build(move |mut capabilities| {
        let workers = shared.config.parallelism;
        let claim = &shared.beginning.claim;
        let (generation, first) = (claim.generation, claim.first_epoch);
        let staging = if shared.config.state.is_some() { Staging::EveryEpoch } else { Staging::WhenComplete };
        capabilities.iter_mut().for_each(|c| c.downgrade(&EpochTime::new(first, Watermark::MIN)));
        let input = shared.graph.node(node).inputs.first();
        let key = input.and_then(|edge| shared.graph.node(edge.from).key.clone());
        let mut operator = match sink.open(WriterContext { worker, workers, generation, staging, key, wake }) {
            Ok(writer) => Some(SinkOperator {
                node,
                writer,
                intake: Intake::new(first),
                staging: None,
                watermark: Watermark::MIN,
                capability: capabilities.pop().expect("there is one output"),
                shared: Arc::clone(&shared),
                parts,
            }),
            Err(error) => {
                shared.control.fail(error);
                None
            }
        };
        move |frontiers: &[MutableAntichain<EpochTime>]| {
            drain(&mut |time, packet| {
                if let (Some(operator), Some(batch)) = (&mut operator, packet.0) {
                    operator.intake.accept(0, time, batch);
                }
            });
            let Some(running) = &mut operator else { return };
            match running.run(frontiers) {
                Ok(true) => {}
                Ok(false) => operator = None,
                Err(error) => {
                    running.shared.control.fail(error);
                    operator = None;
                }
            }
        }
    });
    progress
}

struct SinkOperator {
    node: NodeId,
    writer: Box<dyn SinkWriter>,
    intake: Intake,
    staging: Option<EpochEnd>,
    watermark: Watermark,
    capability: Capability<EpochTime>,
    shared: Arc<JobShared>,
    parts: Rc<WorkerParts>,
}

impl SinkOperator {
    /// `false`: the sink is done.
    fn run(&mut self, frontiers: &[MutableAntichain<EpochTime>]) -> Result<bool> {
        loop {
            if let Some(end) = self.staging {
                let epoch = self.intake.epoch();
                let Some(committables) = self.writer.stage(epoch, end)? else { return Ok(true) };
                self.parts.staged(self.node, epoch, committables);
                self.staging = None;
                if end == EpochEnd::Last {
                    self.parts.close_all(self.node);
                    return Ok(false);
                }
                self.intake.open_next_epoch(frontiers);
                self.parts.close_before(self.node, self.intake.epoch());
            }
            while self.intake.has_batches() {
                if !self.writer.ready()? {
                    return Ok(true);
                }
                let Some(arrival) = self.intake.pop() else { break };
                self.shared.metrics.nodes[self.node.0].add_in(arrival.batch.records.num_rows());
                self.writer.write(arrival.batch)?;
            }
            // The watermark of a frontier that has left the epoch belongs to the next one.
            if !self.intake.epoch_closed(frontiers) {
                self.follow(frontiers);
                return Ok(true);
            }
            let last = self.intake.is_over(frontiers);
            self.staging = Some(if last { EpochEnd::Last } else { EpochEnd::Running });
        }
    }

    /// Tells the writer the watermark, and lets the capability follow.
    fn follow(&mut self, frontiers: &[MutableAntichain<EpochTime>]) {
        let watermark = self.intake.watermark(0, &frontiers[0], self.watermark);
        if watermark != self.watermark {
            self.watermark = watermark;
            self.writer.on_watermark(watermark);
        }
        let time = EpochTime::new(self.intake.epoch(), self.watermark);
        if self.capability.time() != &time {
            self.capability.downgrade(&time);
        }
    }
}

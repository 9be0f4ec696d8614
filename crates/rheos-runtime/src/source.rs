//! The Timely operator of a source: one a worker.
//!
//! Each activation: take the epoch's cut, move the capability to the source's watermark, then read while there is
//! credit. Every worker holds its capability at the published watermark, also while it has no split, so that no worker's
//! frontier runs ahead of a split that another will still read. At the end of the input the capability stands at
//! (epoch, end of time) until the sinks have seen it; only then is it dropped. A stop drops it as it is, so operators can
//! tell a stop from an end.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rheos_core::credit::Wake;
use rheos_core::event_time::event_time_range;
use rheos_core::source::{ReaderContext, Source, SourcePoll, Split, SplitReader, WatermarkSpec};
use rheos_core::time::Watermark;
use rheos_core::{Batch, CreditPool, NodeId, Result};
use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::operators::generic::{OutputBuilderSession, source};
use timely::dataflow::operators::{Capability, probe};
use timely::scheduling::Activator;

use crate::channel::{Packet, batch_bytes};
use crate::control::StopMode;
use crate::job::{JobShared, Packets};
use crate::splits::{Handout, SplitCoordinator};
use crate::time::{EpochTime, frontier_parts};

/// How long one activation may read before other operators get their turn.
const QUANTUM: Duration = Duration::from_millis(2);
/// How soon a worker without a split asks again while more may be found.
const RETRY: Duration = Duration::from_millis(50);

type Session<'a> = OutputBuilderSession<'a, EpochTime, NoopBuilder<Packet>>;

pub(crate) fn build<'scope>(
    scope: Scope<'scope, EpochTime>,
    node: NodeId,
    table: Arc<dyn Source>,
    watermark: Option<WatermarkSpec>,
    shared: &Arc<JobShared>,
    probe: probe::Handle<EpochTime>,
) -> (Packets<'scope>, Activator) {
    let worker = scope.index();
    let name = format!("source-{}", node.0);
    let mut activator = None;
    let stream = source::<EpochTime, NoopBuilder<Packet>, _, _>(scope, &name, |capability, info| {
        let own = scope.activator_for(Rc::clone(&info.address));
        own.activate();
        activator = Some(own.clone());
        let sync = scope.worker().sync_activator_for(info.address.to_vec());
        // A worker that is gone needs no waking.
        let wake: Wake = Arc::new(move || {
            let _ = sync.activate();
        });
        shared.control.register_wake(Arc::clone(&wake));
        let coordinator = Arc::clone(&shared.coordinators[&node]);
        coordinator.register_wake(worker, Arc::clone(&wake));
        let mut operator = SourceOperator {
            node,
            worker,
            table,
            watermark,
            reader: None,
            capability: Some(capability),
            credit: CreditPool::new(shared.config.credit_bytes, Arc::clone(&wake)),
            wake,
            coordinator,
            probe,
            activator: own,
            shared: Arc::clone(shared),
        };
        move |output| {
            if let Err(error) = operator.activate(output) {
                operator.shared.control.fail(error);
                operator.capability = None;
            }
        }
    });
    (stream, activator.expect("the constructor has run"))
}

struct SourceOperator {
    node: NodeId,
    worker: usize,
    table: Arc<dyn Source>,
    watermark: Option<WatermarkSpec>,
    reader: Option<(Split, Box<dyn SplitReader>)>,
    capability: Option<Capability<EpochTime>>,
    credit: Arc<CreditPool>,
    wake: Wake,
    coordinator: Arc<SplitCoordinator>,
    probe: probe::Handle<EpochTime>,
    activator: Activator,
    shared: Arc<JobShared>,
}

/// What follows an activation.
enum Next {
    /// There is more to read.
    Again,
    /// Something will wake the operator.
    Sleep,
    /// Look again after a while.
    After(Duration),
}

impl SourceOperator {
    fn activate(&mut self, output: &mut Session<'_>) -> Result<()> {
        if self.capability.is_none() {
            return Ok(());
        }
        match self.shared.control.stop_mode() {
            _ if self.shared.control.failed() => return self.end(),
            Some(StopMode::Stop) => return self.end(),
            Some(StopMode::Drain) => {
                self.reader = None;
                self.coordinator.close();
            }
            None => {}
        }
        self.advance();
        if self.coordinator.published() == Watermark::MAX {
            if self.sinks_saw_the_end() {
                return self.end();
            }
            return Ok(());
        }
        match self.read(output)? {
            Next::Again => self.activator.activate(),
            Next::Sleep => self.sleep(),
            Next::After(delay) => {
                self.activator.activate_after(delay);
                self.sleep();
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.reader = None;
        self.capability = None;
        Ok(())
    }

    /// Moves the capability to the announced epoch and the published watermark.
    fn advance(&mut self) {
        let Some(capability) = &mut self.capability else { return };
        if self.coordinator.is_idle() {
            let others = self.shared.coordinators.values();
            let others = others.filter(|c| !Arc::ptr_eq(c, &self.coordinator) && !c.is_idle());
            if let Some(lowest) = others.map(|c| c.published()).filter(|w| *w != Watermark::MAX).min() {
                self.coordinator.follow(lowest);
            }
        }
        let time = EpochTime::new(self.shared.control.epoch(), self.coordinator.published());
        if capability.time() != &time {
            capability.downgrade(&time);
        }
    }

    /// Lets the capability follow the watermark that other workers raise while this one sleeps.
    fn sleep(&mut self) {
        let Some(capability) = &self.capability else { return };
        if !self.coordinator.park(self.worker, Watermark(capability.time().event_time)) {
            self.activator.activate();
        }
    }

    fn sinks_saw_the_end(&self) -> bool {
        self.probe.with_frontier(|f| frontier_parts(f).is_none_or(|(_, watermark)| watermark == Watermark::MAX))
    }

    fn read(&mut self, output: &mut Session<'_>) -> Result<Next> {
        let until = Instant::now() + QUANTUM;
        while Instant::now() < until {
            if !self.credit.has_credit() {
                return Ok(Next::Sleep);
            }
            let Some((split, reader)) = &mut self.reader else {
                match self.coordinator.next_split()? {
                    Handout::Split(split) => self.open(split)?,
                    Handout::Wait => {
                        if self.watermark.as_ref().is_some_and(|w| w.idle_timeout_ms.is_some()) {
                            self.coordinator.tick();
                        }
                        return Ok(Next::After(RETRY));
                    }
                    // Other workers still read; the watermark of the end will wake this one.
                    Handout::Finished => return Ok(Next::Sleep),
                }
                continue;
            };
            match reader.poll()? {
                SourcePoll::Batch(records) if records.num_rows() == 0 => {}
                SourcePoll::Batch(records) => {
                    let rows = records.num_rows();
                    let max_ms = match &self.watermark {
                        Some(spec) => event_time_range(records.column(spec.column))?.max_ms,
                        None => None,
                    };
                    let ticket = self.credit.take(batch_bytes(&records));
                    let mut packet = Packet::new(Batch::new(records, ticket));
                    let capability = self.capability.as_ref().expect("checked at the activation's start");
                    output.session_with_builder(capability).give_container(&mut packet);
                    self.shared.metrics.nodes[self.node.0].add_out(rows);
                    self.coordinator.observe(split, max_ms);
                    self.advance();
                }
                SourcePoll::Pending => return Ok(self.pending()),
                SourcePoll::Finished => {
                    self.coordinator.finish(split);
                    self.reader = None;
                    self.advance();
                    if self.coordinator.published() == Watermark::MAX {
                        return Ok(Next::Again);
                    }
                }
            }
        }
        Ok(Next::Again)
    }

    fn open(&mut self, split: Split) -> Result<()> {
        let context = ReaderContext {
            wake: Arc::clone(&self.wake),
            batch_rows: self.shared.config.batch_rows,
            counters: self.shared.metrics.source_counters(self.node.0),
        };
        let reader = self.table.open(&split, None, context)?;
        self.reader = Some((split, reader));
        Ok(())
    }

    /// The reader will wake the operator; an idle timeout must be noticed without it.
    fn pending(&self) -> Next {
        match self.watermark.as_ref().and_then(|w| w.idle_timeout_ms) {
            Some(timeout_ms) => {
                self.coordinator.tick();
                Next::After(Duration::from_millis(timeout_ms.unsigned_abs().max(1)))
            }
            None => Next::Sleep,
        }
    }
}

//! Turns any operator into a Timely operator.
//!
//! One activation, in order, as far as it gets:
//!
//! 1. the rest of an unfinished emission (`resume`), while the operator's own credit lasts;
//! 2. the batches of the open epoch;
//! 3. timers that are due;
//! 4. if all inputs have closed the epoch: `flush`, then the next epoch;
//! 5. the effective watermarks; when all is emitted, the capability follows.
//!
//! What a batch causes carries the batch's ticket; what the operator emits by itself (a window that fires) carries
//! tickets of its own pool, and while they are out it gets no further input, so pressure reaches the sources.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rheos_core::clock;
use rheos_core::credit::Wake;
use rheos_core::operator::{Counter, OperatorContext, WatermarkChange};
use rheos_core::time::{Epoch, Watermark};
use rheos_core::timer::TimeDomain;
use rheos_core::{Batch, CreditPool, Exchange, NodeId, Operator, Port, Progress, Result, Ticket};
use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;
use timely::progress::operate::FrontierInterest;
use timely::scheduling::Activator;

use crate::chain::{Chain, Link};
use crate::channel::{Packet, batch_bytes};
use crate::closings::Limit;
use crate::intake::Intake;
use crate::job::{JobShared, Packets, connect, is_stopped};
use crate::parts::{CounterId, OperatorCounters, WorkerParts};
use crate::time::EpochTime;

/// Batches that are applied before the watermark is looked at again.
const BATCHES_BEFORE_WATERMARK: u32 = 8;

/// How long one activation may work before other operators get their turn.
const QUANTUM: Duration = Duration::from_millis(5);
/// How often an operator that follows the processing-time clock is told of it.
const CLOCK_TICK: Duration = Duration::from_millis(10);

type Output = OutputBuilder<EpochTime, NoopBuilder<Packet>>;

/// A chain of stateless operators: batches keep their timestamp and their ticket, and no frontier is asked for. Returns the
/// output of the last one, and the dead letters of those whose letters are read.
pub(crate) fn build_stateless<'scope>(
    stream: Packets<'scope>,
    mut chain: Chain,
    shared: &Arc<JobShared>,
    parts: &Rc<WorkerParts>,
) -> Vec<((NodeId, Port), Packets<'scope>)> {
    let first = chain.links.first().map_or(0, |link| link.node);
    let last = chain.links.last().map_or(0, |link| link.node);
    let errors = chain.links.iter().map(|link| NodeId(link.node)).filter(|n| shared.graph.is_read(*n, Port::ERRORS));
    let ports: Vec<_> = std::iter::once((NodeId(last), Port::MAIN)).chain(errors.map(|n| (n, Port::ERRORS))).collect();
    let mut builder = OperatorBuilder::new(format!("chain-{first}"), stream.scope());
    let mut input = builder.new_input(stream, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut outputs, mut streams) = (Vec::new(), Vec::new());
    for port in &ports {
        let (output, stream) = builder.new_output::<Packet>();
        outputs.push(Output::from(output));
        streams.push((*port, stream));
    }
    let (shared, parts) = (Arc::clone(shared), Rc::clone(parts));
    let counters = |link: &Link| OperatorCounters::new(&parts, &shared.graph.node(NodeId(link.node)).operator_id);
    let counters: Vec<OperatorCounters> = chain.links.iter().map(counters).collect();
    builder.build(move |capabilities| {
        drop(capabilities);
        move |_| {
            let (main, errors) = outputs.split_at_mut(1);
            let mut session = main[0].activate();
            input.for_each(|cap, packet| {
                let Some(Batch { records, ticket }) = packet.0.take() else { return };
                if shared.control.failed() {
                    return;
                }
                let mut out = session.session_with_builder(&cap);
                let mut give = |node: usize, port: Port, part| {
                    let mut packet = Packet::new(Batch::new(part, ticket.clone()));
                    if port == Port::MAIN {
                        return out.give_container(&mut packet);
                    }
                    let read = ports.iter().skip(1).position(|p| *p == (NodeId(node), port));
                    if let Some(index) = read {
                        let cap = cap.retain(index + 1);
                        errors[index].activate().session_with_builder(&cap).give_container(&mut packet);
                    }
                };
                clock::set(shared.clock.now_ms());
                if let Err(error) = chain.apply(records, &shared.metrics.nodes, &mut give) {
                    shared.control.fail(error);
                }
                if shared.config.state.is_some() {
                    // Nothing behind the chain can have closed the epoch: this batch of it is still under way.
                    let epoch = Epoch(cap.time().epoch);
                    for (link, ids) in chain.links.iter_mut().zip(&counters) {
                        let (rows_in, rows_out, own) = link.take_counted();
                        parts.count(epoch, ids.rows_in, rows_in);
                        parts.count(epoch, ids.rows_out, rows_out);
                        for (counter, n) in own {
                            ids.own(counter).into_iter().for_each(|id| parts.count(epoch, id, n));
                        }
                    }
                }
            });
        }
    });
    streams
}

/// An operator with state, time, or more than one input or output. Returns the streams of the ports that are read.
pub(crate) fn build<'scope>(
    scope: Scope<'scope, EpochTime>,
    node: NodeId,
    inputs: Vec<(Packets<'scope>, Exchange)>,
    operator: Box<dyn Operator>,
    shared: &Arc<JobShared>,
    parts: &Rc<WorkerParts>,
) -> Vec<(Port, Packets<'scope>)> {
    let name = format!("{}-{}", shared.graph.node(node).name, node.0);
    let mut builder = OperatorBuilder::new(name, scope);
    let address = builder.operator_info().address;
    let mut drains: Vec<_> =
        inputs.into_iter().map(|(stream, exchange)| connect(&mut builder, stream, &exchange, shared)).collect();
    let mut ports: Vec<Port> =
        shared.graph.nodes().iter().flat_map(|n| &n.inputs).filter(|e| e.from == node).map(|e| e.port).collect();
    ports.sort();
    ports.dedup();
    let mut outputs = Vec::new();
    let mut streams = Vec::new();
    for port in ports {
        let (output, stream) = builder.new_output::<Packet>();
        outputs.push((port, Output::from(output)));
        streams.push((port, stream));
    }
    let sync = scope.worker().sync_activator_for(address.to_vec());
    let wake: Wake = Arc::new(move || {
        let _ = sync.activate();
    });
    let activator = scope.activator_for(Rc::clone(&address));
    let (shared, parts) = (Arc::clone(shared), Rc::clone(parts));
    parts.register(node, shared.operator(node));
    let counters = OperatorCounters::new(&parts, &shared.graph.node(node).operator_id);
    let limit = Limit::new(node);
    builder.build(move |mut capabilities| {
        let first = shared.beginning.claim.first_epoch;
        capabilities.iter_mut().for_each(|c| c.downgrade(&EpochTime::new(first, Watermark::MIN)));
        let mut ctx = OperatorContext::default();
        ctx.epoch = first;
        // Processing-time operators must begin to tick without any input.
        activator.activate();
        let mut adapter = Some(Adapter {
            node,
            operator,
            ctx,
            intake: Intake::new(first),
            capabilities,
            outputs,
            own: CreditPool::new(shared.config.credit_bytes, wake),
            watermarks: vec![Watermark::MIN; drains.len()],
            begins_at: Some(shared.beginning.watermark(&shared.graph, node)).filter(|w| *w > Watermark::MIN),
            stage: Stage::Open,
            unfinished: false,
            batches_since_watermark: 0,
            activator,
            wake_up: WakeUp::default(),
            counters,
            limit,
            shared: Arc::clone(&shared),
            parts,
        });
        move |frontiers: &[MutableAntichain<EpochTime>]| {
            for (index, drain) in drains.iter_mut().enumerate() {
                drain(&mut |time, packet| {
                    if let (Some(adapter), Some(batch)) = (&mut adapter, packet.0) {
                        adapter.intake.accept(index, time, batch);
                    }
                });
            }
            let Some(running) = &mut adapter else { return };
            match running.run(frontiers) {
                Ok(Next::Wait) => {}
                Ok(Next::Again) => running.activator.activate(),
                Ok(Next::Over) => adapter = None,
                Err(error) => {
                    running.shared.control.fail(error);
                    adapter = None;
                }
            }
        }
    });
    streams
}

/// What follows an activation.
enum Next {
    Wait,
    Again,
    Over,
}

/// What has to happen when the operator's emission is complete.
#[derive(Clone, Copy)]
enum Stage {
    Open,
    /// The capability may follow the watermark.
    Fired,
    /// The epoch may end.
    Flushed,
}

struct Adapter {
    node: NodeId,
    operator: Box<dyn Operator>,
    ctx: OperatorContext,
    intake: Intake,
    capabilities: Vec<Capability<EpochTime>>,
    outputs: Vec<(Port, Output)>,
    own: Arc<CreditPool>,
    watermarks: Vec<Watermark>,
    /// Where the checkpoint left the operator, until it has been told.
    begins_at: Option<Watermark>,
    stage: Stage,
    unfinished: bool,
    batches_since_watermark: u32,
    activator: Activator,
    wake_up: WakeUp,
    counters: OperatorCounters,
    limit: Limit,
    shared: Arc<JobShared>,
    parts: Rc<WorkerParts>,
}

/// The earliest delayed activation that is out.
///
/// They cannot be taken back, and each of them would ask for its successor: without this every activation by input
/// would start one more chain of ticks, until the worker does nothing else.
#[derive(Default)]
struct WakeUp(Option<Instant>);

impl WakeUp {
    /// The delay to ask for so that there is an activation in `delay` from `now`; `None` if an earlier one is out.
    fn arrange(&mut self, now: Instant, delay: Duration) -> Option<Duration> {
        let at = now + delay;
        if self.0.is_some_and(|out| out > now && out <= at) {
            return None;
        }
        self.0 = Some(at);
        Some(delay)
    }
}

impl Adapter {
    fn run(&mut self, frontiers: &[MutableAntichain<EpochTime>]) -> Result<Next> {
        if self.shared.control.failed() {
            return Ok(Next::Over);
        }
        let until = Instant::now() + QUANTUM;
        self.ctx.now_ms = self.shared.clock.now_ms();
        clock::set(self.ctx.now_ms);
        self.clock_tick()?;
        loop {
            if !self.own.has_credit() {
                return Ok(Next::Wait);
            }
            if self.unfinished {
                let progress = self.operator.resume(&mut self.ctx)?;
                self.ship(progress, None);
            } else {
                match std::mem::replace(&mut self.stage, Stage::Open) {
                    Stage::Open => {}
                    Stage::Fired => self.downgrade(),
                    Stage::Flushed => {
                        self.hand_over()?;
                        let closed = self.ctx.epoch;
                        self.leave(closed, closed.next());
                        if self.intake.is_over(frontiers) {
                            return Ok(self.over());
                        }
                        self.intake.open_next_epoch(frontiers);
                        self.ctx.epoch = self.intake.epoch();
                        self.leave(closed.next(), self.ctx.epoch);
                        self.parts.close_before(self.node, self.ctx.epoch);
                        self.downgrade();
                    }
                }
                if !self.advance(frontiers)? {
                    return Ok(Next::Wait);
                }
            }
            if Instant::now() >= until {
                return Ok(Next::Again);
            }
        }
    }

    /// One step forward. `false`: there is none to take now.
    ///
    /// Batches come before the watermark, but not for ever: an input that is never empty would keep windows from firing,
    /// and what they hold would grow with the input.
    fn advance(&mut self, frontiers: &[MutableAntichain<EpochTime>]) -> Result<bool> {
        if let Some(watermark) = self.begins_at.take() {
            // What is late for the steps behind, which go on with what had fired, must be late here from the first row on.
            self.watermarks.fill(watermark);
            self.rise(WatermarkChange { input: 0, watermark, combined: watermark })?;
            return Ok(true);
        }
        if self.batches_since_watermark >= BATCHES_BEFORE_WATERMARK {
            self.batches_since_watermark = 0;
            if !self.intake.epoch_left(frontiers) && self.raise_watermark(frontiers)? {
                return Ok(true);
            }
        }
        if let Some(arrival) = self.intake.pop() {
            self.batches_since_watermark += 1;
            let Batch { records, ticket } = arrival.batch;
            self.shared.metrics.nodes[self.node.0].add_in(records.num_rows());
            self.count(self.counters.rows_in, records.num_rows() as u64);
            let progress = self.operator.on_batch(arrival.input, records, &mut self.ctx)?;
            self.ship(progress, Some(&ticket));
            return Ok(true);
        }
        if self.fire_timer()? {
            return Ok(true);
        }
        // Before the watermark: that of a frontier that has left the epoch belongs to the next one. What fired in an epoch
        // must not lie above the watermark that a checkpoint of the epoch goes on with: after a restore, what steps before this
        // one have not sent by then would be late.
        if self.intake.epoch_closed(frontiers) {
            let progress = self.operator.flush(&mut self.ctx)?;
            self.ship(progress, None);
            self.stage = Stage::Flushed;
            return Ok(true);
        }
        self.raise_watermark(frontiers)
    }

    /// Others may have left the open epoch with less than the frontier says: see [`Closings`](crate::closings::Closings).
    fn raise_watermark(&mut self, frontiers: &[MutableAntichain<EpochTime>]) -> Result<bool> {
        let limit = match self.shared.config.state {
            Some(_) => self.limit.in_epoch(&self.shared.closings, self.ctx.epoch),
            None => Watermark::MAX,
        };
        for (input, frontier) in frontiers.iter().enumerate() {
            let watermark = self.intake.watermark(input, frontier, self.watermarks[input]).min(limit);
            if watermark <= self.watermarks[input] {
                continue;
            }
            self.watermarks[input] = watermark;
            self.rise(WatermarkChange { input, watermark, combined: self.combined() })?;
            return Ok(true);
        }
        Ok(false)
    }

    fn rise(&mut self, change: WatermarkChange) -> Result<()> {
        // The operator compares with the old one to see what has fired, so the context moves after the call.
        let progress = self.operator.on_watermark(change, &mut self.ctx)?;
        self.ctx.watermark = change.combined;
        self.stage = Stage::Fired;
        self.ship(progress, None);
        Ok(())
    }

    fn fire_timer(&mut self) -> Result<bool> {
        let due = [(TimeDomain::EventTime, self.ctx.watermark.0), (TimeDomain::ProcessingTime, self.ctx.now_ms)];
        for (domain, now_ms) in due {
            if let Some((time_ms, key)) = self.ctx.timers.pop_due(domain, now_ms) {
                let progress = self.operator.on_timer(domain, &key, time_ms, &mut self.ctx)?;
                self.ship(progress, None);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells the operator the time, and arranges the next tick or timer.
    fn clock_tick(&mut self) -> Result<()> {
        let now_ms = self.ctx.now_ms;
        if self.operator.wants_clock() && !self.unfinished && self.own.has_credit() {
            let progress = self.operator.on_clock(now_ms, &mut self.ctx)?;
            self.ship(progress, None);
        }
        let timer = self.ctx.timers.next_ms(TimeDomain::ProcessingTime);
        let timer = timer.map(|at| Duration::from_millis((at - now_ms).max(1).unsigned_abs()));
        let tick = self.operator.wants_clock().then_some(CLOCK_TICK);
        let delay = timer.into_iter().chain(tick).min();
        if let Some(delay) = delay.and_then(|delay| self.wake_up.arrange(Instant::now(), delay)) {
            self.activator.activate_after(delay);
        }
        Ok(())
    }

    /// Tells the others with which watermark it leaves the epochs from `first` on, before `next`.
    fn leave(&self, first: Epoch, next: Epoch) {
        if self.shared.config.state.is_some() && first < next {
            let watermark = self.operator.output_watermark(self.combined());
            self.shared.closings.close(self.node, first, next, watermark);
        }
    }

    fn combined(&self) -> Watermark {
        self.watermarks.iter().copied().min().unwrap_or(Watermark::MAX)
    }

    fn downgrade(&mut self) {
        let watermark = self.operator.output_watermark(self.combined());
        let time = EpochTime::new(self.intake.epoch(), watermark);
        for capability in &mut self.capabilities {
            if capability.time() != &time {
                capability.downgrade(&time);
            }
        }
    }

    /// Sends what the operator emitted, under the capability from before: a window's results are not late for the next.
    fn ship(&mut self, progress: Progress, cause: Option<&Ticket>) {
        self.unfinished = progress == Progress::More;
        let metrics = &self.shared.metrics.nodes[self.node.0];
        for (port, records) in self.ctx.take_emitted() {
            if port == Port::MAIN {
                metrics.add_out(records.num_rows());
                self.count(self.counters.rows_out, records.num_rows() as u64);
            }
            let Some(index) = self.outputs.iter().position(|(p, _)| *p == port) else { continue };
            let ticket = cause.cloned().unwrap_or_else(|| self.own.take(batch_bytes(&records)));
            let mut packet = Packet::new(Batch::new(records, ticket));
            let capability = &self.capabilities[index];
            self.outputs[index].1.activate().session_with_builder(capability).give_container(&mut packet);
        }
        for (counter, n) in metrics.absorb(&mut self.ctx) {
            self.counters.own(counter).into_iter().for_each(|id| self.count(id, n));
        }
    }

    /// Lets the checkpoint of the open epoch know what was counted.
    fn count(&self, counter: CounterId, n: u64) {
        if self.shared.config.state.is_some() {
            self.parts.count(self.ctx.epoch, counter, n);
        }
    }

    /// What the epoch has changed, where the job keeps state.
    fn hand_over(&mut self) -> Result<()> {
        if self.shared.config.state.is_some() {
            self.parts.came_to(self.node, self.ctx.epoch, self.combined());
            let delta = self.operator.on_epoch_end(self.ctx.epoch, &mut self.ctx)?;
            self.parts.changed(self.node, self.ctx.epoch, delta);
        }
        Ok(())
    }

    fn over(&mut self) -> Next {
        self.parts.close_all(self.node);
        self.shared.metrics.nodes[self.node.0].add_state(self.operator.state_size());
        if is_stopped(&self.shared.control) && self.combined() != Watermark::MAX {
            self.ctx.count(Counter::OpenWindows, self.operator.open_windows());
            self.shared.metrics.nodes[self.node.0].absorb(&mut self.ctx);
        }
        Next::Over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_by_input_do_not_start_chains_of_ticks() {
        let ms = Duration::from_millis;
        let (start, mut wake_up) = (Instant::now(), WakeUp::default());
        assert_eq!(wake_up.arrange(start, ms(10)), Some(ms(10)));
        for us in 1..10_000 {
            assert_eq!(wake_up.arrange(start + Duration::from_micros(us), ms(10)), None);
        }
        assert_eq!(wake_up.arrange(start + ms(5), ms(1)), Some(ms(1)), "a timer before the tick");
        assert_eq!(wake_up.arrange(start + ms(6), ms(10)), Some(ms(10)), "the next, when that one has come");
    }
}

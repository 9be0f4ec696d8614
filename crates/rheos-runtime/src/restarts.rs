//! A job from its start to its end, in as many generations as it takes.
//!
//! ```text
//!   generation ── ends by an error ──► may it mend?  how often has it failed?  (rheos-checkpoint: restart)
//!       ▲                                   │ After(wait)              │ GiveUp
//!       ╰── graph, sources, sinks anew ◄────╯ wait, or a stop          ╰──► the first cause
//! ```
//! A record that a worker panics over again and again is put aside (`suspects`).
//!
//! Invariant: of a generation that has failed nothing is left but what its checkpoints and sinks hold: the next one has sources
//! and sinks of its own, and restores from the newest checkpoint. So it does not matter whether the process ended, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rheos_checkpoint::recovery::{DroppedState, Duplicates, RestoreFrom};
use rheos_checkpoint::restart::{Place, Restart, Restarts, may_mend};
use rheos_core::graph::NodeKind;
use rheos_core::source::Boundedness;
use rheos_core::units::shown;
use rheos_core::{Error, ErrorKind, JobGraph, Result};

use crate::control::JobControl;
use crate::job::{Failed, RunConfig, run_generation};
use crate::metrics::JobReport;
use crate::suspects::Suspects;

/// Records that are put aside in one run, at most: where each is at fault, none is.
const ASIDE_MAX: usize = 10;

/// Runs a job to its end: the end of all its input, a stop through `control`, or an error.
///
/// Blocks. A job that keeps state, and whose sources can go back, is started again behind an error that may mend, as
/// [`RunConfig::restart`] says; `anew` then makes its graph once more, with sources and sinks that no earlier generation has
/// used. What goes wrong before the first generation has begun ends the job at once, and so does bounded input that is gone by then.
///
/// Errors: what a source, operator or sink reported first; of a job that was started again and again, the first cause of all.
pub fn run(
    graph: Arc<JobGraph>,
    anew: impl Fn() -> Result<Arc<JobGraph>>,
    config: &RunConfig,
    control: &JobControl,
) -> Result<JobReport> {
    /// However the job ends: who waits for a savepoint is told.
    struct Close<'a>(&'a JobControl);
    impl Drop for Close<'_> {
        fn drop(&mut self) {
            self.0.savepoints().close();
        }
    }
    let _close = Close(control);
    run_generations(graph, anew, config, control)
}

fn run_generations(
    graph: Arc<JobGraph>,
    anew: impl Fn() -> Result<Arc<JobGraph>>,
    config: &RunConfig,
    control: &JobControl,
) -> Result<JobReport> {
    let (can_go_back, is_bounded) = (is_replayable(&graph), is_bounded(&graph));
    let mut suspects = Suspects::default();
    let failed = match run_generation(graph, config, control, &suspects) {
        Ok(report) => return Ok(report),
        Err(failed) => failed,
    };
    // What was never there does not come by waiting: the folder may be the wrong one.
    let is_absent = failed.error.kind() == ErrorKind::InputMissing && !failed.has_read && !failed.has_checkpoint;
    let may_go_on = failed.had_begun && can_go_back && !(is_absent && is_bounded);
    let Some(state) = config.state.as_ref().filter(|_| may_go_on) else {
        return Err(failed.error);
    };
    let mut config = config.clone();
    go_on(&mut config, failed.has_checkpoint);
    let (started, mut restarts, mut count) = (Instant::now(), Restarts::new(config.restart), 0_u32);
    let mut cause = failed.error;
    loop {
        if control.stop_mode().is_some() {
            return Err(cause);
        }
        control.forget_generation();
        let now_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let place = control.take_suspect().and_then(|stretch| suspects.panicked(stretch));
        match restarts.failed(now_ms, &cause, place) {
            Restart::After { wait_ms, attempt } => {
                (state.warn)(&again(&cause, wait_ms, attempt, &config));
                control.sleep(Duration::from_millis(wait_ms));
            }
            Restart::Without(_) if suspects.count() >= ASIDE_MAX => return Err(cause),
            Restart::Without(place) => {
                (state.warn)(&without(&cause, &place));
                suspects.put_aside(place, cause.message().to_string());
            }
            Restart::GiveUp(error) if count == 0 || !may_mend(&error) => return Err(error),
            Restart::GiveUp(first) => return Err(gave_up(&first, count)),
        }
        if control.stop_mode().is_some() {
            return Err(cause.context("the job was stopped while it waited to be started again"));
        }
        count += 1;
        let ended = anew().map_err(|error| Failed { error, had_begun: false, has_read: false, has_checkpoint: false });
        match ended.and_then(|graph| run_generation(graph, &config, control, &suspects)) {
            // The generation before had come to the end, but for its last commits.
            Ok(report) if report.finished_before => {
                let snapshot = control.snapshot();
                return Ok(JobReport { snapshot, finished_before: false, restarts: count, ..report });
            }
            Ok(report) => return Ok(JobReport { restarts: count, ..report }),
            Err(failed) => {
                go_on(&mut config, failed.has_checkpoint);
                cause = failed.error;
            }
        }
    }
}

/// What the user has chosen to begin with is behind; and so is what the user has accepted, once the run has a checkpoint of its
/// own (`has_checkpoint`): months later nobody thinks of it.
fn go_on(config: &mut RunConfig, has_checkpoint: bool) {
    if let Some(state) = &mut config.state {
        state.from = RestoreFrom::Newest;
        if has_checkpoint {
            (state.duplicates, state.dropped_state) = (Duplicates::Refused, DroppedState::Refused);
        }
    }
}

/// Whether all sources can read again what an earlier generation has read.
fn is_replayable(graph: &JobGraph) -> bool {
    graph.nodes().iter().all(|node| match &node.kind {
        NodeKind::Source { source, .. } => source.is_replayable(),
        _ => true,
    })
}

/// Whether the job ends with its input.
fn is_bounded(graph: &JobGraph) -> bool {
    graph.nodes().iter().all(|node| match &node.kind {
        NodeKind::Source { source, .. } => source.boundedness() == Boundedness::Bounded,
        _ => true,
    })
}

/// What is said before a wait.
fn again(cause: &Error, wait_ms: u64, attempt: u32, config: &RunConfig) -> Error {
    let attempts = config.restart.attempts_max;
    let message = format!(
        "the job has failed, and goes on from its newest checkpoint in {} (restart {attempt} of {attempts}): {}: {}",
        shown(Duration::from_millis(wait_ms)),
        cause.code(),
        cause.message()
    );
    Error::new(ErrorKind::External, 670, message)
}

fn without(cause: &Error, place: &Place) -> Error {
    let message = format!(
        "the record at {} of '{}' has ended the job three times and is put aside: {}",
        place.position,
        place.split,
        cause.message()
    );
    Error::new(ErrorKind::External, 670, message)
}

fn gave_up(first: &Error, count: u32) -> Error {
    let times = if count == 1 { "once".to_string() } else { format!("{count} times") };
    first.clone().context(format_args!("the job was started again {times} and failed each time; first"))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use rheos_state::store::MemoryStore;

    use super::*;
    use crate::beginning::StateConfig;

    #[test]
    fn what_was_accepted_for_a_start_holds_until_the_run_has_a_checkpoint_of_its_own() {
        let state = StateConfig {
            store: Arc::new(MemoryStore::new()),
            from: RestoreFrom::Nothing,
            duplicates: Duplicates::Accepted,
            dropped_state: DroppedState::Accepted,
            checkpoints_kept: NonZeroU32::MIN,
            context: vec![],
            warn: Arc::new(|_| {}),
        };
        let mut config = RunConfig { state: Some(state), ..RunConfig::default() };
        let mut after = |has_checkpoint| {
            go_on(&mut config, has_checkpoint);
            let state = config.state.as_ref().unwrap();
            (state.from.clone(), state.duplicates, state.dropped_state)
        };
        let accepted = (RestoreFrom::Newest, Duplicates::Accepted, DroppedState::Accepted);
        let refused = (RestoreFrom::Newest, Duplicates::Refused, DroppedState::Refused);
        assert_eq!([false, true, false].map(&mut after), [accepted, refused.clone(), refused]);
    }
}

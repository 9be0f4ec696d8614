//! Each case once more as a job that keeps state and dies: a checkpoint is asked for at a random batch, the generation ends hard
//! behind it or in the commit that follows, and another one goes on with other workers. What has become visible must be the
//! expected rows.
//!
//! ```text
//!   RHEOS_SQL_RESTORES=all   all ways of each case instead of a sample, with a seed by the clock
//!   RHEOS_SQL_RESTORES=3/24  the third of 24 parts of them
//!   RHEOS_SEED=n             that seed
//!   RHEOS_SQL_CASE=text      only cases whose names contain it, 200 times: what fails now and then depends on threads
//! ```

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rheos::state::MemoryStore;
use rheos::{JobControl, JobReport, StateOptions};

use super::gate::Gate;
use super::visible::{CommitCrash, DIES, Visible, VisibleSink};
use super::{BATCH_ROWS, Case, PARALLELISM, all_cases, cells, difference, program, root};

/// Who waits so long waits for ever.
const HANG: Duration = Duration::from_secs(90);

/// Between two looks whether the job is over.
const STEP: Duration = Duration::from_millis(20);

/// How a generation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// When the checkpoint is complete; sources have not gone on since it was asked for.
    Held,
    /// So, and sources have gone on: what they gave is read again.
    ReadOn,
    /// In a commit.
    Commit(CommitCrash),
}

const ENDS: [End; 4] = [End::Held, End::ReadOn, End::Commit(CommitCrash::Before), End::Commit(CommitCrash::After)];

/// One way to run a case: everything but the batches at which it dies.
#[derive(Debug, Clone)]
struct Way {
    batch_rows: usize,
    /// By generation; one more than there are crashes.
    workers: Vec<usize>,
    end: End,
    /// Whether results change as rows come.
    changes: bool,
}

/// All of them: a batch size, a first parallelism, the next ones by steps of 1 or 2 in a ring of three, an end.
fn all_ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for batch_rows in BATCH_ROWS {
        for first in 0..PARALLELISM.len() {
            for step in [1, 2] {
                for end in ENDS {
                    let workers = (0..3).map(|n| PARALLELISM[(first + n * step) % PARALLELISM.len()]).collect();
                    let changes = step == 2;
                    ways.push(Way { batch_rows, workers, end, changes });
                }
            }
        }
    }
    ways
}

/// A few of them in which each two choices meet: rows of an orthogonal array, whose columns are the batch size, the first
/// parallelism, and the end; the steps alternate.
fn sample() -> Vec<Way> {
    let ways = all_ways();
    let at = |batch: usize, first: usize, step: usize, end: usize| ((batch * 3 + first) * 2 + step) * ENDS.len() + end;
    let rows =
        (0..12).map(|n| (n / 4, n % 4)).map(|(batch, end)| at(batch, (batch + end) % 3, (batch + end / 2) % 2, end));
    rows.map(|n| ways[n].clone()).collect()
}

/// splitmix64.
struct Dice(u64);

impl Dice {
    /// From 0 to `most`.
    fn up_to(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % (most as u64 + 1)) as usize
    }
}

/// What one generation does beside its work.
struct Crash {
    gate: Arc<Gate>,
    end: Option<End>,
}

impl Crash {
    fn never() -> Self {
        Self { gate: Gate::open(), end: None }
    }

    fn at(batch: usize, end: End, dice: &mut Dice) -> Self {
        let on = if end == End::ReadOn { 1 + dice.up_to(3) } else { 0 };
        Self { gate: Gate::new(batch, batch + on), end: Some(end) }
    }

    /// Waits for the batch, asks for the checkpoint, and ends the job, if it has not ended by itself. A job that stands still is
    /// ended, too.
    fn carry_out(&self, control: &JobControl) -> Result<(), String> {
        let until = Instant::now() + HANG;
        let mut asked = None;
        while !self.gate.is_over() {
            if asked.is_none() && self.end.is_some() && self.gate.wait(STEP) {
                asked = Some(control.ask_for_checkpoint());
            }
            let is_done = match (asked, self.end) {
                (Some(request), Some(End::Held | End::ReadOn)) => control.wait_for_checkpoint(request, STEP),
                _ => self.gate.wait_for_end(STEP),
            };
            if is_done {
                control.abort();
                return Ok(());
            }
            if Instant::now() > until {
                control.abort();
                return Err(format!("it stands still behind {} batches, asked: {asked:?}", self.gate.taken()));
            }
        }
        Ok(())
    }
}

/// Runs one generation. `None`: it has crashed.
fn generation(
    case: &Case,
    way: &Way,
    n: usize,
    crash: &Crash,
    store: &Arc<MemoryStore>,
    visible: &Visible,
) -> Result<Option<JobReport>, String> {
    let failed = |e: rheos::Error| format!("generation {n} was refused or failed: {e}");
    let control = Arc::new(OnceLock::new());
    let (for_sink, shown, ordered) = (Arc::clone(&control), visible.clone(), case.ordered);
    let in_commit = match crash.end {
        Some(End::Commit(when)) => Some(when),
        _ => None,
    };
    let program = rheos::sql(&case.program)
        .variable("DATA", "tests/sql/data")
        .batch_rows(way.batch_rows)
        .parallelism(way.workers[n % way.workers.len()])
        // Checkpoints come when they are asked for, and now and then in between.
        .set("emit.mode", if way.changes { "changes" } else { "auto" })
        .set("checkpoint.interval", if way.batch_rows == 7 { "3 ms" } else { "1 h" })
        .connectors(crash.gate.registry())
        .state(StateOptions::in_store(Arc::clone(store) as _))
        .results_to(move |_, schema| {
            let (visible, control) = (shown.clone(), Arc::clone(&for_sink));
            Arc::new(VisibleSink { schema, ordered, visible, crash: in_commit, control })
        });
    let running = program.plan().and_then(rheos::Job::start).map_err(failed)?;
    let handle = running.control();
    control.set(handle.clone()).ok().expect("it is filled in here alone");
    let (outcome, carried_out) = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| crash.carry_out(&handle));
        let outcome = running.wait();
        crash.gate.close();
        (outcome, watcher.join().expect("the watcher does not panic"))
    });
    carried_out.map_err(|problem| format!("generation {n}: {problem}"))?;
    match outcome {
        Ok(report) => report.map(Some).ok_or_else(|| "the program runs nothing".to_string()),
        // In a commit: also in one that the beginning repeats.
        Err(error) if error.code() == "R0690" || error.code() == format!("R{DIES:04}") => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Runs a case one way. Gives how often it has crashed.
fn run(case: &Case, way: &Way, dice: &mut Dice) -> Result<usize, String> {
    // What cannot take rows back is refused by its name: see the test of changes.
    let takes_changes = || program(case, 1, 1).set("emit.mode", "changes").plan().is_ok();
    let way = &Way { changes: way.changes && takes_changes(), ..way.clone() };
    // Straight through first: how many batches there are.
    let (store, visible, straight) = (Arc::default(), Visible::default(), Crash::never());
    generation(case, way, 0, &straight, &store, &visible)?;
    if let Some(problem) = difference(case, cells(&visible.batches())) {
        return Err(format!("without a crash: {problem}"));
    }
    let (store, visible, mut left, mut crashes) = (Arc::default(), Visible::default(), straight.gate.taken(), 0);
    let (mut batches, mut counted) = (Vec::new(), String::new());
    for n in 0..way.workers.len() {
        let is_last = n + 1 == way.workers.len();
        let at = dice.up_to(left);
        let crash = if is_last { Crash::never() } else { Crash::at(at, way.end, dice) };
        if !is_last {
            batches.push(at);
        }
        match generation(case, way, n, &crash, &store, &visible) {
            Ok(None) => crashes += 1,
            Ok(Some(report)) if is_last => counted = format!("{:?}", report.snapshot.counters),
            // It came to its end before it could crash: those that follow have nothing to do.
            Ok(Some(_)) => continue,
            Err(problem) => return Err(format!("crashes at batches {batches:?}: {problem}")),
        }
        left = left.saturating_sub(at);
    }
    match difference(case, cells(&visible.batches())) {
        Some(problem) => Err(format!("crashes at batches {batches:?}, counters at the end {counted}: {problem}")),
        None => Ok(crashes),
    }
}

/// What is run of all ways: the part n of m, from 1. `None`: a sample.
fn part() -> Option<(usize, usize)> {
    let text = std::env::var("RHEOS_SQL_RESTORES").ok()?;
    if text == "all" {
        return Some((1, 1));
    }
    let numbers = text.split_once('/').and_then(|(n, m)| Some((n.parse().ok()?, m.parse().ok()?)));
    Some(numbers.filter(|(n, m)| (1..=*m).contains(n)).expect("RHEOS_SQL_RESTORES is 'all', or n/m with n from 1 to m"))
}

/// Of the random batches: 1 for the sample, so that a failure comes again; else by the clock, unless it is given.
fn seed(is_whole: bool) -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    match std::env::var("RHEOS_SEED") {
        Ok(text) => text.parse().expect("RHEOS_SEED is a number"),
        Err(_) if is_whole => now(),
        Err(_) => 1,
    }
}

#[test]
fn every_case_gives_the_expected_rows_when_its_job_dies_and_goes_on_with_other_workers() {
    std::env::set_current_dir(root()).unwrap();
    let part = part();
    let (seed, ways) = (seed(part.is_some()), if part.is_some() { all_ways() } else { sample() });
    let only = std::env::var("RHEOS_SQL_CASE").ok();
    let scale = rheos_testkit::cases(1).cases as usize;
    println!("seed {seed}");
    let (cases, mut failures, mut runs, mut crashes) = (all_cases(), Vec::new(), 0, 0);
    for (n, (file, case)) in cases.iter().enumerate() {
        if part.is_some() && n > 0 && cases[n - 1].0 != *file {
            println!("before {file}: {runs} runs, {crashes} crashes, {} failed", failures.len());
        }
        // The sample takes one way of each case, times RHEOS_TEST_SCALE, and in each file all of them in turn.
        let few = ways.iter().cycle().skip((n + seed as usize) % ways.len()).take(scale);
        // Parts take other ways in other cases, so that each has something of all.
        let of_part = |(first, step): (usize, usize)| ways.iter().skip((first - 1 + n) % step).step_by(step).collect();
        let chosen: Vec<&Way> = part.map_or_else(|| few.collect(), of_part);
        let again = match &only {
            Some(text) if !case.name.contains(text.as_str()) => continue,
            Some(_) => 200,
            None => 1,
        };
        for (at, way) in chosen.into_iter().enumerate().flat_map(|way| std::iter::repeat_n(way, again)) {
            let mut dice = Dice(seed ^ ((n as u64) << 32) ^ ((at as u64) << 16));
            runs += 1;
            match run(case, way, &mut dice) {
                Ok(crashed) => crashes += crashed,
                Err(problem) => {
                    let failure = format!("{file}: {} ({way:?}, seed {seed}): {problem}", case.name);
                    println!("FAILED: {failure}");
                    failures.push(failure);
                    break;
                }
            }
        }
    }
    let cases = cases.len();
    println!("{cases} cases, {runs} runs, {crashes} crashes, {} failed", failures.len());
    assert!(failures.is_empty(), "{} of {runs} runs failed:\n{}", failures.len(), failures.join("\n"));
    assert!(
        crashes >= runs || only.is_some(),
        "{crashes} crashes in {runs} runs: jobs come to their end before they die"
    );
}

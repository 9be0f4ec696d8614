//! A model of everything that takes part in checkpoints, driven through random orders of events.
//!
//! Up to three workers with tables of all kinds, a store, a journal, a sink that merges and one that upserts, a source whose
//! splits are found one by one. At any step a generation may crash or be taken for dead while it acts on (a zombie), a second
//! starter may be about to claim what the first one claims, a write may arrive long after; the next generation recovers at
//! another parallelism. What must hold, always (`world.rs` checks it against the input itself, without asking the protocol):
//!
//! * Nothing is lost: the state and the output of a manifest are exactly the records before its positions.
//! * Nothing is committed twice, nothing before a manifest released it, nothing that is not there any more; what is committed
//!   together stays together; and no old value overwrites a new one.
//! * No manifest in the journal names an object that is missing; none that a restore needs is collected.
//! * A zombie changes nothing: it completes no checkpoint behind its successor's claim.
//! * No record is read when all windows have fired.
//! * What sources have forgotten is not asked for again.
//! * Damaged or removed files end in the right answer or a refusal. What the user names is restored exactly, or refused;
//!   output shows twice only where he has accepted it, and nothing is lost then either.
//! * Once faults stop, the job comes to its end, all output is visible, and no garbage is left.

mod found;
mod generation;
mod recovering;
mod sinks;
mod tables;
mod workers;
mod world;

use proptest::prelude::*;
use rheos_checkpoint::coordinator::{Decision, Event, GenerationEnd};
use rheos_checkpoint::manifest::Manifest;

use generation::{Fate, Running};
use recovering::{Recovering, Setup, Stage};
use world::{Hazard, World};

/// One random step: what, and how.
type Dice = (u8, u8, u8);

const ZOMBIES_MAX: usize = 3;

struct Model {
    world: World,
    setup: Setup,
    stage: Stage,
    zombies: Vec<Running>,
    /// Others that have read the journal and are slow to claim.
    rivals: Vec<Recovering>,
}

impl Model {
    fn new(splits: Vec<u32>, setup: Setup, hazard: Hazard) -> Self {
        let mut world = World::new(splits, hazard);
        let stage = Stage::recover(&mut world, &setup, 2, 0);
        Self { world, setup, stage, zombies: Vec::new(), rivals: Vec::new() }
    }

    fn step(&mut self, (what, how, which): Dice) {
        // Two in thirty-two steps belong to the past.
        if what >= 240 && !self.zombies.is_empty() {
            let zombie = usize::from(how) % self.zombies.len();
            return act(&mut self.zombies[zombie], &mut self.world, which.wrapping_mul(37), how, which);
        }
        match what {
            0..8 => self.crash(how, which),
            8..11 if self.world.hazard == Hazard::Damage => self.damage(how, which),
            11..18 => self.land_a_delayed_write(how),
            18..22 => self.rival(how, which),
            _ => self.go_on(what, how, which),
        }
    }

    fn go_on(&mut self, what: u8, how: u8, which: u8) {
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::Running(mut running) => {
                act(&mut running, &mut self.world, what, how, which);
                let over = running.over.is_some();
                self.stage = Stage::Running(running);
                if over {
                    self.next_generation(how, which);
                }
            }
            Stage::Recovering(recovering) => {
                // Sometimes only some of what was released is committed again before the next crash.
                let commits = if how < 40 { usize::from(which % 3) } else { usize::MAX };
                self.stage = recovering.claim(&mut self.world, &self.setup, commits, fate(which));
            }
            end => self.stage = end,
        }
    }

    /// The running generation is taken for dead; it may or may not be.
    fn crash(&mut self, how: u8, which: u8) {
        match std::mem::replace(&mut self.stage, Stage::Finished) {
            Stage::Running(running) => {
                self.leave(*running, how);
                self.next_generation(how, which);
            }
            other => self.stage = other,
        }
    }

    fn leave(&mut self, running: Running, how: u8) {
        if how.is_multiple_of(2) && self.zombies.len() < ZOMBIES_MAX {
            self.zombies.push(running);
        }
    }

    fn next_generation(&mut self, how: u8, which: u8) {
        self.stage = Stage::recover(&mut self.world, &self.setup, 1 + u32::from(how / 2) % 3, which);
    }

    /// Somebody else starts the job: reads the journal, or claims by what was read some time ago.
    fn rival(&mut self, how: u8, which: u8) {
        if matches!(self.stage, Stage::Finished | Stage::Refused) {
            return;
        }
        let Some(rival) = self.rivals.pop() else {
            let stage = Stage::recover(&mut self.world, &self.setup, 1 + u32::from(how) % 3, which);
            return self.rivals.extend(match stage {
                Stage::Recovering(rival) => Some(rival),
                _ => None,
            });
        };
        if let Stage::Running(running) = rival.claim(&mut self.world, &self.setup, usize::MAX, fate(which))
            && let Stage::Running(replaced) = std::mem::replace(&mut self.stage, Stage::Running(running))
        {
            self.leave(*replaced, how);
        }
    }

    fn damage(&mut self, how: u8, which: u8) {
        if which < 80 {
            return self.world.damage_entry(usize::from(how), which < 40);
        }
        let count = self.world.objects.len().max(1);
        if let Some(object) = self.world.objects.values_mut().nth(usize::from(how) % count) {
            object.damaged = true;
            self.world.is_damaged = true;
        }
    }

    fn land_a_delayed_write(&mut self, how: u8) {
        if !self.world.delayed.is_empty() {
            let at = usize::from(how) % self.world.delayed.len();
            let (number, entry) = self.world.delayed.remove(at);
            self.world.land(number, &entry);
        }
    }

    /// Nothing fails any more: the job must come to its end.
    fn finish(&mut self) {
        const ROUNDS_MAX: usize = 2000;
        for _ in 0..ROUNDS_MAX {
            self.zombies.clear();
            match &mut self.stage {
                Stage::Finished => return self.world.check_output(),
                Stage::Refused => return,
                Stage::Recovering(_) => self.go_on(255, 255, 255),
                Stage::Running(running) => {
                    round(running, &mut self.world);
                    match &running.over {
                        None => {}
                        Some(GenerationEnd::Finished) => {
                            running.collect(&self.world);
                            while running.delete(&mut self.world) {}
                            self.world.check_garbage();
                            self.stage = Stage::Finished;
                        }
                        Some(_) => self.next_generation(2, 0),
                    }
                }
            }
        }
        panic!("no progress in {ROUNDS_MAX} rounds");
    }
}

fn fate(which: u8) -> Fate {
    match which {
        0..20 => Fate::Fails,
        20..40 => Fate::AnswerLost,
        40..60 => Fate::Delayed,
        _ => Fate::Works,
    }
}

/// One random step of one generation.
fn act(running: &mut Running, world: &mut World, what: u8, how: u8, which: u8) {
    if running.over.is_some() {
        return;
    }
    let worker = usize::from(which) % running.workers.len();
    match what % 32 {
        0..3 => {
            world.now_ms += u64::from(how);
            running.tell(world, Event::Tick);
        }
        3..10 => running.read(world, worker),
        10..14 => running.cut(worker),
        14..18 => running.store(world, worker, how < 20),
        18..24 => running.deliver(world, usize::from(how)),
        24..28 => running.carry_out(world, usize::from(how), fate(which)),
        28 => running.collect(world),
        29 => _ = running.delete(world),
        30 => running.compact(world, worker, how),
        _ => match how {
            0..8 => running.tell(world, Event::Stop),
            8..16 => running.tell(world, Event::Checkpoint),
            16..24 => running.tell(world, Event::Savepoint(format!("s{which}"))),
            24..32 => running.tell(world, Event::Drain),
            32..40 => running.tell(world, Event::SavepointAndStop(format!("s{which}"))),
            _ => _ = running.delete(world),
        },
    }
}

/// Everybody does what there is to do, and it works.
fn round(running: &mut Running, world: &mut World) {
    world.now_ms += 50;
    running.tell(world, Event::Tick);
    for worker in 0..running.workers.len() {
        running.read(world, worker);
        running.cut(worker);
    }
    for worker in 0..running.workers.len() {
        running.store(world, worker, false);
    }
    while running.over.is_none() && !running.events.is_empty() {
        running.deliver(world, 0);
    }
    while running.over.is_none() && !running.todo.is_empty() {
        running.carry_out(world, 0, Fate::Works);
    }
}

/// What has been told is heard, and what follows is done, until nothing is left.
fn deliver_all(running: &mut Running, world: &mut World) {
    while running.over.is_none() && !(running.events.is_empty() && running.todo.is_empty()) {
        match running.todo.is_empty() {
            true => running.deliver(world, 0),
            false => running.carry_out(world, 0, Fate::Works),
        }
    }
}

/// As `round`, but no sink commits anything.
fn round_without_commits(running: &mut Running, world: &mut World) {
    let mut commits = Vec::new();
    loop {
        let (held, others) =
            std::mem::take(&mut running.todo).into_iter().partition(|d| matches!(d, Decision::Commit(_)));
        commits.extend::<Vec<Decision>>(held);
        running.todo = others;
        if running.todo.is_empty() && running.events.is_empty() {
            break;
        }
        match running.todo.is_empty() {
            true => running.deliver(world, 0),
            false => running.carry_out(world, 0, Fate::Works),
        }
    }
    running.todo = commits;
}

fn setups() -> impl Strategy<Value = Setup> {
    let interval = prop_oneof![Just(0_u64), Just(250)];
    (interval, 1..4_usize, 1..4_u32).prop_map(|(commit_interval_ms, in_flight_max, checkpoints_kept)| Setup {
        commit_interval_ms,
        in_flight_max,
        checkpoints_kept,
    })
}

fn run(splits: Vec<u32>, setup: Setup, hazard: Hazard, steps: Vec<Dice>) {
    let mut model = Model::new(splits, setup, hazard);
    steps.into_iter().for_each(|dice| model.step(dice));
    model.finish();
}

fn splits() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..12_u32, 1..5)
}

fn steps() -> impl Strategy<Value = Vec<Dice>> {
    prop::collection::vec(any::<Dice>(), 0..600)
}

/// Ten records are read, and a savepoint releases them; the sinks do not get to committing them. The user starts anew, and
/// two records of that are committed. Then he goes back to the savepoint: its release is older than what the sinks have seen.
#[test]
fn a_release_that_was_passed_over_is_committed_when_the_user_comes_back_to_it() {
    let setup = Setup { commit_interval_ms: 0, in_flight_max: 2, checkpoints_kept: 1 };
    let mut model = Model::new(vec![12], setup, Hazard::User);
    model.go_on(255, 255, 255);
    let Stage::Running(running) = &mut model.stage else { panic!() };
    (0..11).for_each(|_| running.read(&model.world, 0));
    running.tell(&mut model.world, Event::Savepoint("s".into()));
    (0..2).for_each(|worker| running.cut(worker));
    (0..2).for_each(|worker| running.store(&mut model.world, worker, false));
    round_without_commits(running, &mut model.world);
    assert!(model.world.journal().savepoints().count() == 1 && !running.todo.is_empty());

    model.next_generation(0, 240);
    model.go_on(255, 255, 255);
    assert!(model.world.duplicates, "started without state");
    let Stage::Running(running) = &mut model.stage else { panic!() };
    (0..3).for_each(|_| running.read(&model.world, 0));
    (0..4).for_each(|_| round(running, &mut model.world));
    assert!((1..10).contains(&model.world.targets[0].visible()), "{}", model.world.targets[0].visible());

    model.next_generation(0, 180);
    model.finish();
}

/// Records are read, and a savepoint releases them; the sinks do not get to committing them, and the user starts anew. That run
/// commits, and is replaced by another that starts anew: its checkpoint has released nothing, and all of the first have gone.
#[test]
fn a_release_is_committed_also_when_those_that_passed_over_it_have_been_forgotten() {
    let setup = Setup { commit_interval_ms: 0, in_flight_max: 2, checkpoints_kept: 1 };
    let mut model = Model::new(vec![12], setup, Hazard::User);
    model.go_on(255, 255, 255);
    let Stage::Running(running) = &mut model.stage else { panic!() };
    (0..11).for_each(|_| running.read(&model.world, 0));
    running.tell(&mut model.world, Event::Savepoint("s".into()));
    (0..2).for_each(|worker| running.cut(worker));
    (0..2).for_each(|worker| running.store(&mut model.world, worker, false));
    round_without_commits(running, &mut model.world);

    for records in [2, 0] {
        model.next_generation(0, 240);
        model.go_on(255, 255, 255);
        let Stage::Running(running) = &mut model.stage else { panic!() };
        assert!(model.world.duplicates, "started without state");
        assert_eq!(running.workers.len(), 1);
        (0..=records).for_each(|_| running.read(&model.world, 0));
        running.tell(&mut model.world, Event::Checkpoint);
        running.cut(0);
        running.store(&mut model.world, 0, false);
        deliver_all(running, &mut model.world);
        running.collect(&model.world);
        while running.delete(&mut model.world) {}
        assert_eq!(model.world.targets[0].visible(), 2);
    }
    let released = |m: &Manifest| m.sinks[0].last_release.map(|r| r.number.generation.0);
    let journal = model.world.journal();
    assert_eq!(journal.manifests().map(|(_, m)| released(m)).collect::<Vec<_>>(), [Some(1), None]);

    model.next_generation(0, 180);
    model.finish();
}

/// The user goes back behind a savepoint, and comes back to it.
#[test]
fn what_the_model_has_found_is_right_now() {
    let setup = Setup { commit_interval_ms: 0, in_flight_max: 2, checkpoints_kept: 2 };
    run(vec![6], setup, Hazard::User, found::BACK_AND_FORTH.to_vec());
}

proptest! {
    #![proptest_config(rheos_testkit::cases(1000))]

    #[test]
    fn nothing_is_lost_or_twice_whatever_crashes_when(splits in splits(), setup in setups(), steps in steps()) {
        run(splits, setup, Hazard::None, steps);
    }

    #[test]
    fn damage_ends_in_the_right_answer_or_a_refusal(splits in splits(), setup in setups(), steps in steps()) {
        run(splits, setup, Hazard::Damage, steps);
    }

    #[test]
    fn what_the_user_names_is_restored_exactly_or_refused(splits in splits(), setup in setups(), steps in steps()) {
        run(splits, setup, Hazard::User, steps);
    }
}

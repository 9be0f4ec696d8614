//! What is committed again after a crash, and under which number.

use rheos_checkpoint::coordinator::SinkCommit;
use rheos_checkpoint::journal::{Committed, Entry, EntryNumber, Journal};
use rheos_checkpoint::manifest::{LastRelease, Manifest, Release};
use rheos_checkpoint::recovery::{Duplicates, RestoreFrom};
use rheos_core::sink::ReleaseNumber;
use rheos_core::{Epoch, Generation};

use super::recovery::{newest, options, recover, restored};
use super::{claimed, entry, journal, manifest, number, staged, text};

/// Generation 1 has released epochs 5 and 6 together, then 7; neither has been seen to be committed.
fn twice_released() -> Manifest {
    let mut manifest = manifest(1, 7, &[], Some(7));
    let of = |sequence, epochs: &[u64]| Release {
        number: number(1, sequence),
        committables: epochs.iter().map(|e| staged(1, *e, 0, &format!("part-{e}"))).collect(),
    };
    manifest.sinks[0].releases = vec![of(5, &[5, 6]), of(7, &[7])];
    manifest
}

fn commits(commits: &[SinkCommit]) -> Vec<(ReleaseNumber, Vec<String>)> {
    commits.iter().map(|c| (c.fence.release, c.committables.iter().map(text).collect())).collect()
}

fn redone(journal: &Journal) -> Vec<(ReleaseNumber, Vec<String>)> {
    commits(&restored(recover(journal, &[], &newest()).unwrap()).commit)
}

#[test]
fn releases_are_committed_again_one_by_one_as_they_were() {
    let journal = journal(vec![claimed(1, None), entry(twice_released())]);
    let parts = |names: &[&str]| names.iter().map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(redone(&journal), [(number(1, 5), parts(&["part-5", "part-6"])), (number(1, 7), parts(&["part-7"]))]);
    let restore = restored(recover(&journal, &[], &newest()).unwrap());
    let owners: Vec<_> = restore.commit.iter().map(|c| c.fence.owner.generation).collect();
    assert_eq!(owners, [Generation(3), Generation(3)], "the one who asks");
}

#[test]
fn a_job_that_was_stopped_in_order_commits_nothing_again() {
    let committed = Committed { entry: EntryNumber(3), generation: Generation(1), manifest: EntryNumber(2) };
    let entries = vec![claimed(1, None), entry(twice_released()), Entry::Committed(committed)];
    assert_eq!(redone(&journal(entries.clone())), []);
    let crashed_since = entries.into_iter().chain([claimed(4, Some((2, 1)))]).collect();
    assert_eq!(redone(&journal(crashed_since)), []);
}

#[test]
fn what_was_held_back_and_released_since_is_not_released_with_something_else() {
    // Epoch 5 was held back, and released together with epoch 6 by a checkpoint that the user goes back behind.
    let held = manifest(1, 5, &[], None);
    let mut released = manifest(1, 6, &[], Some(6));
    released.sinks[0].releases[0].committables = vec![staged(1, 5, 0, "part-5"), staged(1, 6, 0, "part-6")];
    let entries = vec![claimed(1, None), entry(held), entry(released)];
    let back = options(RestoreFrom::Entry(EntryNumber(2)), Duplicates::Accepted);
    let settled = |entries: Vec<Entry>| {
        let restore = restored(recover(&journal(entries), &[], &back).unwrap());
        let sink = restore.manifest.sinks[0].clone();
        assert_eq!((sink.held, sink.last_release.unwrap().through), (vec![], Epoch(6)));
        commits(&restore.commit)
    };
    let parts = vec!["part-5".to_string(), "part-6".to_string()];
    assert_eq!(settled(entries.clone()), [(number(4, 0), parts.clone())]);
    // A crash before the new generation has a checkpoint: it is the same again.
    let crashed = entries.iter().cloned().chain([claimed(4, Some((2, 1)))]).collect();
    assert_eq!(settled(crashed), [(number(5, 0), parts)]);
    // A later checkpoint does not list the release: it has been seen to be committed.
    let later = entry(manifest(1, 7, &[], Some(6)));
    assert_eq!(settled(entries.iter().cloned().chain([later]).collect()), []);
    // Nor does one of the generation that went back, when the one that was gone back behind has been deleted.
    let mut on_top = manifest(4, 9, &[], Some(6));
    on_top.sinks[0].last_release = Some(LastRelease { number: number(4, 1), through: Epoch(6) });
    let gone = [entries[0].clone(), entries[1].clone(), Entry::Retired, claimed(4, Some((2, 1))), entry(on_top)];
    assert_eq!(settled(gone.into()), []);
}

#[test]
fn releases_get_new_numbers_where_the_sink_may_have_seen_later_ones() {
    // Epoch 8 was released behind the savepoint: a sink that has seen release 8 would take 5 and 7 as done.
    let mut saved = twice_released();
    saved.savepoint = Some("s".into());
    let later = entry(manifest(1, 8, &[], Some(8)));
    let back = journal(vec![claimed(1, None), entry(saved.clone()), later]);
    let savepoint = options(RestoreFrom::Savepoint("s".into()), Duplicates::Accepted);
    let restore = restored(recover(&back, &[], &savepoint).unwrap());
    let numbers: Vec<_> = commits(&restore.commit).into_iter().map(|(n, _)| n).collect();
    assert_eq!(numbers, [number(4, 0), number(4, 1)]);
    // The same where a later entry cannot be read.
    let unknown = journal(vec![claimed(1, None), entry(saved), Entry::Unreadable("cut off".into())]);
    let restore = restored(recover(&unknown, &[], &savepoint).unwrap());
    assert_eq!(commits(&restore.commit)[0].0, number(4, 0));
}

/// The savepoint's release was never committed. A run that was started without state has seen releases of its own, and its
/// checkpoint is gone: another such run has one, which has released nothing.
#[test]
fn releases_get_new_numbers_also_where_those_that_released_later_ones_are_gone() {
    let mut saved = twice_released();
    saved.savepoint = Some("s".into());
    let mut silent = manifest(5, 9, &[], None);
    silent.sinks[0].held.clear();
    let entries =
        vec![claimed(1, None), entry(saved.clone()), claimed(3, None), Entry::Retired, claimed(5, None), entry(silent)];
    let savepoint = options(RestoreFrom::Savepoint("s".into()), Duplicates::Accepted);
    let numbers = |entries: Vec<Entry>| {
        let restore = restored(recover(&journal(entries), &[], &savepoint).unwrap());
        commits(&restore.commit).into_iter().map(|(n, _)| n).collect::<Vec<_>>()
    };
    assert_eq!(numbers(entries), [number(7, 0), number(7, 1)]);
    // Who went on from the savepoint and came to nothing has committed under its numbers, if at all.
    let entries = vec![claimed(1, None), entry(saved), claimed(3, Some((2, 1))), claimed(4, Some((2, 1)))];
    assert_eq!(numbers(entries), [number(1, 5), number(1, 7)]);
}

/// The user goes back behind the savepoint, and that run commits again, under numbers of its own, what an older checkpoint has
/// released. Before it has written anything he comes back to the savepoint, which nothing newer has been written behind.
#[test]
fn releases_get_new_numbers_where_one_that_went_further_back_has_committed_under_its_own() {
    let older = entry(manifest(1, 5, &[], Some(5)));
    let mut saved = manifest(1, 6, &[], Some(6));
    saved.savepoint = Some("s".into());
    let mut entries = vec![claimed(1, None), older, entry(saved)];
    let numbers = |entries: &[Entry], from: RestoreFrom| {
        let step = recover(&journal(entries.to_vec()), &[], &options(from, Duplicates::Accepted)).unwrap();
        commits(&restored(step).commit).into_iter().map(|(n, _)| n).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&entries, RestoreFrom::Entry(EntryNumber(2))), [number(4, 0)]);
    entries.push(claimed(4, Some((2, 1))));
    assert_eq!(numbers(&entries, RestoreFrom::Savepoint("s".into())), [number(5, 0)]);
}

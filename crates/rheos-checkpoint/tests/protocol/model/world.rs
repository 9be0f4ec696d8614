//! What outlives a generation: the store of objects, the journal, the sinks' targets, and what the sources remember.
//!
//! Every change is checked here against the truth, which is the input itself: a record is a place in a split, and the state
//! and the output are the multiset of the records that were read. Nothing here asks the protocol whether it is right.

use std::collections::{BTreeMap, BTreeSet};

use rheos_checkpoint::coordinator::SinkCommit;
use rheos_checkpoint::journal::{Entry, EntryNumber, Journal, Nonce, Witness};
use rheos_checkpoint::manifest::{JobPhase, Manifest, SplitProgress};
use rheos_core::key::KeyGroup;
use rheos_core::{Epoch, Generation};

use super::sinks::Target;
use super::tables::{self, Piece, Table};

/// A place in the input: split and index.
pub(super) type Record = (u32, u32);

/// Key groups of the modelled job.
pub(super) const GROUPS: u16 = 6;

/// The key group of a record.
pub(super) fn group_of((split, index): Record) -> KeyGroup {
    KeyGroup(((index * 5 + split) % u32::from(GROUPS)) as u16)
}

/// An object: the pieces that its segments hold; each is ten bytes long.
pub(super) struct Stored {
    pub(super) generation: Generation,
    pub(super) epoch: Epoch,
    pub(super) pieces: Vec<Piece>,
    pub(super) damaged: bool,
}

/// What may happen in a world beside crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hazard {
    /// Nothing; and sources forget what has been acknowledged.
    None,
    /// Objects and entries are damaged, the newest entry is removed.
    Damage,
    /// The user names checkpoints to go on from, and may accept duplicates.
    User,
}

pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) hazard: Hazard,
    /// Length of each split.
    pub(super) splits: Vec<u32>,
    pub(super) objects: BTreeMap<String, Stored>,
    pub(super) journal: BTreeMap<EntryNumber, Entry>,
    witness: Option<Witness>,
    /// Writes of entries that are still on their way.
    pub(super) delayed: Vec<(EntryNumber, Entry)>,
    pub(super) targets: [Target; 2],
    /// Something was damaged or removed.
    pub(super) is_damaged: bool,
    /// The user has accepted duplicates.
    pub(super) duplicates: bool,
    /// Somebody has asked for the job to be drained.
    pub(super) drained: bool,
    nonces: u128,
    /// The generation whose claim counts.
    owner: Generation,
    /// Entries that were written once more, long after they had been deleted. They may name what is gone.
    stale: BTreeSet<EntryNumber>,
    /// What sources have forgotten after an acknowledgement: below this index, per split.
    forgotten: BTreeMap<u32, u32>,
}

impl World {
    /// A world with splits of these lengths.
    pub(super) fn new(splits: Vec<u32>, hazard: Hazard) -> Self {
        Self {
            now_ms: 0,
            hazard,
            splits,
            objects: BTreeMap::new(),
            journal: BTreeMap::new(),
            witness: None,
            delayed: Vec::new(),
            targets: [Target::merging(), Target::upserting()],
            is_damaged: false,
            duplicates: false,
            drained: false,
            nonces: 0,
            owner: Generation(0),
            stale: BTreeSet::new(),
            forgotten: BTreeMap::new(),
        }
    }

    pub(super) fn nonce(&mut self) -> Nonce {
        self.nonces += 1;
        Nonce(self.nonces)
    }

    pub(super) fn belongs_to(&self, generation: Generation) -> bool {
        self.owner == generation
    }

    pub(super) fn journal(&self) -> Journal {
        Journal::new(self.journal.iter().map(|(n, e)| (*n, e.clone())), self.witness)
    }

    /// A conditional write: `Err` is what stands there already.
    pub(super) fn put(&mut self, number: EntryNumber, entry: &Entry) -> Result<(), Entry> {
        if let Some(found) = self.journal.get(&number) {
            return Err(found.clone());
        }
        // What is stored is text.
        let entry = Entry::decode(number, &entry.encode(number).unwrap()).unwrap();
        let newest = self.journal.keys().next_back().is_none_or(|n| *n < number) && self.witnessed() < Some(number);
        match &entry {
            // A claim at a number that was taken and became free is void.
            Entry::Claim(claim) if newest => {
                assert!(claim.generation > self.owner, "a claim must be newer than all before");
                self.owner = claim.generation;
            }
            Entry::Claim(_) => _ = self.stale.insert(number),
            Entry::Manifest(manifest) => {
                assert!(newest, "a manifest among older ones");
                assert_eq!(manifest.generation, self.owner, "a replaced generation completed a checkpoint");
                self.check_manifest(manifest);
                self.targets.iter_mut().for_each(|t| t.release(manifest));
            }
            Entry::Committed(committed) => {
                assert!(newest, "a note among older entries");
                assert_eq!(committed.generation, self.owner, "a replaced generation noted its last commit");
                if let Some(Entry::Manifest(manifest)) = self.journal.get(&committed.manifest) {
                    self.targets.iter().for_each(|t| t.check_all_committed(manifest));
                }
            }
            Entry::Retired => panic!("an entry is retired, not written as such"),
            Entry::Unreadable(why) => panic!("{why}"),
        }
        self.journal.insert(number, entry);
        Ok(())
    }

    /// Whether the witness is there now: it can be made only once.
    pub(super) fn bear_witness(&mut self, number: EntryNumber, entry: &Entry) -> bool {
        let witness = Witness::of(number, &entry.encode(number).unwrap());
        if self.witnessed() < Some(number) {
            self.witness = Some(witness);
        }
        // Of an older entry it may have been deleted, and made anew: the newest counts.
        self.witnessed() > Some(number) || self.witness == Some(witness)
    }

    fn witnessed(&self) -> Option<EntryNumber> {
        self.witness.map(|w| w.number)
    }

    /// A write that was on its way arrives, when nobody waits for it any more.
    pub(super) fn land(&mut self, number: EntryNumber, entry: &Entry) {
        let newest = self.journal.keys().next_back().copied().max(self.witnessed());
        // Also one that was removed: it comes back.
        if newest >= Some(number) && !self.journal.contains_key(&number) {
            self.stale.insert(number);
            self.journal.insert(number, entry.clone());
        } else {
            // If the number is taken, the write has failed.
            let _ = self.put(number, entry);
        }
    }

    /// A bit of an entry flips, or the newest one is removed.
    pub(super) fn damage_entry(&mut self, at: usize, removes: bool) {
        let newest = self.journal.keys().next_back().copied();
        let Some(number) = self.journal.keys().nth(at % self.journal.len().max(1)).copied() else { return };
        self.is_damaged = true;
        // What removes a claim lets in a run that has not heard of it: too much for one model.
        let newest = newest.filter(|n| removes && Some(*n) == self.witnessed());
        match newest.and_then(|n| self.journal.get(&n)) {
            Some(Entry::Manifest(_) | Entry::Committed(_)) => {
                self.journal.pop_last();
            }
            _ => {
                self.journal.insert(number, Entry::Unreadable("a bit has flipped".into()));
            }
        }
    }

    /// Whether an entry that names this object may name what is gone.
    pub(super) fn may_be_gone(&self, object: &str) -> bool {
        let names = |e: &Entry| matches!(e, Entry::Manifest(m) if m.objects.iter().any(|o| o.name == object));
        self.stale.iter().any(|n| self.journal.get(n).is_some_and(names))
    }

    /// The records that lie before the positions of a manifest. The enumerator is the list of splits that were found.
    pub(super) fn read_before(&self, manifest: &Manifest) -> BTreeSet<Record> {
        let source = &manifest.sources[0];
        let mut ends: BTreeMap<u32, u32> =
            parse(&source.enumerator).map(|split| (split, self.splits[split as usize])).collect();
        for split in &source.splits {
            let number: u32 = split.id().parse().unwrap();
            let end = match &split.progress {
                SplitProgress::Pending => 0,
                SplitProgress::Reading(position) => position.parse().unwrap(),
                SplitProgress::Finished => self.splits[number as usize],
            };
            ends.insert(number, end);
        }
        ends.into_iter().flat_map(|(split, end)| (0..end).map(move |index| (split, index))).collect()
    }

    /// A manifest is right if its state, and its output together with what is visible, are the records before its positions.
    fn check_manifest(&self, manifest: &Manifest) {
        let read = self.read_before(manifest);
        assert_eq!(manifest.counters.get("read"), Some(&(read.len() as u64)), "the counter of records");
        for table in Table::ALL {
            let mut segments = Vec::new();
            for object in &manifest.objects {
                for segment in object.segments.iter().filter(|s| s.table == table.name()) {
                    let stored = self.objects.get(&object.name);
                    let stored =
                        stored.unwrap_or_else(|| panic!("a manifest names the missing object {}", object.name));
                    let unit = if table == Table::Split { segment.holder } else { rheos_core::WorkerId(0) };
                    segments.push((unit, segment.clone(), stored.piece(segment.offset), segment.groups.clone()));
                }
            }
            let rows = tables::apply(table, segments);
            assert_each_once(rows, &table.expected(&read), &format!("state of table {}", table.name()));
        }
        for target in &self.targets {
            target.check_manifest(manifest, &read, self.duplicates);
        }
    }

    /// Idempotent, as the contract of sinks wants it. `crashes`: before the sink has taken note of it.
    pub(super) fn commit(&mut self, commit: &SinkCommit, crashes: bool) {
        let duplicates = self.duplicates;
        self.target(&commit.fence.owner.operator.0).commit(commit, crashes, duplicates);
    }

    pub(super) fn target(&mut self, operator: &str) -> &mut Target {
        self.targets.iter_mut().find(|t| t.operator() == operator).unwrap()
    }

    /// Sources forget what lies before the positions of a checkpoint, if they do at all.
    pub(super) fn acknowledge(&mut self, manifest: &Manifest) {
        if self.hazard != Hazard::None {
            return;
        }
        for (split, index) in self.read_before(manifest) {
            let below = self.forgotten.entry(split).or_default();
            *below = (*below).max(index + 1);
        }
    }

    pub(super) fn forgotten_below(&self, split: u32) -> u32 {
        self.forgotten.get(&split).copied().unwrap_or(0)
    }

    pub(super) fn delete_object(&mut self, name: &str) {
        self.objects.remove(name);
        for (number, entry) in &self.journal {
            match entry {
                Entry::Manifest(_) if self.stale.contains(number) => {}
                Entry::Manifest(m) => {
                    let names = m.objects.iter().any(|o| o.name == name);
                    assert!(!names, "{name} was deleted, but the manifest of epoch {} names it", m.epoch);
                }
                Entry::Claim(c) => assert!(!c.damaged.iter().any(|d| d == name), "damaged {name} was deleted"),
                Entry::Committed(_) | Entry::Retired | Entry::Unreadable(_) => {}
            }
        }
    }

    pub(super) fn retire_entry(&mut self, number: EntryNumber) {
        // A late claim may have taken the number of what was to go; it is void, and nobody misses it.
        let is_stale = self.stale.remove(&number);
        assert!(is_stale || !matches!(self.journal.get(&number), Some(Entry::Claim(_))), "a claim was retired");
        let text = Entry::Retired.encode(number).unwrap();
        self.journal.insert(number, Entry::decode(number, &text).unwrap());
    }

    pub(super) fn delete_entry(&mut self, number: EntryNumber) {
        let deleted = self.journal.remove(&number);
        let is_stale = self.stale.remove(&number);
        assert!(is_stale || !matches!(deleted, Some(Entry::Claim(_))), "a claim was deleted");
        let left = self.journal.values().any(|e| matches!(e, Entry::Manifest(_)));
        assert!(left || self.is_damaged, "the last checkpoint was deleted while there was one");
    }

    /// At the end of the job: what was read is visible, and that is everything, unless it was drained. (That nothing is
    /// visible twice was seen to when it was committed.)
    pub(super) fn check_output(&self) {
        let last = self.journal.values().rev().find_map(|e| match e {
            Entry::Manifest(m) if m.phase == JobPhase::Finished => Some(m),
            _ => None,
        });
        // A manifest that has been damaged since cannot be asked; then only drained jobs have read less than all.
        let all = self.splits.iter().zip(0..).flat_map(|(n, split)| (0..*n).map(move |index| (split, index)));
        let all: BTreeSet<Record> = all.collect();
        let read = last.map(|m| self.read_before(m));
        if !self.drained {
            assert!(read.as_ref().is_none_or(|read| *read == all), "the job ended before its input");
        }
        let Some(read) = read.or((!self.drained).then_some(all)) else { return };
        self.targets.iter().for_each(|t| t.check_end(&read, self.duplicates));
    }

    /// After a last collection: no object is left that nothing names, but for what was begun behind the last checkpoint.
    pub(super) fn check_garbage(&self) {
        let last = self.journal().next_epoch();
        let mut wanted = BTreeSet::new();
        for entry in self.journal.values() {
            match entry {
                Entry::Manifest(m) => wanted.extend(m.objects.iter().map(|o| o.name.clone())),
                Entry::Claim(c) => wanted.extend(c.damaged.iter().cloned()),
                // Nobody knows what it names.
                Entry::Unreadable(_) => return,
                Entry::Committed(_) | Entry::Retired => {}
            }
        }
        let late = |o: &Stored| o.generation == self.owner && o.epoch >= last;
        let dead = |(name, o): &(&String, &Stored)| !wanted.contains(*name) && !late(o);
        let left: Vec<_> = self.objects.iter().filter(dead).map(|(name, _)| name).collect();
        assert!(left.is_empty() || self.is_damaged, "garbage is left: {left:?}");
    }
}

impl Stored {
    pub(super) fn piece(&self, offset: u64) -> Piece {
        self.pieces[(offset / 10) as usize].clone()
    }
}

/// The splits that an enumerator tells of.
pub(super) fn parse(enumerator: &str) -> impl Iterator<Item = u32> + '_ {
    enumerator.split(',').filter(|s| !s.is_empty()).map(|s| s.parse().unwrap())
}

pub(super) fn assert_each_once(mut rows: Vec<Record>, expected: &BTreeSet<Record>, what: &str) {
    rows.sort_unstable();
    assert_eq!(rows, expected.iter().copied().collect::<Vec<_>>(), "{what}: something was lost or is there twice");
}

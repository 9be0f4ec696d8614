//! Which sessions there are: by key and time to join them, by end to close them.
//!
//! A session's content is a list of *pieces*: rows of runs that someone else keeps (aggregate states, or the rows
//! themselves). Joining two sessions is joining their lists.
//!
//! Invariants: the open sessions of a key neither overlap nor touch; every open session has an entry in `closing` at its
//! end or before it (ends only grow, so an entry that comes up too early is put back); due sessions are joined by nobody.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use rheos_core::OperatorContext;
use rheos_core::operator::Counter;

use super::keys::KeyTable;

/// The end of a list of pieces.
const NONE: u32 = u32::MAX;

/// [`Session::oldest`] of a session of which nothing has been handed over.
pub(crate) const UNSAVED: i64 = i64::MAX;

/// A row of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) run: u64,
    pub(crate) row: u32,
}

#[derive(Debug, Clone, Copy)]
struct Piece {
    place: Place,
    next: u32,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    key: u32,
    /// First and last piece.
    first: u32,
    last: u32,
    pieces: u32,
    /// Rows that may still turn out to be late, or (before an exchange) all rows.
    pub(crate) uncounted: u64,
    /// The piece that takes further rows, while its run is open.
    pub(crate) active: Option<Place>,
    /// Changed since the last epoch's end.
    pub(crate) changed: bool,
    /// The number of the oldest of its rows that have been handed over as state, where rows are; else [`UNSAVED`].
    pub(crate) oldest: i64,
    is_live: bool,
    /// Grows when the number is used again, so that old entries of `closing` are told.
    generation: u32,
}

/// See the module. Sessions are called by number.
#[derive(Default)]
pub(crate) struct Sessions {
    sessions: Vec<Session>,
    free: Vec<u32>,
    keys: KeyTable,
    by_start: BTreeMap<(u32, i64), u32>,
    closing: BinaryHeap<Reverse<(i64, u32, u32)>>,
    due: VecDeque<u32>,
    pieces: Vec<Piece>,
    live_pieces: usize,
    found: Vec<u32>,
}

impl Sessions {
    pub(crate) fn get(&self, id: u32) -> &Session {
        &self.sessions[id as usize]
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut Session {
        &mut self.sessions[id as usize]
    }

    pub(crate) fn key_of(&self, id: u32) -> &[u8] {
        self.keys.bytes_of(self.get(id).key)
    }

    /// Sessions, open and due.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len() - self.free.len()
    }

    /// Open and due sessions, by number.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> + '_ {
        let live = self.sessions.iter().enumerate().filter(|(_, s)| s.is_live);
        live.map(|(id, _)| id as u32)
    }

    /// Bytes, about; without what the pieces stand for.
    pub(crate) fn size(&self) -> usize {
        // A session, its entries in the map and the heap, and its key's entry.
        let of_one = size_of::<Session>() + 96;
        self.len() * of_one + self.keys.size() + self.pieces.len() * size_of::<Piece>()
    }

    /// Puts a stretch of a key's rows into its session, which may be new, or made of several. The earliest of them keeps
    /// its number.
    pub(crate) fn join(&mut self, key: &[u8], start_ms: i64, end_ms: i64, rows: u64) -> u32 {
        let key = self.keys.find_or_insert(key);
        self.take_overlapping(key, start_ms, end_ms);
        let Some(id) = self.found.pop() else {
            let id = self.add(key, start_ms, end_ms);
            self.get_mut(id).uncounted = rows;
            return id;
        };
        while let Some(other) = self.found.pop() {
            self.absorb(id, other);
        }
        let session = self.get_mut(id);
        session.start_ms = session.start_ms.min(start_ms);
        session.end_ms = session.end_ms.max(end_ms);
        session.uncounted += rows;
        session.changed = true;
        let start_ms = session.start_ms;
        self.by_start.insert((key, start_ms), id);
        id
    }

    /// Puts a later version of a session in the place of what it has grown from.
    pub(crate) fn replace(&mut self, key: &[u8], start_ms: i64, end_ms: i64) -> u32 {
        let key = self.keys.find_or_insert(key);
        self.take_overlapping(key, start_ms, end_ms);
        // The new one first: the key keeps its number.
        let found = std::mem::take(&mut self.found);
        let id = self.add(key, start_ms, end_ms);
        found.into_iter().for_each(|old| self.remove(old));
        id
    }

    /// Removes the open sessions of a key that lie within bounds.
    pub(crate) fn remove_within(&mut self, key: &[u8], start_ms: i64, end_ms: i64) {
        let key = self.keys.find_or_insert(key);
        // Held for the time being: a key without sessions is forgotten.
        self.keys.acquire(key);
        let within = self.by_start.range((key, start_ms)..=(key, end_ms));
        let within: Vec<_> = within.map(|(_, id)| *id).filter(|id| self.get(*id).end_ms <= end_ms).collect();
        for id in within {
            self.by_start.remove(&(key, self.get(id).start_ms));
            self.remove(id);
        }
        self.keys.release(key);
    }

    /// Moves the open sessions that overlap or touch a window to `found`, the earliest last.
    fn take_overlapping(&mut self, key: u32, start_ms: i64, end_ms: i64) {
        self.found.clear();
        while let Some((at, id)) = self.by_start.range((key, i64::MIN)..=(key, end_ms)).next_back() {
            let (at, id) = (*at, *id);
            if self.get(id).end_ms < start_ms {
                break;
            }
            self.by_start.remove(&at);
            self.found.push(id);
        }
    }

    fn add(&mut self, key: u32, start_ms: i64, end_ms: i64) -> u32 {
        let mut session = Session {
            start_ms,
            end_ms,
            key,
            first: NONE,
            last: NONE,
            pieces: 0,
            uncounted: 0,
            active: None,
            changed: true,
            oldest: UNSAVED,
            is_live: true,
            generation: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                session.generation = self.get(id).generation.wrapping_add(1);
                *self.get_mut(id) = session;
                id
            }
            None => {
                self.sessions.push(session);
                self.sessions.len() as u32 - 1
            }
        };
        self.keys.acquire(key);
        self.by_start.insert((key, start_ms), id);
        self.closing.push(Reverse((end_ms, id, self.get(id).generation)));
        id
    }

    /// Moves everything of `other`, which is later, into `id`.
    fn absorb(&mut self, id: u32, other: u32) {
        let (first, last, pieces) = (self.get(other).first, self.get(other).last, self.get(other).pieces);
        let (end_ms, uncounted, active) = (self.get(other).end_ms, self.get(other).uncounted, self.get(other).active);
        let oldest = self.get(other).oldest;
        let session = self.get_mut(id);
        session.end_ms = session.end_ms.max(end_ms);
        session.uncounted += uncounted;
        session.oldest = session.oldest.min(oldest);
        // Either may be in the run that is open, which is the newest.
        if active.map(|p| p.run) > session.active.map(|p| p.run) {
            session.active = active;
        }
        if first != NONE {
            let tail = std::mem::replace(&mut session.last, last);
            session.pieces += pieces;
            match tail {
                NONE => session.first = first,
                tail => self.pieces[tail as usize].next = first,
            }
        }
        self.forget(other);
    }

    /// Frees the number of a session whose pieces are not its own any more.
    fn forget(&mut self, id: u32) {
        let session = self.get_mut(id);
        session.is_live = false;
        let key = session.key;
        self.keys.release(key);
        self.free.push(id);
    }

    /// Drops a session that is neither open nor due any more, with its pieces.
    pub(crate) fn remove(&mut self, id: u32) {
        self.live_pieces -= self.get(id).pieces as usize;
        self.forget(id);
        // Before an exchange nothing closes by time, and joined sessions leave entries too.
        if self.closing.len() > 2 * self.len() + 1024 {
            let live = self.ids().map(|id| Reverse((self.get(id).end_ms, id, self.get(id).generation)));
            self.closing = live.collect();
        }
    }

    /// Takes an open session out of the reach of further rows.
    pub(crate) fn detach(&mut self, id: u32) {
        let at = (self.get(id).key, self.get(id).start_ms);
        self.by_start.remove(&at);
    }

    /// Counts the rows of a session as used if it is in time.
    pub(crate) fn count(&mut self, id: u32, watermark_ms: i64, ctx: &mut OperatorContext) {
        let session = self.get_mut(id);
        if session.end_ms >= watermark_ms {
            ctx.count(Counter::SliceInserts, std::mem::take(&mut session.uncounted));
        }
    }

    /// Drops and counts the sessions that were over before their first row came.
    pub(crate) fn drop_late(&mut self, watermark_ms: i64, ctx: &mut OperatorContext) {
        while let Some(id) = self.next_closing(watermark_ms) {
            let (rows, end_ms) = (self.get(id).uncounted, self.get(id).end_ms);
            ctx.count(Counter::LateRecords, rows);
            ctx.observe_lateness(watermark_ms.saturating_sub(end_ms), rows);
            self.remove(id);
        }
    }

    /// Makes the sessions due that end before `watermark_ms`.
    pub(crate) fn close(&mut self, watermark_ms: i64) {
        let before = self.due.len();
        while let Some(id) = self.next_closing(watermark_ms) {
            self.due.push_back(id);
        }
        if self.due.len() > before {
            let mut due = std::mem::take(&mut self.due);
            let place = |id: &u32| (self.get(*id).end_ms, self.key_of(*id), self.get(*id).start_ms);
            due.make_contiguous().sort_unstable_by(|a, b| place(a).cmp(&place(b)));
            self.due = due;
        }
    }

    /// The next open session that ends before `watermark_ms`; it is open no more.
    fn next_closing(&mut self, watermark_ms: i64) -> Option<u32> {
        while let Some(Reverse((end_ms, id, generation))) = self.closing.peek().copied()
            && end_ms < watermark_ms
        {
            self.closing.pop();
            let session = self.get(id);
            if !session.is_live || session.generation != generation {
                continue;
            }
            if session.end_ms > end_ms {
                self.closing.push(Reverse((session.end_ms, id, generation)));
                continue;
            }
            // What is due already has no place among the open ones.
            if self.by_start.get(&(session.key, session.start_ms)) != Some(&id) {
                continue;
            }
            self.detach(id);
            return Some(id);
        }
        None
    }

    /// Due sessions in the order of their ends, then keys. The caller [removes](Self::remove) them.
    pub(crate) fn take_due(&mut self, max: usize) -> Vec<u32> {
        self.due.drain(..max.min(self.due.len())).collect()
    }

    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Appends a piece to a session.
    pub(crate) fn push_piece(&mut self, id: u32, place: Place) {
        let piece = self.pieces.len() as u32;
        self.pieces.push(Piece { place, next: NONE });
        self.live_pieces += 1;
        let session = &mut self.sessions[id as usize];
        session.pieces += 1;
        match std::mem::replace(&mut session.last, piece) {
            NONE => session.first = piece,
            tail => self.pieces[tail as usize].next = piece,
        }
    }

    /// The pieces of a session.
    pub(crate) fn pieces_of(&self, id: u32) -> impl Iterator<Item = Place> + '_ {
        let mut next = self.get(id).first;
        std::iter::from_fn(move || {
            let piece = self.pieces.get(next as usize)?;
            next = piece.next;
            Some(piece.place)
        })
    }

    /// Forgets the pieces of a session: others come in their stead.
    pub(crate) fn clear_pieces(&mut self, id: u32) {
        let session = &mut self.sessions[id as usize];
        self.live_pieces -= session.pieces as usize;
        (session.first, session.last, session.pieces, session.active) = (NONE, NONE, 0, None);
    }

    /// Forgets all pieces.
    pub(crate) fn clear_all_pieces(&mut self) {
        let ids: Vec<u32> = self.ids().collect();
        ids.into_iter().for_each(|id| self.clear_pieces(id));
        self.pieces.clear();
    }

    /// The number of a session's pieces.
    pub(crate) fn count_pieces(&self, id: u32) -> usize {
        self.get(id).pieces as usize
    }

    /// Pieces of live sessions, and all pieces that take up room.
    pub(crate) fn piece_counts(&self) -> (usize, usize) {
        (self.live_pieces, self.pieces.len())
    }
}

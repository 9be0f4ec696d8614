//! How a batch is split over the workers: one `take` a target, or handed over whole.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use rheos_core::Batch;
use rheos_core::key::{KeyGroupAssignment, hash_keys};
use timely::communication::Push;
use timely::dataflow::channels::Message;
use timely::dataflow::channels::pushers::exchange::Distributor;

use crate::channel::Packet;

/// Splits batches by the hash of key columns: a row goes to the owner of its key group.
#[derive(Debug)]
pub struct HashSplit {
    columns: Vec<usize>,
    assignment: KeyGroupAssignment,
    hashes: Vec<u64>,
    rows_of: Vec<Vec<u32>>,
}

impl HashSplit {
    /// `columns` are indices of the key columns.
    pub fn new(columns: Vec<usize>, assignment: KeyGroupAssignment, workers: usize) -> Self {
        Self { columns, assignment, hashes: Vec::new(), rows_of: vec![Vec::new(); workers] }
    }

    /// Gives each worker its rows, in order; none to a worker that has none.
    ///
    /// Panics if the key is of a type that cannot be hashed, which planners refuse.
    pub fn split(&mut self, records: &RecordBatch, mut give: impl FnMut(usize, RecordBatch)) {
        let keys: Vec<ArrayRef> = self.columns.iter().map(|c| ArrayRef::clone(records.column(*c))).collect();
        hash_keys(&keys, records.num_rows(), &mut self.hashes).expect("the planner checks that keys can be hashed");
        for rows in &mut self.rows_of {
            rows.clear();
        }
        for (row, hash) in self.hashes.iter().enumerate() {
            self.rows_of[self.assignment.worker(*hash)].push(row as u32);
        }
        for (worker, rows) in self.rows_of.iter_mut().enumerate() {
            if rows.is_empty() {
                continue;
            }
            if rows.len() == records.num_rows() {
                return give(worker, records.clone());
            }
            let indices = UInt32Array::from(std::mem::take(rows));
            give(worker, take_record_batch(records, &indices).expect("the indices lie within the batch"));
            // Take the allocation back: the next batch fills it again.
            if let Ok(buffer) = indices.into_parts().1.into_inner().into_vec::<u32>() {
                *rows = buffer;
            }
        }
    }
}

/// By the hash of key columns.
pub(crate) struct HashDistributor(pub(crate) HashSplit);

impl Distributor<Packet> for HashDistributor {
    fn partition<T: Clone, P: Push<Message<T, Packet>>>(&mut self, packet: &mut Packet, time: &T, pushers: &mut [P]) {
        let Some(Batch { records, ticket }) = packet.0.take() else { return };
        self.0.split(&records, |worker, part| {
            Message::push_at(&mut Packet::new(Batch::new(part, ticket.clone())), time.clone(), &mut pushers[worker]);
        });
    }

    fn flush<T: Clone, P: Push<Message<T, Packet>>>(&mut self, _time: &T, _pushers: &mut [P]) {}
}

/// Everything to every worker.
pub(crate) struct BroadcastDistributor;

impl Distributor<Packet> for BroadcastDistributor {
    fn partition<T: Clone, P: Push<Message<T, Packet>>>(&mut self, packet: &mut Packet, time: &T, pushers: &mut [P]) {
        let Some(Batch { records, ticket }) = packet.0.take() else { return };
        for pusher in pushers {
            Message::push_at(&mut Packet::new(Batch::new(records.clone(), ticket.clone())), time.clone(), pusher);
        }
    }

    fn flush<T: Clone, P: Push<Message<T, Packet>>>(&mut self, _time: &T, _pushers: &mut [P]) {}
}

/// Everything to worker 0.
pub(crate) struct SingleDistributor;

impl Distributor<Packet> for SingleDistributor {
    fn partition<T: Clone, P: Push<Message<T, Packet>>>(&mut self, packet: &mut Packet, time: &T, pushers: &mut [P]) {
        Message::push_at(packet, time.clone(), &mut pushers[0]);
    }

    fn flush<T: Clone, P: Push<Message<T, Packet>>>(&mut self, _time: &T, _pushers: &mut [P]) {}
}

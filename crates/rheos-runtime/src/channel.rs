//! The container that travels through Timely: one batch with its ticket.

use arrow::array::Array;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use rheos_core::{Batch, Ticket};
use timely::Accountable;
use timely::bytes::arc::Bytes;
use timely::dataflow::channels::ContainerBytes;

/// A batch on its way, or nothing (Timely wants a default).
#[derive(Clone, Default)]
pub(crate) struct Packet(pub(crate) Option<Batch>);

impl Packet {
    pub(crate) fn new(batch: Batch) -> Self {
        Self(Some(batch))
    }
}

impl Accountable for Packet {
    /// Rows, so that a split into parts keeps the count that Timely's progress protocol checks.
    fn record_count(&self) -> i64 {
        self.0.as_ref().map_or(0, |b| b.records.num_rows() as i64)
    }
}

/// Arrow IPC, for workers in other processes. The ticket stays behind: credit does not cross by value.
impl ContainerBytes for Packet {
    fn from_bytes(bytes: Bytes) -> Self {
        let mut reader = StreamReader::try_new(&bytes[..], None).expect("a peer of this job sends Arrow IPC");
        let records = reader.next().map(|batch| batch.expect("a peer of this job sends whole batches"));
        Self(records.map(|records| Batch::new(records, Ticket::none())))
    }

    fn length_in_bytes(&self) -> usize {
        self.encode().len()
    }

    fn into_bytes<W: std::io::Write>(&self, writer: &mut W) {
        writer.write_all(&self.encode()).expect("the transport's buffer has the length that was asked for");
    }
}

impl Packet {
    /// The IPC stream, padded to 8 bytes: later messages of the slab must stay aligned.
    fn encode(&self) -> Vec<u8> {
        let Some(batch) = &self.0 else { return Vec::new() };
        let mut bytes = Vec::new();
        let mut writer =
            StreamWriter::try_new(&mut bytes, &batch.records.schema()).expect("writing to memory cannot fail");
        writer.write(&batch.records).and_then(|()| writer.finish()).expect("writing to memory cannot fail");
        drop(writer);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }
}

/// Bytes that a batch's rows take up, for its ticket; at least one, so that an empty pool always means no batch is out.
pub(crate) fn batch_bytes(records: &RecordBatch) -> u64 {
    // Only the slice counts: the parts of one buffer must not each be charged for all of it.
    let bytes = |column: &arrow::array::ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0) as u64;
    records.columns().iter().map(bytes).sum::<u64>().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn a_batch_survives_the_way_to_another_process() {
        let columns: [(&str, arrow::array::ArrayRef); 2] = [
            ("a", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))),
            ("b", Arc::new(StringArray::from(vec!["x", "yy", ""]))),
        ];
        let records = RecordBatch::try_from_iter(columns).unwrap();
        let packet = Packet::new(Batch::new(records.clone(), Ticket::none()));
        let mut bytes = Vec::new();
        packet.into_bytes(&mut bytes);
        assert_eq!(bytes.len(), packet.length_in_bytes());
        assert_eq!(bytes.len() % 8, 0);
        let bytes = timely::bytes::arc::BytesMut::from(bytes).freeze();
        assert_eq!(Packet::from_bytes(bytes).0.unwrap().records, records);
    }
}

//! Why a request is refused, in the protocol's terms.

use std::fmt;

/// See the module. What is refused has not happened, unless it is [`Storage`](Refusal::Storage).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is nothing at this offset, and will not be.
    OffsetOutOfRange,
    /// The bytes are no record batch, or its checksum is wrong: send it again.
    CorruptMessage,
    /// A batch is longer than the topic allows.
    MessageTooLarge,
    /// The disk failed or is full. What was sent may show later if it is sent again; it has not been acknowledged.
    Storage,
    /// A batch in an older format than 2.
    UnsupportedFormat,
    /// A batch is missing before this one.
    OutOfOrderSequence,
    /// A batch that came before, too long ago to say where it is.
    DuplicateSequence,
    /// A newer producer has taken this one's name.
    InvalidProducerEpoch,
    /// The transaction is not open, or the batch belongs to none.
    InvalidTransactionState,
    /// The record may not be written by a client, or a batch tells of other numbers of records than it has.
    InvalidRecord,
    /// There is no topic of this name.
    UnknownTopic,
    /// There is one already.
    TopicExists,
    /// Names have up to 249 letters, digits, `.`, `_` and `-`.
    InvalidTopicName,
    /// None, or not more than there are.
    InvalidPartitions,
    /// More than the queue may have.
    TooManyPartitions,
}

impl Refusal {
    /// The protocol's number for it. Source: Kafka's protocol guide, "Error Codes".
    pub fn code(self) -> i16 {
        match self {
            Self::OffsetOutOfRange => 1,
            Self::CorruptMessage => 2,
            Self::MessageTooLarge => 10,
            Self::Storage => 56,
            Self::UnsupportedFormat => 43,
            Self::OutOfOrderSequence => 45,
            Self::DuplicateSequence => 46,
            Self::InvalidProducerEpoch => 47,
            Self::InvalidTransactionState => 48,
            Self::InvalidRecord => 87,
            Self::UnknownTopic => 3,
            Self::TopicExists => 36,
            Self::InvalidTopicName => 17,
            Self::InvalidPartitions => 37,
            // What a broker's policy forbids.
            Self::TooManyPartitions => 44,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OffsetOutOfRange => "the offset is out of range",
            Self::CorruptMessage => "the batch is damaged",
            Self::MessageTooLarge => "the batch is too large",
            Self::Storage => "the disk failed or is full",
            Self::UnsupportedFormat => "the batch has an older format than 2",
            Self::OutOfOrderSequence => "a batch of this producer is missing before this one",
            Self::DuplicateSequence => "the batch has come before",
            Self::InvalidProducerEpoch => "a newer producer has taken this one's place",
            Self::InvalidTransactionState => "the transaction is not open",
            Self::InvalidRecord => "the batch holds what a client may not write",
            Self::UnknownTopic => "there is no such topic",
            Self::TopicExists => "there is such a topic already",
            Self::InvalidTopicName => "a topic's name has up to 249 letters, digits, '.', '_' and '-'",
            Self::InvalidPartitions => "the number of partitions is 0, or not more than there are",
            Self::TooManyPartitions => "the queue has as many partitions as it may have",
        })
    }
}

impl std::error::Error for Refusal {}

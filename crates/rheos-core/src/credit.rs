//! Flow control by ownership: every batch carries a ticket, and dropping its last part returns the credit.
//!
//! Invariant: `outstanding` of a pool is the sum of the bytes of all live tickets of that pool. It needs no frontier, so
//! it cannot hang when the watermark stands still, a worker idles, or one worker is an epoch ahead.
//!
//! ```text
//!   source ── takes ticket(bytes) ──► batch ── clone on split ──► parts ── drop ──► bytes return, source wakes
//! ```

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow::record_batch::RecordBatch;

/// Called (from any thread) when a parked owner should look again. It must be cheap and must never block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// Called when a thread panics that works on a batch: what the batch was may be the cause.
pub type OnPanic = Arc<dyn Fn() + Send + Sync>;

/// The credit of one source worker or one emitting operator.
pub struct CreditPool {
    limit_bytes: u64,
    outstanding_bytes: AtomicU64,
    starved: AtomicBool,
    wake: Wake,
}

impl CreditPool {
    /// A pool of `limit_bytes`; `wake` is called when a pool that was found empty has credit again.
    pub fn new(limit_bytes: u64, wake: Wake) -> Arc<Self> {
        Arc::new(Self { limit_bytes, outstanding_bytes: AtomicU64::new(0), starved: AtomicBool::new(false), wake })
    }

    /// Whether another ticket may be taken. A `false` arms the wake-up.
    ///
    /// A single batch larger than the limit is still let through when nothing is outstanding, else it would never go.
    pub fn has_credit(&self) -> bool {
        if self.outstanding_bytes.load(Ordering::SeqCst) < self.limit_bytes {
            return true;
        }
        self.starved.store(true, Ordering::SeqCst);
        // A ticket may have come back between the look and the flag; look again so that its wake-up is not missed.
        self.outstanding_bytes.load(Ordering::SeqCst) < self.limit_bytes
    }

    /// Takes a ticket of `bytes`. Call [`has_credit`](Self::has_credit) first.
    pub fn take(self: &Arc<Self>, bytes: u64) -> Ticket {
        self.outstanding_bytes.fetch_add(bytes, Ordering::SeqCst);
        Ticket(Some(Arc::new(TicketShare { pool: Arc::clone(self), bytes, on_panic: None })))
    }

    /// As [`take`](Self::take), and `on_panic` is called if a thread panics while it holds a part of the batch.
    pub fn take_noted(self: &Arc<Self>, bytes: u64, on_panic: OnPanic) -> Ticket {
        self.outstanding_bytes.fetch_add(bytes, Ordering::SeqCst);
        Ticket(Some(Arc::new(TicketShare { pool: Arc::clone(self), bytes, on_panic: Some(on_panic) })))
    }

    /// Bytes of all live tickets.
    pub fn outstanding_bytes(&self) -> u64 {
        self.outstanding_bytes.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for CreditPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CreditPool({} of {} bytes)", self.outstanding_bytes(), self.limit_bytes)
    }
}

struct TicketShare {
    pool: Arc<CreditPool>,
    bytes: u64,
    on_panic: Option<OnPanic>,
}

impl fmt::Debug for TicketShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes of {:?}", self.bytes, self.pool)
    }
}

impl Drop for TicketShare {
    fn drop(&mut self) {
        self.pool.outstanding_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        if self.pool.starved.swap(false, Ordering::SeqCst) {
            (self.pool.wake)();
        }
    }
}

/// A share of some credit. Clones share it; the last drop returns it.
#[derive(Clone, Debug, Default)]
pub struct Ticket(Option<Arc<TicketShare>>);

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(on_panic) = self.0.as_ref().and_then(|share| share.on_panic.as_ref())
            && std::thread::panicking()
        {
            on_panic();
        }
    }
}

impl Ticket {
    /// A ticket that holds nothing: for tests and for rows that no pool accounts for.
    pub fn none() -> Self {
        Self(None)
    }
}

/// Rows on their way, with the ticket that accounts for them.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The rows.
    pub records: RecordBatch,
    /// Returned to its pool when the last part of the batch is dropped.
    pub ticket: Ticket,
}

impl Batch {
    /// Rows under an existing ticket.
    pub fn new(records: RecordBatch, ticket: Ticket) -> Self {
        Self { records, ticket }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_clone_returns_the_credit_and_wakes_only_a_starved_owner() {
        let wakes = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&wakes);
        let pool = CreditPool::new(
            10,
            Arc::new(move || {
                seen.fetch_add(1, Ordering::SeqCst);
            }),
        );
        let ticket = pool.take(10);
        let part = ticket.clone();
        drop(ticket);
        assert!(!pool.has_credit());
        drop(part);
        assert_eq!((pool.outstanding_bytes(), wakes.load(Ordering::SeqCst)), (0, 1));
        drop(pool.take(10));
        assert_eq!(wakes.load(Ordering::SeqCst), 1, "nobody waited");
    }

    #[test]
    fn a_panic_tells_of_the_batches_in_its_thread_s_hands() {
        let pool = CreditPool::new(10, Arc::new(|| ()));
        let told = Arc::new(AtomicU64::new(0));
        let noted = |bit: u64| {
            let told = Arc::clone(&told);
            pool.take_noted(1, Arc::new(move || _ = told.fetch_or(bit, Ordering::SeqCst)))
        };
        let (held, waiting) = (noted(1), noted(2));
        let elsewhere = held.clone();
        drop(noted(4));
        let panics = std::thread::spawn(move || {
            let _held = held;
            panic!("a record cannot be worked on");
        });
        assert!(panics.join().is_err());
        drop((elsewhere, waiting));
        assert_eq!((told.load(Ordering::SeqCst), pool.outstanding_bytes()), (1, 0));
    }
}

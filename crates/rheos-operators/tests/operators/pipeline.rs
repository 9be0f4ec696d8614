//! A window aggregate as a job runs it: one stage, or two with an exchange between them.

use arrow::record_batch::RecordBatch;
use rheos_core::Result;
use rheos_core::key::{KEY_GROUPS_DEFAULT, KeyGroupAssignment};
use rheos_core::operator::Counter;
use rheos_operators::{AggregateMode, AggregateSpec};
use rheos_testkit::{OperatorHarness, Routing, Snapshot};

use crate::cases::factory;

/// One stage (`partial` is `None`) or two.
pub(crate) struct Pipeline {
    pub(crate) partial: Option<OperatorHarness>,
    pub(crate) last: OperatorHarness,
    spec: AggregateSpec,
    output: Vec<RecordBatch>,
}

impl Pipeline {
    pub(crate) fn new(spec: &AggregateSpec, two_stages: bool, parallelism: usize) -> Self {
        Self::restored(spec, two_stages, parallelism, Snapshot::default())
    }

    /// In one stage the keys must be the columns `1..`.
    pub(crate) fn restored(spec: &AggregateSpec, two_stages: bool, parallelism: usize, snapshot: Snapshot) -> Self {
        let keys = spec.keys.len();
        let routing = if keys == 0 { Routing::Single } else { Routing::Hash((1..=keys).collect()) };
        let mode = if two_stages { AggregateMode::Final } else { AggregateMode::Single };
        let partial = two_stages.then(|| {
            let factory = factory(spec, AggregateMode::Partial);
            assert_eq!(factory.exchange_columns(), (1..=keys).collect::<Vec<_>>());
            OperatorHarness::new(&factory, parallelism, Routing::RoundRobin)
        });
        let last = OperatorHarness::restored(&factory(spec, mode), parallelism, routing, snapshot).unwrap();
        Self { partial, last, spec: spec.clone(), output: vec![] }
    }

    pub(crate) fn batch(&mut self, batch: RecordBatch) -> Result<()> {
        match &mut self.partial {
            Some(partial) => {
                partial.batch(batch)?;
                self.exchange()
            }
            None => self.last.batch(batch),
        }
    }

    fn exchange(&mut self) -> Result<()> {
        if let Some(partial) = &mut self.partial {
            for batch in partial.take_output() {
                self.last.batch(batch)?;
            }
        }
        Ok(())
    }

    pub(crate) fn watermark(&mut self, ms: i64) -> Result<()> {
        if let Some(partial) = &mut self.partial {
            partial.watermark(ms)?;
            self.exchange()?;
        }
        self.last.watermark(ms)?;
        self.output.extend(self.last.take_output());
        Ok(())
    }

    pub(crate) fn end_epoch(&mut self) -> Result<()> {
        if let Some(partial) = &mut self.partial {
            partial.end_epoch()?;
            self.exchange()?;
        }
        self.last.end_epoch()
    }

    /// Goes on from the last epoch's end with other workers; what was emitted stays.
    pub(crate) fn restart(mut self, parallelism: usize, watermark: i64) -> Self {
        let snapshot = self.last.snapshot();
        let two_stages = self.partial.is_some();
        let snapshot = match parallelism {
            2 => snapshot.merged(),
            3 => {
                let mode = if two_stages { AggregateMode::Final } else { AggregateMode::Single };
                snapshot.combined(&factory(&self.spec, mode), &KeyGroupAssignment::even(KEY_GROUPS_DEFAULT, 1))
            }
            _ => snapshot,
        };
        let mut new = Self::restored(&self.spec, two_stages, parallelism, snapshot);
        new.output = std::mem::take(&mut self.output);
        if let Some(partial) = &mut new.partial {
            // Sources come back with their watermark.
            partial.watermark(watermark).unwrap();
        }
        new
    }

    pub(crate) fn end(&mut self) -> Result<Vec<RecordBatch>> {
        self.watermark(i64::MAX)?;
        Ok(std::mem::take(&mut self.output))
    }

    pub(crate) fn late(&self) -> u64 {
        let partial = self.partial.as_ref().map_or(0, |p| p.counter(Counter::LateRecords));
        partial + self.last.counter(Counter::LateRecords)
    }
}

use super::*;
use arrow::datatypes::{Schema, SchemaRef};
use rheos_core::source::{Boundedness, Discovery, MaxJump, ReaderContext, SplitReader};

/// A source that is only enumerated: (sequence, not before).
#[derive(Debug)]
struct Listed(Vec<(u32, Option<i64>)>);

/// A source whose every look finds one more split, in a sequence of its own.
#[derive(Debug, Default)]
struct Growing(std::sync::atomic::AtomicU32);

impl Source for Growing {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn project(&self, _columns: &[usize]) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Growing::default()))
    }

    fn discover(&self, _time_column: Option<usize>, _parallelism: usize) -> Result<Discovery> {
        let sequence = self.0.fetch_add(1, Ordering::SeqCst);
        let (id, descriptor) = (sequence.to_string(), String::new());
        let split = Split { id, sequence, not_before_ms: None, size_bytes: 1, descriptor };
        Ok(Discovery { splits: vec![split], finished: false })
    }

    fn open(&self, _split: &Split, _position: Option<&str>, _ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        unreachable!("only enumerated")
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![]
    }
}

impl Source for Listed {
    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::empty())
    }

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn project(&self, _columns: &[usize]) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(Listed(self.0.clone())))
    }

    fn discover(&self, _time_column: Option<usize>, _parallelism: usize) -> Result<Discovery> {
        let split = |(n, (sequence, not_before_ms)): (usize, &(u32, Option<i64>))| Split {
            id: n.to_string(),
            sequence: *sequence,
            not_before_ms: *not_before_ms,
            size_bytes: 1,
            descriptor: String::new(),
        };
        Ok(Discovery { splits: self.0.iter().enumerate().map(split).collect(), finished: true })
    }

    fn open(&self, _split: &Split, _position: Option<&str>, _ctx: ReaderContext) -> Result<Box<dyn SplitReader>> {
        unreachable!("only enumerated")
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![]
    }
}

fn coordinator(splits: &[(u32, Option<i64>)], idle_timeout_ms: Option<i64>) -> SplitCoordinator {
    let spec = WatermarkSpec { column: 0, delay_ms: 10, idle_timeout_ms, max_jump: MaxJump::Off };
    SplitCoordinator::try_new(Arc::new(Listed(splits.to_vec())), Some(spec), 2, false).unwrap()
}

fn take(c: &SplitCoordinator) -> Split {
    match c.next_split(|| true).unwrap() {
        Handout::Split(state) => state.split,
        _ => panic!("there is another split"),
    }
}

#[test]
fn the_watermark_follows_the_unbroken_prefix_and_not_the_newest_split() {
    let c = coordinator(&[(0, None), (0, None), (0, None)], None);
    let (a, b) = (take(&c), take(&c));
    c.observe(&b, Some(500));
    assert_eq!(c.published(), Watermark::MIN, "split a, which comes first, has shown nothing");
    c.observe(&a, Some(100));
    assert_eq!(c.published(), Watermark(90));
    c.finish(&b);
    assert_eq!(c.published(), Watermark(90), "a is still open");
    c.finish(&a);
    assert_eq!(c.published(), Watermark(490), "the prefix now reaches through b");
    let last = take(&c);
    c.finish(&last);
    assert_eq!(c.published(), Watermark::MAX);
    assert!(matches!(c.next_split(|| true).unwrap(), Handout::Finished));
}

#[test]
fn a_sequence_that_nobody_has_opened_holds_the_watermark_back() {
    let c = coordinator(&[(0, None), (0, None), (1, None)], None);
    let a = take(&c);
    c.observe(&a, Some(1000));
    assert_eq!(c.published(), Watermark::MIN);
    assert_eq!(take(&c).sequence, 1, "the next split comes from the sequence that lags");
}

#[test]
fn a_known_lower_bound_lets_the_watermark_pass_pending_splits() {
    let c = coordinator(&[(0, Some(0)), (1, Some(2000))], None);
    assert_eq!(c.published(), Watermark(0));
    let a = take(&c);
    c.observe(&a, Some(1500));
    assert_eq!(c.published(), Watermark(1490));
    c.finish(&a);
    assert_eq!(c.published(), Watermark(2000));
}

#[test]
fn an_idle_split_does_not_count_and_a_wholly_idle_source_follows() {
    let c = coordinator(&[(0, None), (1, None)], Some(0));
    let (a, b) = (take(&c), take(&c));
    c.observe(&a, Some(100));
    c.observe(&b, Some(50));
    c.tick();
    assert!(c.is_idle(), "with a timeout of zero every split is idle at once");
    assert_eq!(c.published(), Watermark(90), "the furthest of the idle splits");
    c.follow(Watermark(700));
    assert_eq!(c.published(), Watermark(700));
    c.follow(Watermark(600));
    assert_eq!(c.published(), Watermark(700), "a watermark never goes back");
}

#[test]
fn a_parked_worker_is_woken_once_by_a_new_watermark() {
    let c = coordinator(&[(0, None)], None);
    let wakes = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = Arc::clone(&wakes);
    c.register_wake(
        1,
        Arc::new(move || {
            seen.fetch_add(1, Ordering::SeqCst);
        }),
    );
    let a = take(&c);
    assert!(c.park(1, Watermark::MIN));
    c.observe(&a, Some(100));
    c.observe(&a, Some(200));
    assert_eq!(wakes.load(Ordering::SeqCst), 1);
    assert!(!c.park(1, Watermark::MIN), "the watermark has moved since");
}

#[test]
fn sequences_that_are_over_hold_nothing_back_and_are_forgotten() {
    let growing = |idle_timeout_ms| {
        let spec = WatermarkSpec { column: 0, delay_ms: 10, idle_timeout_ms, max_jump: MaxJump::Off };
        SplitCoordinator::try_new(Arc::new(Growing::default()), Some(spec), 1, false).unwrap()
    };
    let c = growing(None);
    // Later files reach further than the first, and one does not: the watermark goes on, and never back.
    for (max_ms, watermark) in [(100, 90), (500, 490), (300, 490), (900, 890)] {
        let split = take(&c);
        c.observe(&split, Some(max_ms));
        c.finish(&split);
        assert_eq!(c.published(), Watermark(watermark));
        assert!(lock(&c.state).sequences.is_empty());
        assert!(!c.is_idle(), "without a timeout it waits for its next split");
    }
    let c = growing(Some(0));
    let split = take(&c);
    c.observe(&split, Some(100));
    c.finish(&split);
    c.tick();
    assert!(c.is_idle(), "with a timeout of zero it is idle as soon as nothing is left to read");
}

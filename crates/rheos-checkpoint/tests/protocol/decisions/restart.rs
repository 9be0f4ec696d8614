//! Restarts: waits of 100 ms to 400 ms, three in 10 s, a place is poisoned after two failures.

use std::num::{NonZeroU32, NonZeroU64};

use rheos_checkpoint::restart::{Place, Restart, RestartPolicy, Restarts, may_mend};
use rheos_core::{Error, ErrorKind};

fn restarts() -> Restarts {
    Restarts::new(RestartPolicy {
        backoff_ms_min: NonZeroU64::new(100).unwrap(),
        backoff_ms_max: 300,
        attempts_max: 3,
        window_ms: 10_000,
        poisoned_after: NonZeroU32::new(2).unwrap(),
    })
}

fn down(what: &str) -> Error {
    Error::new(ErrorKind::External, 203, what)
}

fn after(wait_ms: u64, attempt: u32) -> Restart {
    Restart::After { wait_ms, attempt }
}

#[test]
fn waits_grow_and_failures_that_are_long_ago_do_not_count() {
    let mut r = restarts();
    let expected = [(0, after(100, 1)), (100, after(200, 2)), (10_000, after(300, 3))];
    for (now_ms, restart) in expected {
        assert_eq!(r.failed(now_ms, &down(&now_ms.to_string()), None), restart, "{now_ms}");
    }
    assert_eq!(r.failed(10_050, &down("10050"), None), after(300, 3), "the first is forgotten");
    assert_eq!(r.failed(10_060, &down("10060"), None), Restart::GiveUp(down("100")), "the first cause is told");
    assert_eq!(r.failed(30_000, &down("30000"), None), after(100, 1));
}

#[test]
fn a_job_that_may_not_be_started_again_tells_its_own_cause() {
    let mut r = Restarts::new(RestartPolicy { attempts_max: 0, ..RestartPolicy::default() });
    assert_eq!(r.failed(0, &down("disk"), None), Restart::GiveUp(down("disk")));
}

#[test]
fn what_a_restart_cannot_mend_ends_the_job_and_is_told_itself() {
    let mut r = restarts();
    r.failed(0, &down("first"), None);
    let bad = Error::user("division by zero");
    assert_eq!(r.failed(1, &bad, None), Restart::GiveUp(bad));
    let mends = |kind| may_mend(&Error::new(kind, 1, ""));
    use ErrorKind::*;
    assert!([External, InputMissing, NotAllowed, Internal].into_iter().all(mends));
    assert!(![Invalid, User, Conflict, InUse, Corrupt].into_iter().any(mends));
    assert!(!may_mend(&Error::new(External, 216, "nobody reads what is printed")));
}

#[test]
fn a_record_that_fails_again_and_again_is_put_aside() {
    let place = |position: &str| Place { source: "s".into(), split: "a".into(), position: position.into() };
    let bad = Error::user("what the record is");
    let mut r = restarts();
    assert_eq!(r.failed(0, &bad, Some(place("5"))), after(100, 1));
    assert_eq!(r.failed(1, &bad, Some(place("6"))), after(200, 2));
    assert_eq!(r.failed(2, &bad, Some(place("5"))), Restart::Without(place("5")));
    assert_eq!(r.failed(3, &bad, Some(place("5"))), after(100, 1), "it would have to fail anew");
    assert_eq!(r.failed(20_000, &bad, Some(place("6"))), after(100, 1), "the first time is too long ago");
}

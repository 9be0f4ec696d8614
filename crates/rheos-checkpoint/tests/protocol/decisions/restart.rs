//! Restarts: waits of 100 ms to 400 ms, three in 10 s, a place is poisoned after two failures.

use std::num::{NonZeroU32, NonZeroU64};

use rheos_checkpoint::restart::{Place, Restart, RestartPolicy, Restarts};

fn restarts() -> Restarts {
    Restarts::new(RestartPolicy {
        backoff_ms_min: NonZeroU64::new(100).unwrap(),
        backoff_ms_max: 300,
        attempts_max: 3,
        window_ms: 10_000,
        poisoned_after: NonZeroU32::new(2).unwrap(),
    })
}

#[test]
fn waits_grow_and_failures_that_are_long_ago_do_not_count() {
    let mut r = restarts();
    let expected = [(0, Restart::After(100)), (100, Restart::After(200)), (10_000, Restart::After(300))];
    for (now_ms, restart) in expected {
        assert_eq!(r.failed(now_ms, None), restart, "{now_ms}");
    }
    assert_eq!(r.failed(10_050, None), Restart::After(300), "the first is forgotten");
    assert_eq!(r.failed(10_060, None), Restart::GiveUp);
    assert_eq!(r.failed(30_000, None), Restart::After(100));
}

#[test]
fn a_record_that_fails_again_and_again_is_put_aside() {
    let place = |position: &str| Place { source: "s".into(), split: "a".into(), position: position.into() };
    let mut r = restarts();
    assert_eq!(r.failed(0, Some(place("5"))), Restart::After(100));
    assert_eq!(r.failed(1, Some(place("6"))), Restart::After(200));
    assert_eq!(r.failed(2, Some(place("5"))), Restart::Without(place("5")));
    assert_eq!(r.failed(3, Some(place("5"))), Restart::After(100), "it would have to fail anew");
    assert_eq!(r.failed(20_000, Some(place("6"))), Restart::After(100), "the first time is too long ago");
}

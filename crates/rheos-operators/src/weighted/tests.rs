//! Every function over random rows that come and go, compared with DataFusion's accumulator over the rows that are there: after
//! each batch, with states that go through tables and back, and slots that are used again.

mod by_hand;
mod fixture;
mod model;

use proptest::prelude::*;
use rheos_testkit::cases;

use self::fixture::{all_calls, calls_like_nexmark, pool};
use self::model::{Model, Step, steps};

/// Steps without a pattern, the same in every run.
fn fixed_steps(retracts: bool, count: usize) -> Vec<Step> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut any = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    (0..count)
        .map(|_| match any(12) {
            0 => Step::Checkpoint,
            1 => Step::Restore,
            2 if retracts => Step::Drop(any(3) as usize),
            _ => Step::Rows(
                (0..any(25)).map(|_| (any(3) as usize, any(40) as usize, any(3) as i64 + 1, any(2) == 0)).collect(),
            ),
        })
        .collect()
}

#[test]
fn every_function_over_rows_that_come() {
    let calls = all_calls(false);
    assert!(calls.len() > 150, "{} calls", calls.len());
    let mut model = Model::new(pool(), calls, false);
    fixed_steps(false, 12).into_iter().for_each(|step| model.step(step));
}

#[test]
fn every_function_over_rows_that_come_and_go() {
    let calls = all_calls(true);
    assert!(calls.len() > 150, "{} calls", calls.len());
    let mut model = Model::new(pool(), calls, true);
    fixed_steps(true, 25).into_iter().for_each(|step| model.step(step));
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn results_are_those_of_the_rows_that_are_there(retracts: bool, steps in steps(30)) {
        let mut model = Model::new(pool(), calls_like_nexmark(retracts), retracts);
        steps.into_iter().for_each(|step| model.step(step));
    }
}

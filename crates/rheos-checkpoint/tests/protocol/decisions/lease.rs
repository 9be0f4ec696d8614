//! The lease, valid for 900 ms.

use rheos_checkpoint::journal::Nonce;
use rheos_checkpoint::lease::{Lease, LeaseState, LeaseWatch};
use rheos_core::ErrorKind;

fn lease(nonce: u128, beat: u64) -> Option<Lease> {
    Some(Lease { holder: "host 1, process 7".into(), nonce: Nonce(nonce), beat, process: None })
}

#[test]
fn a_lease_that_changes_is_held_and_one_that_does_not_is_free_in_time() {
    assert_eq!(LeaseWatch::new(900).saw(None, 0), LeaseState::Free);
    let mut watch = LeaseWatch::new(900);
    assert_eq!(watch.saw(lease(1, 7), 1000), LeaseState::LookAgain(300));
    assert_eq!(watch.saw(lease(1, 7), 1700), LeaseState::LookAgain(200));
    assert_eq!(watch.saw(lease(1, 7), 1899), LeaseState::LookAgain(1));
    assert_eq!(watch.saw(lease(1, 7), 1900), LeaseState::Free);
    for changed in [lease(1, 8), lease(2, 7)] {
        let mut watch = LeaseWatch::new(900);
        watch.saw(lease(1, 7), 0);
        let LeaseState::InUse(error) = watch.saw(changed, 300) else { panic!() };
        assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::InUse, "R0623"));
        assert!(error.message().contains("host 1, process 7"));
    }
}

//! What a journal tells, beside what recovery and garbage make of it.

use rheos_checkpoint::journal::{Entry, EntryNumber, Journal};
use rheos_core::ErrorKind;

use super::{claimed, entry, manifest};

#[test]
fn a_number_that_is_taken_tells_by_whom() {
    let mine = entry(manifest(1, 5, &[], None));
    let number = EntryNumber(4);
    assert_eq!(Journal::settle_taken(number, &mine, &mine), Ok(()));
    let error = Journal::settle_taken(number, &claimed(4, None), &mine).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Conflict, "R0605"));
    let error = Journal::settle_taken(number, &Entry::Unreadable("it is cut off".into()), &mine).unwrap_err();
    assert_eq!((error.kind(), error.code().as_str()), (ErrorKind::Corrupt, "R0613"));
    assert!(error.message().contains("'00000000000000000004.json' cannot be read: it is cut off"));
}

//! `rheos checkpoint verify`: reads all that checkpoints consist of, in the state directory and in its copy.

use std::collections::BTreeMap;

use anyhow::Result;
use rheos::state::{
    CheckpointStore, EntryNumber, Journal, Listing, StoreOptions, damaged_claims, list as all, read_journal,
    unreadable_newest, verify as verify_one,
};
use serde_json::{Value, json};

use super::{found, note, open, options};
use crate::args::{CheckpointVerifyArgs, ListFormat};
use crate::list::{columns, document};
use crate::program::print_text;
use crate::report::{Failure, code};

/// What was found in one of the two places.
struct Verified {
    /// `first` or `copy`.
    store: &'static str,
    checkpoints: Vec<Damages>,
    /// Records of the start of a run.
    claims: Vec<Damages>,
    /// The checkpoint that a run would go on from is among the damaged.
    newest_is_damaged: bool,
}

/// A checkpoint, and what is wrong with which of its files.
type Damages = (EntryNumber, BTreeMap<String, String>);

pub(super) fn run(args: &CheckpointVerifyArgs) -> Result<()> {
    let which = args.checkpoint.as_deref();
    let (store, journal) = open(&args.place)?;
    let mut verified = vec![verify("first", store.as_ref(), &journal, which)?];
    if let Some(copy) = &args.copy_dir {
        let options = StoreOptions { place: copy.clone(), ..options(&args.place) };
        let store = options.view(&note()).map_err(Failure::plain)?;
        let journal = read_journal(store.as_ref()).map_err(Failure::plain)?;
        verified.push(verify("copy", store.as_ref(), &journal, which)?);
    }
    print_text(&match args.output.format() {
        ListFormat::Json => document(verified.iter().flat_map(Verified::json).collect()),
        ListFormat::Table if verified.len() == 1 => {
            columns(verified.iter().flat_map(Verified::rows), &["NUMBER", "FILE", "RESULT"])
        }
        ListFormat::Table => {
            let rows = verified.iter().flat_map(|v| {
                v.rows().into_iter().map(move |row| [v.store.to_string()].into_iter().chain(row).collect::<Vec<_>>())
            });
            columns(rows, &["STORE", "NUMBER", "FILE", "RESULT"])
        }
    })?;
    told(&verified)
}

fn verify(
    name: &'static str,
    store: &dyn CheckpointStore,
    journal: &Journal,
    which: Option<&str>,
) -> Result<Verified, Failure> {
    let listed = all(journal);
    let number = match which {
        None => None,
        Some(text) => match text.parse().ok().map(EntryNumber).filter(|n| listed.iter().any(|l| l.number == *n)) {
            Some(number) => Some(number),
            None => Some(found(journal, which)?.0),
        },
    };
    let is_meant = |l: &&Listing| number.is_none_or(|n| l.number == n);
    let mut checkpoints = Vec::new();
    let mut newest_is_damaged = unreadable_newest(journal).is_some();
    for listing in listed.iter().filter(is_meant) {
        let damages = match listing.manifest {
            Ok(manifest) => verify_one(store, manifest).map_err(Failure::plain)?,
            Err(why) => BTreeMap::from([(listing.number.file_name(), why.to_string())]),
        };
        newest_is_damaged |= listing.standing == rheos::state::Standing::Newest && !damages.is_empty();
        checkpoints.push((listing.number, damages));
    }
    let claim = |(number, why): (EntryNumber, &str)| (number, BTreeMap::from([(number.file_name(), why.to_string())]));
    let claims = if number.is_none() { damaged_claims(journal).into_iter().map(claim).collect() } else { vec![] };
    Ok(Verified { store: name, checkpoints, claims, newest_is_damaged })
}

/// Errors: what is damaged, with what a run would do.
fn told(verified: &[Verified]) -> Result<()> {
    let all = || verified.iter().flat_map(|v| &v.checkpoints);
    let damaged = all().filter(|(_, damages)| !damages.is_empty()).count();
    let claims: usize = verified.iter().map(|v| v.claims.len()).sum();
    let message = match (damaged, claims) {
        (0, 0) => return Ok(()),
        (0, _) => format!("no checkpoint is damaged; of the records of when runs began, {claims} cannot be read"),
        _ => format!("{damaged} of {} checkpoints {} damaged", all().count(), if damaged == 1 { "is" } else { "are" }),
    };
    let hint = match damaged {
        0 => "put the files back from a copy; checkpoints are restored without them",
        _ if verified.len() > 1 => "a run that is given both places takes from each what the other has lost",
        // Of one that was asked for, nothing is known of the others.
        _ if damaged > 1 && damaged == all().count() => {
            "put the files back from a copy, which a run with --copy-dir does by itself; without one, '--from none --accept-duplicates' \
             starts without state, and writes all output once more"
        }
        _ if verified.iter().any(|v| v.newest_is_damaged) => {
            "put the files back from a copy, which a run with --copy-dir does by itself; going back to an older checkpoint is \
             refused where output would show twice, unless '--from' names it with '--accept-duplicates'"
        }
        _ => "put the files back from a copy; a run goes on from the newest checkpoint, which is whole",
    };
    let error = rheos::Error::new(rheos::ErrorKind::Corrupt, 626, message).with_hint(hint);
    Err(Failure::Plain { error, code: code::NOT_VALID }.into())
}

impl Verified {
    fn rows(&self) -> Vec<Vec<String>> {
        let of_claim = |(number, damages): &Damages| {
            let row = |(file, why): (&String, &String)| {
                vec![number.to_string(), file.clone(), format!("damaged, and needed by no checkpoint: {why}")]
            };
            damages.iter().map(row).collect::<Vec<_>>()
        };
        self.checkpoints.iter().flat_map(damage_rows).chain(self.claims.iter().flat_map(of_claim)).collect()
    }

    fn json(&self) -> Vec<Value> {
        let value = |checkpoint: bool| {
            move |(number, damage): &Damages| {
                let damaged: Vec<Value> =
                    damage.iter().map(|(file, why)| json!({ "file": file, "error": why })).collect();
                json!({
                    "store": self.store, "number": number.0, "checkpoint": checkpoint, "whole": damage.is_empty(),
                    "damaged": damaged,
                })
            }
        };
        self.checkpoints.iter().map(value(true)).chain(self.claims.iter().map(value(false))).collect()
    }
}

fn damage_rows((number, damage): &Damages) -> Vec<Vec<String>> {
    if damage.is_empty() {
        return vec![vec![number.to_string(), "-".into(), "whole".into()]];
    }
    damage.iter().map(|(file, why)| vec![number.to_string(), file.clone(), format!("damaged: {why}")]).collect()
}

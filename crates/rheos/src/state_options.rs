//! Where a job keeps its state, and how it goes on from it.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use rheos_checkpoint::recovery::{DroppedState, Duplicates, RestoreFrom};
use rheos_core::error::{Error, Result};
use rheos_runtime::StateConfig;
use rheos_state::store::{CheckpointStore, LocalStore};
use serde::{Deserialize, Serialize};

/// Checkpoints that are kept, beside savepoints.
const CHECKPOINTS_KEPT: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// Called with what goes wrong without ending the job.
type Warn = Arc<dyn Fn(&Error) + Send + Sync>;

/// Where a job keeps its state: in a folder or store of its own. A job whose folder has a checkpoint goes on from it.
#[derive(Clone)]
#[must_use]
pub struct StateOptions {
    place: Place,
    from: RestoreFrom,
    duplicates: Duplicates,
    dropped_state: DroppedState,
    warn: Warn,
}

#[derive(Debug, Clone)]
enum Place {
    Folder(PathBuf),
    Store(Arc<dyn CheckpointStore>),
}

impl fmt::Debug for StateOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateOptions").field("place", &self.place).field("from", &self.from).finish_non_exhaustive()
    }
}

impl StateOptions {
    /// In this folder, which is made if it is not there.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self::in_place(Place::Folder(folder.into()))
    }

    /// In this store, which no other run uses: nothing keeps it out but the journal's numbers.
    pub fn in_store(store: Arc<dyn CheckpointStore>) -> Self {
        Self::in_place(Place::Store(store))
    }

    fn in_place(place: Place) -> Self {
        Self {
            place,
            from: RestoreFrom::Newest,
            duplicates: Duplicates::Refused,
            dropped_state: DroppedState::Refused,
            warn: Arc::new(|_| ()),
        }
    }

    /// From which checkpoint to go on, if not from the newest.
    pub fn from(mut self, from: RestoreFrom) -> Self {
        self.from = from;
        self
    }

    /// Output may show twice.
    pub fn accept_duplicates(mut self) -> Self {
        self.duplicates = Duplicates::Accepted;
        self
    }

    /// State may be lost that the program has no operator for.
    pub fn allow_dropped_state(mut self) -> Self {
        self.dropped_state = DroppedState::Accepted;
        self
    }

    /// What to do with what goes wrong without ending the job, such as a checkpoint that could not be stored.
    pub fn on_warning(mut self, warn: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.warn = Arc::new(warn);
        self
    }

    /// Takes the folder for this run.
    ///
    /// Errors: `InUse` (R0623) while another run has it; those of the disk; `Corrupt` for a journal of a later version.
    pub(crate) fn open(self) -> Result<OpenState> {
        let store: Arc<dyn CheckpointStore> = match &self.place {
            Place::Folder(folder) => Arc::new(LocalStore::open(folder)?),
            Place::Store(store) => Arc::clone(store),
        };
        let journal = rheos_state::journal::read(store.as_ref())?;
        let context = match journal.manifests().next_back() {
            None => PlanContext::default(),
            Some((number, manifest)) => serde_json::from_slice(&manifest.program.context).map_err(|e| {
                Error::internal(format!("checkpoint {number} has a plan context that cannot be read: {e}"))
            })?,
        };
        Ok(OpenState { options: self, store, context })
    }
}

/// What is resolved once, when a job is planned for the first time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PlanContext {
    /// What `now()` is while the program is planned, in ms since 1970.
    pub(crate) query_time_ms: Option<i64>,
}

/// A state folder that this run has taken.
pub(crate) struct OpenState {
    options: StateOptions,
    store: Arc<dyn CheckpointStore>,
    pub(crate) context: PlanContext,
}

impl OpenState {
    pub(crate) fn into_config(self) -> Result<StateConfig> {
        let context = serde_json::to_vec(&self.context);
        let context = context.map_err(|e| Error::internal(format!("the plan context cannot be written: {e}")))?;
        let StateOptions { from, duplicates, dropped_state, warn, .. } = self.options;
        let (store, checkpoints_kept) = (self.store, CHECKPOINTS_KEPT);
        Ok(StateConfig { store, from, duplicates, dropped_state, checkpoints_kept, context, warn })
    }
}

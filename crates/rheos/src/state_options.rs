//! Where a job keeps its state, and how it goes on from it.

use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use rheos_checkpoint::recovery::{DroppedState, Duplicates, RestoreFrom};
use rheos_core::error::{Error, Result};
use rheos_core::graph::{JobGraph, Node, NodeKind};
use rheos_core::letters::SINK_PREFIX;
use rheos_runtime::StateConfig;
use rheos_sql::StateSettings;
use rheos_state::store::{CheckpointStore, StoreOptions};
use serde::{Deserialize, Serialize};

/// Checkpoints that are kept, beside savepoints.
const CHECKPOINTS_KEPT: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// A store, and the folders of this machine that it is in.
type Opened = (Arc<dyn CheckpointStore>, Vec<PathBuf>);

/// Called with what goes wrong without ending the job.
type Warn = Arc<dyn Fn(&Error) + Send + Sync>;

/// Where a job keeps its state: in a folder or below a URL of its own. A job that finds a checkpoint there goes on from it.
#[derive(Clone)]
#[must_use]
pub struct StateOptions {
    place: Place,
    copy: Option<PathBuf>,
    key_file: Option<PathBuf>,
    from: RestoreFrom,
    duplicates: Duplicates,
    dropped_state: DroppedState,
    warn: Warn,
}

#[derive(Debug, Clone)]
enum Place {
    /// What the setting says.
    AsSet,
    /// A folder or URL.
    At(PathBuf),
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
        Self::at(folder)
    }

    /// In this store, which no other run uses: nothing keeps it out but the journal's numbers. A copy and encryption are the store's
    /// own affair.
    pub fn in_store(store: Arc<dyn CheckpointStore>) -> Self {
        Self { place: Place::Store(store), ..Self::as_set() }
    }

    /// In this folder, which is made if it is not there, or below this URL: `s3://bucket/prefix`, `gs://bucket/prefix`,
    /// `az://container/prefix`, with credentials from the environment.
    pub fn at(place: impl Into<PathBuf>) -> Self {
        Self { place: Place::At(place.into()), ..Self::as_set() }
    }

    /// Where the setting `checkpoint.dir` says; nowhere, if it is not set.
    pub fn as_set() -> Self {
        Self {
            place: Place::AsSet,
            copy: None,
            key_file: None,
            from: RestoreFrom::Newest,
            duplicates: Duplicates::Refused,
            dropped_state: DroppedState::Refused,
            warn: Arc::new(|_| ()),
        }
    }

    /// Writes a copy of all state elsewhere, too, and takes from there what is lost or damaged. As the setting
    /// `checkpoint.copy-dir`, and stronger.
    pub fn copy_to(mut self, place: impl Into<PathBuf>) -> Self {
        self.copy = Some(place.into());
        self
    }

    /// Encrypts state with the first key of this file. As the setting `checkpoint.encryption-key-file`, and stronger.
    pub fn encryption_keys(mut self, file: impl Into<PathBuf>) -> Self {
        self.key_file = Some(file.into());
        self
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

    /// Who is told of what goes wrong, also in a job that keeps no state.
    pub(crate) fn warn(&self) -> rheos_core::error::Warn {
        rheos_core::error::Warn::new(Arc::clone(&self.warn))
    }

    /// Takes the place for this run; `None` where nothing says where that is.
    ///
    /// Errors: `InUse` (R0623) while another run has it; those of the store; `Corrupt` for a journal of a later version;
    /// `Invalid` (R0644) for a second copy without a place.
    pub(crate) fn open(self, set: &StateSettings) -> Result<Option<OpenState>> {
        let Some((store, folders)) = self.store(set)? else { return Ok(None) };
        let journal = rheos_state::journal::read(store.as_ref())?;
        let context = match journal.manifests().next_back() {
            None => PlanContext::default(),
            Some((number, manifest)) => serde_json::from_slice(&manifest.program.context).map_err(|e| {
                Error::internal(format!("checkpoint {number} has a plan context that cannot be read: {e}"))
            })?,
        };
        Ok(Some(OpenState { options: self, store, folders, context }))
    }

    fn store(&self, set: &StateSettings) -> Result<Option<Opened>> {
        let place = match (&self.place, &set.dir) {
            (Place::Store(store), _) => return Ok(Some((Arc::clone(store), vec![]))),
            (Place::At(place), _) => place.clone(),
            (Place::AsSet, Some(dir)) => PathBuf::from(dir),
            (Place::AsSet, None) => return Ok(None),
        };
        let copy = self.copy.clone().or_else(|| set.copy_dir.as_ref().map(PathBuf::from));
        let copy = match (set.copies, copy) {
            (Some(2), None) => {
                return Err(Error::invalid(
                    644,
                    "'checkpoint.copies' is 2, and nothing says where the second copy lies",
                )
                .with_hint("set 'checkpoint.copy-dir' to a folder on another disk, or to a URL"));
            }
            (Some(1), _) => None,
            (_, copy) => copy,
        };
        let key_file = self.key_file.clone().or_else(|| set.encryption_key_file.as_ref().map(PathBuf::from));
        let options = StoreOptions { place, copy, key_file };
        let store = options.open(&self.warn)?;
        // A URL is the name of no folder.
        let folders = std::iter::once(&options.place).chain(&options.copy).filter_map(|f| f.canonicalize().ok());
        Ok(Some((store, folders.collect())))
    }
}

/// What is resolved once, when a job is planned for the first time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct PlanContext {
    /// What `now()` is while the program is planned, in ms since 1970.
    pub(crate) query_time_ms: Option<i64>,
}

/// A place of state that this run has taken.
pub(crate) struct OpenState {
    options: StateOptions,
    store: Arc<dyn CheckpointStore>,
    folders: Vec<PathBuf>,
    pub(crate) context: PlanContext,
}

impl OpenState {
    /// Where dead letters go that no query reads: JSON lines, in a folder a table, where state lies in a folder. An object
    /// store takes none.
    pub(crate) fn letters(&self) -> Option<PathBuf> {
        self.store.folder().map(|folder| folder.join("errors"))
    }

    /// Refuses output that would lie among the state, or around it: who reads the one would find the other.
    ///
    /// Errors: `Invalid` (R0644).
    pub(crate) fn check_apart(&self, graph: &JobGraph) -> Result<()> {
        let folder = |node: &Node| match &node.kind {
            NodeKind::Sink(sink) if !node.name.starts_with(SINK_PREFIX) => Some((node.name.clone(), sink.folder()?)),
            _ => None,
        };
        for (name, output) in graph.nodes().iter().filter_map(folder) {
            let is_near = |state: &&PathBuf| state.starts_with(&output) || output.starts_with(state);
            if let Some(state) = self.folders.iter().find(is_near) {
                let (output, state) = (output.display(), state.display());
                let message = format!("the output of '{name}' in '{output}' and state in '{state}' lie in one another");
                return Err(Error::invalid(644, message).with_hint("give each a folder of its own"));
            }
        }
        Ok(())
    }

    pub(crate) fn into_config(self) -> Result<StateConfig> {
        let context = serde_json::to_vec(&self.context);
        let context = context.map_err(|e| Error::internal(format!("the plan context cannot be written: {e}")))?;
        let StateOptions { from, duplicates, dropped_state, warn, .. } = self.options;
        let (store, checkpoints_kept) = (self.store, CHECKPOINTS_KEPT);
        Ok(StateConfig { store, from, duplicates, dropped_state, checkpoints_kept, context, warn })
    }
}

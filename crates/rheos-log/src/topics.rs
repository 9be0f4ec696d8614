//! The topics of a queue: their names, their settings, their partitions.
//!
//! ```text
//!   <data>/topics                     which there are: what is not told here is not there
//!   <data>/orders-0.17/               partition 0 of the topic that was created as the 17th
//! ```
//! A topic is created before it is told, and told to be gone before it is removed: what a crash leaves beside is removed when the queue is
//! opened. One of the same name that is created later has another number, and nothing of the first.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rheos_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

use crate::Refusal;
use crate::disk::Disk;
use crate::partition::{Partition, disk_error};
use crate::settings::Settings;
use crate::sidecar::{self, Found};

/// Characters of a name, at most. Source: Kafka.
const NAME_LENGTH_MAX: usize = 249;

/// Of all topics together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Partitions. Each has a file open.
    pub partitions_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { partitions_max: 4096 }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Topics {
    disk: Arc<dyn Disk>,
    data: PathBuf,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    next_number: u64,
    topics: BTreeMap<String, Arc<Topic>>,
}

/// A topic as it is now.
#[derive(Debug)]
pub struct Topic {
    /// Which creation of its name it is.
    pub number: u64,
    /// By their numbers.
    pub partitions: Vec<Arc<Partition>>,
    /// See there.
    pub settings: Settings,
}

/// The file `topics`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Catalog {
    next_number: u64,
    topics: BTreeMap<String, Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    number: u64,
    partitions: u32,
    #[serde(default)]
    settings: Settings,
}

impl Topics {
    /// Opens what is in the folder `data`, which is made if it is not there. `note` is told what a crash has left.
    ///
    /// Errors: `External` (R0801) of the disk; `Corrupt` (R0802) for what is damaged.
    pub fn open(disk: Arc<dyn Disk>, data: &Path, limits: Limits, note: &dyn Fn(String)) -> Result<Self> {
        let failed = |e: io::Error| disk_error("open", data, &e);
        disk.create_folder(data).map_err(failed)?;
        let path = data.join("topics");
        let catalog = match sidecar::read::<Catalog>(&*disk, &path).map_err(failed)? {
            Found::Whole(catalog) => catalog,
            Found::Nothing => Catalog::default(),
            Found::Damaged => {
                return Err(Error::new(ErrorKind::Corrupt, 802, format!("'{}' is damaged", path.display()))
                    .with_hint("put the file back from a copy"));
            }
        };
        let mut known = BTreeSet::new();
        let mut topics = BTreeMap::new();
        for (name, Entry { number, partitions, settings }) in catalog.topics {
            let open = |partition: u32| {
                let folder = folder_name(&name, partition, number);
                let opened = Partition::open(Arc::clone(&disk), &data.join(&folder), settings.of_partition(), note)?;
                Ok((folder, Arc::new(opened)))
            };
            let opened = (0..partitions).map(open).collect::<Result<Vec<_>>>()?;
            let (folders, partitions): (Vec<_>, Vec<_>) = opened.into_iter().unzip();
            known.extend(folders);
            topics.insert(name, Arc::new(Topic { number, partitions, settings }));
        }
        let is_left = |name: &String| is_folder_name(name) && !known.contains(name);
        for left in disk.names(data).map_err(failed)?.into_iter().filter(is_left) {
            disk.remove_folder(&data.join(&left)).map_err(failed)?;
        }
        // Its number may be given again.
        disk.sync_folder(data).map_err(failed)?;
        let state = Mutex::new(State { next_number: catalog.next_number, topics });
        Ok(Self { disk, data: data.to_path_buf(), limits, state })
    }

    /// A topic.
    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.lock().topics.get(name).cloned()
    }

    /// All of them, by name.
    pub fn all(&self) -> BTreeMap<String, Arc<Topic>> {
        self.lock().topics.clone()
    }

    /// Creates a topic, which is there for good when this returns.
    ///
    /// Errors: `TopicExists`, `InvalidTopicName`, `InvalidPartitions`, `TooManyPartitions`; `Storage` if the disk fails or is full.
    pub fn create(&self, name: &str, partitions: u32, settings: Settings) -> Result<Arc<Topic>, Refusal> {
        let mut state = self.lock();
        if state.topics.contains_key(name) {
            return Err(Refusal::TopicExists);
        }
        if !is_name(name) {
            return Err(Refusal::InvalidTopicName);
        }
        if partitions == 0 {
            return Err(Refusal::InvalidPartitions);
        }
        self.check_room(&state, partitions)?;
        let number = state.next_number;
        // Whatever comes of it, the number is not used again in this run; and what a crash leaves is removed before the next.
        state.next_number += 1;
        let made = self.make_partitions(name, number, 0..partitions, &settings)?;
        let topic = Arc::new(Topic { number, partitions: made, settings });
        self.tell(&mut state, |topics| drop(topics.insert(name.to_string(), Arc::clone(&topic))))?;
        Ok(topic)
    }

    /// Gives a topic more partitions.
    ///
    /// Errors: `UnknownTopic`; `InvalidPartitions` if it has as many; `TooManyPartitions`; `Storage` if the disk fails or is full.
    pub fn add_partitions(&self, name: &str, total: u32) -> Result<Arc<Topic>, Refusal> {
        let mut state = self.lock();
        let known = Arc::clone(state.topics.get(name).ok_or(Refusal::UnknownTopic)?);
        let has = known.partitions.len() as u32;
        if total <= has {
            return Err(Refusal::InvalidPartitions);
        }
        self.check_room(&state, total - has)?;
        let more = self.make_partitions(name, known.number, has..total, &known.settings)?;
        let partitions = known.partitions.iter().cloned().chain(more).collect();
        let topic = Arc::new(Topic { number: known.number, partitions, settings: known.settings.clone() });
        self.tell(&mut state, |topics| drop(topics.insert(name.to_string(), Arc::clone(&topic))))?;
        Ok(topic)
    }

    /// Changes the settings of a topic.
    ///
    /// Errors: `UnknownTopic`; `Storage` if the disk fails or is full.
    pub fn set(&self, name: &str, settings: Settings) -> Result<(), Refusal> {
        let mut state = self.lock();
        let known = Arc::clone(state.topics.get(name).ok_or(Refusal::UnknownTopic)?);
        let topic = Topic { number: known.number, partitions: known.partitions.clone(), settings: settings.clone() };
        self.tell(&mut state, |topics| drop(topics.insert(name.to_string(), Arc::new(topic))))?;
        known.partitions.iter().for_each(|partition| partition.set_options(settings.of_partition()));
        Ok(())
    }

    /// Deletes a topic, for good when this returns.
    ///
    /// Errors: `UnknownTopic`; `Storage` if the disk fails.
    pub fn delete(&self, name: &str) -> Result<(), Refusal> {
        let mut state = self.lock();
        let known = Arc::clone(state.topics.get(name).ok_or(Refusal::UnknownTopic)?);
        self.tell(&mut state, |topics| drop(topics.remove(name)))?;
        self.remove(name, known.number, 0..known.partitions.len() as u32);
        Ok(())
    }

    /// Lets go of what is older or more than the topics' settings say. Gives the bytes, and how many partitions the disk failed.
    pub fn retain(&self, now_ms: i64) -> (u64, usize) {
        let (mut bytes, mut failed) = (0, 0);
        for topic in self.all().values() {
            for partition in &topic.partitions {
                match partition.retain(&topic.settings.retention(), now_ms) {
                    Ok(freed) => bytes += freed,
                    Err(_) => failed += 1,
                }
            }
        }
        (bytes, failed)
    }

    fn check_room(&self, state: &State, more: u32) -> Result<(), Refusal> {
        let there: usize = state.topics.values().map(|t| t.partitions.len()).sum();
        match there + more as usize <= self.limits.partitions_max {
            true => Ok(()),
            false => Err(Refusal::TooManyPartitions),
        }
    }

    fn make_partitions(
        &self,
        name: &str,
        number: u64,
        range: std::ops::Range<u32>,
        settings: &Settings,
    ) -> Result<Vec<Arc<Partition>>, Refusal> {
        let make = |partition: u32| {
            let folder = self.data.join(folder_name(name, partition, number));
            Partition::open(Arc::clone(&self.disk), &folder, settings.of_partition(), &|_| ()).map(Arc::new)
        };
        let made: Result<Vec<_>> = range.clone().map(make).collect();
        let synced = made.and_then(|made| match self.disk.sync_folder(&self.data) {
            Ok(()) => Ok(made),
            Err(e) => Err(disk_error("sync", &self.data, &e)),
        });
        synced.map_err(|_| {
            self.remove(name, number, range);
            Refusal::Storage
        })
    }

    /// What stays is removed when the queue is opened again.
    fn remove(&self, name: &str, number: u64, range: std::ops::Range<u32>) {
        for partition in range {
            let _ = self.disk.remove_folder(&self.data.join(folder_name(name, partition, number)));
        }
    }

    /// Writes down what changes, and then has it changed.
    fn tell(&self, state: &mut State, change: impl FnOnce(&mut BTreeMap<String, Arc<Topic>>)) -> Result<(), Refusal> {
        let mut topics = state.topics.clone();
        change(&mut topics);
        let entry = |topic: &Topic| Entry {
            number: topic.number,
            partitions: topic.partitions.len() as u32,
            settings: topic.settings.clone(),
        };
        let entries = topics.iter().map(|(name, topic)| (name.clone(), entry(topic))).collect();
        let catalog = Catalog { next_number: state.next_number, topics: entries };
        sidecar::write(&*self.disk, &self.data.join("topics"), &catalog).map_err(|_| Refusal::Storage)?;
        state.topics = topics;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Source: Kafka, "Topic naming".
fn is_name(name: &str) -> bool {
    let fits = (1..=NAME_LENGTH_MAX).contains(&name.len()) && name != "." && name != "..";
    fits && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn folder_name(topic: &str, partition: u32, number: u64) -> String {
    format!("{topic}-{partition}.{number}")
}

fn is_folder_name(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    name.rsplit_once('.').is_some_and(|(rest, number)| {
        is_number(number)
            && rest.rsplit_once('-').is_some_and(|(topic, partition)| is_name(topic) && is_number(partition))
    })
}

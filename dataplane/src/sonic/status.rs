//! What orchagent says in STATE_DB of the documents that it was given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use redis::Pipeline;

use super::database::Database;
use super::document::table_name;
use super::placed::Placed;
use crate::backend::BackendError;
use crate::rule::Family;

/// The shortest and the longest pause between two looks. What orchagent does takes from below one to some hundred milliseconds.
const PAUSE_MIN: Duration = Duration::from_millis(1);
/// See [`PAUSE_MIN`].
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// Keys in one round trip.
const BATCH: usize = 512;

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Nothing was said yet.
    Silent,
    /// It is in the ASIC.
    Active,
    /// orchagent does not understand it, and has dropped it.
    Inactive,
    /// The ASIC did not take it: it is full, or out of range checkers.
    PendingCreation,
    /// Something else, such as `Pending removal`.
    Other(String),
}

impl Status {
    fn parse(text: Option<String>) -> Self {
        match text {
            None => Status::Silent,
            Some(text) => match text.as_str() {
                "Active" => Status::Active,
                "Inactive" => Status::Inactive,
                "Pending creation" => Status::PendingCreation,
                _ => Status::Other(text),
            },
        }
    }
}

/// What became of entries.
pub fn of_entries<'p>(
    state: &mut Database,
    entries: impl IntoIterator<Item = &'p Placed>,
) -> Result<Vec<Status>, BackendError> {
    let key = |placed: &Placed| {
        let (table, name) = (table_name(placed.family), &placed.name);
        format!("ACL_RULE_TABLE|{table}|{name}")
    };
    read(state, entries.into_iter().map(key).collect())
}

/// What became of the table of a family.
pub fn of_table(state: &mut Database, family: Family) -> Result<Status, BackendError> {
    let key = format!("ACL_TABLE_TABLE|{}", table_name(family));
    let mut statuses = read(state, vec![key])?;
    Ok(statuses.pop().unwrap_or(Status::Silent))
}

/// The statuses under some keys.
fn read(state: &mut Database, keys: Vec<String>) -> Result<Vec<Status>, BackendError> {
    let mut statuses = Vec::with_capacity(keys.len());
    for batch in keys.chunks(BATCH) {
        let mut commands = Pipeline::with_capacity(batch.len());
        for key in batch {
            commands.hget(key, "status");
        }
        let texts: Vec<Option<String>> = state.query(&commands)?;
        statuses.extend(texts.into_iter().map(Status::parse));
    }
    Ok(statuses)
}

/// Something looked at again and again, until it is as it shall be or nothing has happened for too long.
struct Wait {
    patience: Duration,
    since: Instant,
    pause: Duration,
}

impl Wait {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            since: Instant::now(),
            pause: PAUSE_MIN,
        }
    }

    /// Something has happened.
    fn progress(&mut self) {
        *self = Self::new(self.patience);
    }

    /// Pauses; false when patience is at an end.
    fn pause(&mut self) -> bool {
        if self.since.elapsed() >= self.patience {
            return false;
        }
        thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}

/// What has become of entries that were written, when each is decided or orchagent has said nothing for as long as
/// `patience`.
pub fn decided(
    state: &mut Database,
    entries: &[Placed],
    patience: Duration,
) -> Result<Vec<Status>, BackendError> {
    let mut open: BTreeMap<usize, &Placed> = entries.iter().enumerate().collect();
    let mut statuses = vec![Status::Silent; entries.len()];
    let mut wait = Wait::new(patience);
    while !open.is_empty() {
        let read = of_entries(state, open.values().copied())?;
        let before = open.len();
        let indexes: Vec<usize> = open.keys().copied().collect();
        for (index, status) in indexes.into_iter().zip(read) {
            let is_decided = match &status {
                Status::Active | Status::Inactive | Status::PendingCreation => true,
                Status::Silent | Status::Other(_) => false,
            };
            statuses[index] = status;
            if is_decided {
                open.remove(&index);
            }
        }
        if open.len() < before {
            wait.progress();
        } else if !wait.pause() {
            break;
        }
    }
    Ok(statuses)
}

/// The names of the entries that are still there when nothing has happened for as long as `patience`.
pub fn remaining(
    state: &mut Database,
    entries: &[Placed],
    patience: Duration,
) -> Result<Vec<Arc<str>>, BackendError> {
    let mut open: Vec<&Placed> = entries.iter().collect();
    let mut wait = Wait::new(patience);
    while !open.is_empty() {
        let read = of_entries(state, open.iter().copied())?;
        let before = open.len();
        let mut read = read.into_iter();
        open.retain(|_| read.next() != Some(Status::Silent));
        if open.len() < before {
            wait.progress();
        } else if !wait.pause() {
            break;
        }
    }
    Ok(open.iter().map(|placed| placed.name.clone()).collect())
}

/// What has become of the table of a family, when orchagent has said so or has said nothing for as long as `patience`.
pub fn decided_table(
    state: &mut Database,
    family: Family,
    patience: Duration,
) -> Result<Status, BackendError> {
    let mut wait = Wait::new(patience);
    loop {
        let status = of_table(state, family)?;
        if status != Status::Silent || !wait.pause() {
            return Ok(status);
        }
    }
}

/// True when the table of a family has gone.
pub fn table_has_gone(
    state: &mut Database,
    family: Family,
    patience: Duration,
) -> Result<bool, BackendError> {
    let mut wait = Wait::new(patience);
    loop {
        if of_table(state, family)? == Status::Silent {
            return Ok(true);
        }
        if !wait.pause() {
            return Ok(false);
        }
    }
}

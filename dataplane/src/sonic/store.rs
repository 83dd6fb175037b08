//! Reading and writing the documents, in the way of the database that they are written to.
//!
//! CONFIG_DB: whoever is interested hears of each change of a key, so that a document is written in one command. APPL_DB: what
//! `ProducerStateTable` of sonic-swss-common does, in one script: the fields wait in a hash beside the table, the keys in a set, and
//! orchagent is told that there is something.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redis::Pipeline;

use super::database::{Database, Databases};
use super::document::{Kind, Mode, table_name};
use super::placed::Found;
use crate::backend::BackendError;
use crate::rule::Family;

/// Documents in one round trip.
const BATCH: usize = 256;

/// Writes and deletes documents of one table of APPL_DB. Arguments: for each key its number of fields, and these; a key without
/// fields is deleted. What an earlier document of a key said is deleted in any case.
const PRODUCE: &str = "
local at = 1
while at <= #ARGV do
  local key, fields = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  redis.call('SADD', KEYS[2], key)
  redis.call('SADD', KEYS[3], key)
  redis.call('DEL', KEYS[4] .. key)
  for _ = 1, fields do
    redis.call('HSET', KEYS[4] .. key, ARGV[at], ARGV[at + 1])
    at = at + 2
  end
end
redis.call('PUBLISH', KEYS[1], 'G')
";

/// Fields as they stand in the database.
pub type Hash = BTreeMap<String, String>;

/// One document to be written, or to be deleted when it has no fields.
pub struct Write {
    /// What it is.
    pub kind: Kind,
    /// Its key within the documents of its kind.
    pub key: String,
    /// What it says.
    pub fields: Option<Hash>,
}

/// The key of an entry of the table of a family, in the form of a database.
pub fn rule_key(mode: Mode, family: Family, name: &str) -> String {
    format!("{}{}{name}", table_name(family), separator(mode))
}

/// What stands between the parts of a key.
pub const fn separator(mode: Mode) -> &'static str {
    match mode {
        Mode::ConfigDb => "|",
        Mode::ApplDb => ":",
    }
}

/// What the keys of a kind begin with.
pub fn prefix(mode: Mode, kind: Kind) -> String {
    match mode {
        Mode::ConfigDb => format!("{}|", kind.name()),
        Mode::ApplDb => format!("{}_TABLE:", kind.name()),
    }
}

/// The database that documents are written to.
pub fn database(mode: Mode, databases: &mut Databases) -> &mut Database {
    match mode {
        Mode::ConfigDb => &mut databases.config,
        Mode::ApplDb => &mut databases.appl,
    }
}

/// Writes documents in this order.
pub fn write(mode: Mode, databases: &mut Databases, writes: &[Write]) -> Result<(), BackendError> {
    let database = database(mode, databases);
    for batch in writes.chunks(BATCH) {
        let mut commands = Pipeline::with_capacity(batch.len());
        match mode {
            Mode::ConfigDb => batch.iter().for_each(|write| set(&mut commands, write)),
            Mode::ApplDb => {
                for of_kind in batch.chunk_by(|a, b| a.kind == b.kind) {
                    produce(&mut commands, database.number(), of_kind);
                }
            }
        }
        database.query::<()>(&commands)?;
    }
    Ok(())
}

/// One document of CONFIG_DB, in one command.
fn set(commands: &mut Pipeline, write: &Write) {
    let key = format!("{}{}", prefix(Mode::ConfigDb, write.kind), write.key);
    match &write.fields {
        None => commands.del(key).ignore(),
        Some(fields) => {
            let pairs: Vec<(&String, &String)> = fields.iter().collect();
            commands.hset_multiple(key, &pairs).ignore()
        }
    };
}

/// Documents of one kind of APPL_DB.
fn produce(commands: &mut Pipeline, number: i64, writes: &[Write]) {
    let Some(first) = writes.first() else { return };
    let table = format!("{}_TABLE", first.kind.name());
    let command = commands
        .cmd("EVAL")
        .arg(PRODUCE)
        .arg(4)
        .arg(format!("{table}_CHANNEL@{number}"))
        .arg(format!("{table}_KEY_SET"))
        .arg(format!("{table}_DEL_SET"))
        .arg(format!("_{table}:"));
    for write in writes {
        let fields = write.fields.iter().flatten();
        command
            .arg(&write.key)
            .arg(write.fields.as_ref().map_or(0, Hash::len));
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
    }
    command.ignore();
}

/// One document; `None` where there is none.
pub fn read(
    mode: Mode,
    databases: &mut Databases,
    kind: Kind,
    key: &str,
) -> Result<Option<Hash>, BackendError> {
    let keys = [key.to_string()];
    let mut found = read_all(mode, databases, kind, &keys)?;
    Ok(found.pop().filter(|fields| !fields.is_empty()))
}

/// Documents of one kind; without fields where there are none. In APPL_DB: as they will be when orchagent has read them.
fn read_all(
    mode: Mode,
    databases: &mut Databases,
    kind: Kind,
    keys: &[String],
) -> Result<Vec<Hash>, BackendError> {
    let database = database(mode, databases);
    let prefix = prefix(mode, kind);
    let mut documents = Vec::with_capacity(keys.len());
    for batch in keys.chunks(BATCH) {
        let mut commands = Pipeline::new();
        for key in batch {
            commands.hgetall(format!("{prefix}{key}"));
        }
        let mut hashes: Vec<Hash> = database.query(&commands)?;
        if mode == Mode::ApplDb {
            let mut commands = Pipeline::new();
            for key in batch {
                commands.hgetall(format!("_{prefix}{key}"));
                commands.sismember(format!("{}_TABLE_DEL_SET", kind.name()), key);
            }
            let waiting: Vec<(Hash, bool)> = pairs(database, &commands)?;
            for (hash, (fields, deleted)) in hashes.iter_mut().zip(waiting) {
                if deleted {
                    hash.clear();
                }
                hash.extend(fields);
            }
        }
        documents.extend(hashes);
    }
    Ok(documents)
}

/// The answers to commands in pairs.
fn pairs(database: &mut Database, commands: &Pipeline) -> Result<Vec<(Hash, bool)>, BackendError> {
    let answers: Vec<redis::Value> = database.query(commands)?;
    let mut pairs = Vec::with_capacity(answers.len() / 2);
    let mut answers = answers.into_iter();
    while let (Some(fields), Some(flag)) = (answers.next(), answers.next()) {
        let odd = |error: redis::ParsingError| {
            BackendError::Unavailable(format!("an answer that is no answer: {error}"))
        };
        let fields = redis::from_redis_value(fields).map_err(odd)?;
        pairs.push((fields, redis::from_redis_value(flag).map_err(odd)?));
    }
    Ok(pairs)
}

/// All entries of the table of a family.
pub fn read_rules(
    mode: Mode,
    databases: &mut Databases,
    family: Family,
) -> Result<Vec<Found>, BackendError> {
    let beginning = prefix(mode, Kind::Rule);
    let table = rule_key(mode, family, "");
    let database = database(mode, databases);
    let mut keys: BTreeSet<String> = BTreeSet::new();
    let waiting = format!("_{beginning}");
    let places: &[&str] = match mode {
        Mode::ConfigDb => &[&beginning],
        Mode::ApplDb => &[&beginning, &waiting],
    };
    for place in places {
        for key in scan(database, &format!("{place}{table}*"))? {
            keys.extend(key.strip_prefix(place).map(String::from));
        }
    }
    let keys: Vec<String> = keys.into_iter().collect();
    let documents = read_all(mode, databases, Kind::Rule, &keys)?;
    let found = keys.iter().zip(documents).filter_map(|(key, fields)| {
        let name: Arc<str> = key.strip_prefix(&table)?.into();
        (!fields.is_empty()).then_some(Found {
            family,
            name,
            fields,
        })
    });
    Ok(found.collect())
}

/// Some entries of the table of a family; without fields where they are not there.
pub fn read_named(
    mode: Mode,
    databases: &mut Databases,
    family: Family,
    names: &[Arc<str>],
) -> Result<Vec<Hash>, BackendError> {
    let keys: Vec<String> = names
        .iter()
        .map(|name| rule_key(mode, family, name))
        .collect();
    read_all(mode, databases, Kind::Rule, &keys)
}

/// All keys of a pattern, each at least once.
pub fn scan(database: &mut Database, pattern: &str) -> Result<Vec<String>, BackendError> {
    let mut keys = Vec::new();
    let mut cursor = 0u64;
    loop {
        let mut commands = Pipeline::new();
        commands
            .cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(1000);
        let mut answer: Vec<(u64, Vec<String>)> = database.query(&commands)?;
        let Some((next, found)) = answer.pop() else {
            return Ok(keys);
        };
        keys.extend(found);
        cursor = next;
        if cursor == 0 {
            return Ok(keys);
        }
    }
}

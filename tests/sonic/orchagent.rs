//! A stand-in for orchagent: reads CONFIG_DB as `SubscriberStateTable` does and APPL_DB as `ConsumerStateTable` does, programs the
//! [`Asic`], and writes statuses and counters.
//!
//! What it finds at one time it carries out as a batch: deletions first, then the rest, in no particular order, because orchagent's
//! order is another one in each release and for each database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use redis::Connection;

use crate::asic::{Asic, Fields, Refused, TableType};
use crate::server::{APPL_DB, CONFIG_DB, COUNTERS_DB, STATE_DB, Server};
use crate::waiting::eventually;

/// The kinds of documents, in the order in which they are carried out.
const KINDS: [&str; 3] = ["ACL_TABLE_TYPE", "ACL_TABLE", "ACL_RULE"];

/// `consumer_state_table_pops.lua` of sonic-swss-common, but for the state prefix, which is `_`.
const POPS: &str = "
local ret = {}
local tablename = KEYS[2]
local keys = redis.call('SPOP', KEYS[1], ARGV[1])
for _, key in ipairs(keys) do
  if redis.call('SREM', KEYS[3], key) == 1 then
    redis.call('DEL', tablename .. key)
  end
  local fieldvalues = redis.call('HGETALL', '_' .. tablename .. key)
  table.insert(ret, {key, fieldvalues})
  for i = 1, #fieldvalues, 2 do
    redis.call('HSET', tablename .. key, fieldvalues[i], fieldvalues[i + 1])
  end
  redis.call('DEL', '_' .. tablename .. key)
end
return ret
";

/// The running stand-in.
pub struct Orchagent {
    asic: Arc<Mutex<Asic>>,
    stop: Arc<AtomicBool>,
    /// While it is set, nothing is done.
    paused: Arc<AtomicBool>,
    /// It has been noticed that it is set.
    resting: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Orchagent {
    /// Starts with hardware that may be limited, and otherwise knows nothing, as after a restart of swss.
    pub fn start(server: &Server, asic: Asic, seed: u64) -> Self {
        let asic = Arc::new(Mutex::new(asic));
        let stop = Arc::new(AtomicBool::new(false));
        let paused = Arc::new(AtomicBool::new(false));
        let resting = Arc::new(AtomicBool::new(false));
        let mut worker = Worker::new(server, &asic, seed);
        let mut events = Events::start(server, &stop);
        let (worker_stop, worker_paused) = (stop.clone(), paused.clone());
        let worker_resting = resting.clone();
        let thread = thread::spawn(move || {
            while !worker_stop.load(Ordering::Relaxed) {
                let is_paused = worker_paused.load(Ordering::Relaxed);
                worker_resting.store(is_paused, Ordering::Relaxed);
                // A server that goes away takes the stand-in with it.
                let Some(keys) = events.take() else { return };
                if is_paused {
                    events.put_back(keys);
                } else if worker.turn(keys).is_err() {
                    return;
                }
                thread::sleep(Duration::from_micros(300));
            }
        });
        Self {
            asic,
            stop,
            paused,
            resting,
            thread: Some(thread),
        }
    }

    /// The hardware.
    pub fn asic(&self) -> MutexGuard<'_, Asic> {
        self.asic.lock().unwrap()
    }

    /// Stops doing anything, until it is false again.
    pub fn pause(&self, pause: bool) {
        self.paused.store(pause, Ordering::Relaxed);
        eventually("it has noticed", || {
            let noticed = self.resting.load(Ordering::Relaxed) == pause;
            noticed.then_some(()).ok_or_else(String::new)
        });
    }

    /// Writes what the hardware has counted, as the poller of the switch does every ten seconds.
    pub fn publish_counters(&self, server: &Server) {
        let mut counters = server.connect(COUNTERS_DB);
        let map: BTreeMap<String, String> = redis::cmd("HGETALL")
            .arg("ACL_COUNTER_RULE_MAP")
            .query(&mut counters)
            .unwrap();
        let asic = self.asic();
        for (key, object) in map {
            let (table, name) = key.split_once(':').unwrap();
            if let Some(entry) = asic
                .tables
                .get(table)
                .and_then(|table| table.entries.get(name))
            {
                let bytes = 100 * entry.packets;
                redis::pipe()
                    .hset_multiple(
                        format!("COUNTERS:{object}"),
                        &[
                            ("SAI_ACL_COUNTER_ATTR_PACKETS", entry.packets),
                            ("SAI_ACL_COUNTER_ATTR_BYTES", bytes),
                        ],
                    )
                    .query::<()>(&mut counters)
                    .unwrap();
            }
        }
    }

    /// Ends it; the hardware is forgotten, as with a restart of swss.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for Orchagent {
    fn drop(&mut self) {
        self.end();
    }
}

/// Keys of CONFIG_DB that have changed.
struct Events {
    keys: Arc<Mutex<Option<Vec<String>>>>,
}

impl Events {
    /// Subscribes, and takes all keys that are there for changed.
    fn start(server: &Server, stop: &Arc<AtomicBool>) -> Self {
        let keys = Arc::new(Mutex::new(Some(Vec::new())));
        let mut connection = server.connect(CONFIG_DB);
        connection
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let patterns: Vec<String> = KINDS
            .iter()
            .map(|kind| format!("__keyspace@{CONFIG_DB}__:{kind}|*"))
            .collect();
        let (heard, stop) = (keys.clone(), stop.clone());
        let (ready, is_ready) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let mut pubsub = connection.as_pubsub();
            pubsub.psubscribe(&patterns[..]).unwrap();
            ready.send(()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                match pubsub.get_message() {
                    Ok(message) => {
                        let channel = message.get_channel_name();
                        let key = channel.split_once(':').unwrap().1.to_owned();
                        let mut heard = heard.lock().unwrap();
                        heard.get_or_insert_default().push(key);
                    }
                    Err(error) if error.is_timeout() => {}
                    Err(_) => break,
                }
            }
            *heard.lock().unwrap() = None;
        });
        is_ready.recv().unwrap();
        let mut config = server.connect(CONFIG_DB);
        for kind in KINDS {
            let found: Vec<String> = redis::cmd("KEYS")
                .arg(format!("{kind}|*"))
                .query(&mut config)
                .unwrap();
            keys.lock().unwrap().get_or_insert_default().extend(found);
        }
        Self { keys }
    }

    /// What has changed since the last time; `None` when the server is gone.
    fn take(&mut self) -> Option<Vec<String>> {
        self.keys.lock().unwrap().as_mut().map(std::mem::take)
    }

    fn put_back(&mut self, keys: Vec<String>) {
        if let Some(later) = self.keys.lock().unwrap().as_mut() {
            later.splice(0..0, keys);
        }
    }
}

/// What is to be done with one document.
#[derive(Clone, Debug, Default)]
struct Task {
    delete: bool,
    set: Option<Fields>,
}

/// The thread's state.
struct Worker {
    asic: Arc<Mutex<Asic>>,
    random: StdRng,
    appl: Connection,
    config: Connection,
    state: Connection,
    counters: Connection,
    types: BTreeMap<String, TableType>,
    /// Tasks by kind and key, the parts of which are separated by `|`.
    tasks: [BTreeMap<String, Task>; 3],
    /// Rules that wait for room in their table.
    parked: BTreeMap<String, Fields>,
    objects: u64,
}

impl Worker {
    fn new(server: &Server, asic: &Arc<Mutex<Asic>>, seed: u64) -> Self {
        let mut worker = Self {
            asic: asic.clone(),
            random: StdRng::seed_from_u64(seed),
            appl: server.connect(APPL_DB),
            config: server.connect(CONFIG_DB),
            state: server.connect(STATE_DB),
            counters: server.connect(COUNTERS_DB),
            types: BTreeMap::new(),
            tasks: Default::default(),
            parked: BTreeMap::new(),
            objects: 0x9000,
        };
        for pattern in ["ACL_TABLE_TABLE|*", "ACL_RULE_TABLE|*"] {
            let stale: Vec<String> = redis::cmd("KEYS")
                .arg(pattern)
                .query(&mut worker.state)
                .unwrap();
            if !stale.is_empty() {
                redis::cmd("DEL")
                    .arg(stale)
                    .exec(&mut worker.state)
                    .unwrap();
            }
        }
        redis::pipe()
            .hset_multiple(
                "ACL_STAGE_CAPABILITY_TABLE|INGRESS",
                &[
                    ("action_list", "PACKET_ACTION,REDIRECT_ACTION"),
                    ("is_action_list_mandatory", "false"),
                ],
            )
            .hset(
                "SWITCH_CAPABILITY|switch",
                "ACL_ACTION|PACKET_ACTION",
                "DROP,FORWARD",
            )
            .query::<()>(&mut worker.state)
            .unwrap();
        worker
    }

    /// Reads what there is, and carries it out.
    fn turn(&mut self, keys: Vec<String>) -> redis::RedisResult<()> {
        let keys: BTreeSet<String> = keys.into_iter().collect();
        for key in keys {
            let Some((index, key)) = KINDS
                .iter()
                .enumerate()
                .find_map(|(index, kind)| Some((index, key.strip_prefix(&format!("{kind}|"))?)))
            else {
                continue;
            };
            let fields: Fields = redis::cmd("HGETALL")
                .arg(format!("{}|{key}", KINDS[index]))
                .query(&mut self.config)?;
            let task = self.tasks[index].entry(key.into()).or_default();
            if fields.is_empty() {
                *task = Task {
                    delete: true,
                    set: None,
                };
            } else {
                // `Table::stripSpecialSym`
                let strip =
                    |(name, value): (String, String)| (name.trim_end_matches('@').into(), value);
                task.set = Some(fields.into_iter().map(strip).collect());
            }
        }
        for (index, kind) in KINDS.iter().enumerate() {
            let popped: Vec<(String, Fields)> = redis::cmd("EVAL")
                .arg(POPS)
                .arg(3)
                .arg(format!("{kind}_TABLE_KEY_SET"))
                .arg(format!("{kind}_TABLE:"))
                .arg(format!("{kind}_TABLE_DEL_SET"))
                .arg(128)
                .query(&mut self.appl)?;
            for (key, fields) in popped {
                let task = self.tasks[index]
                    .entry(key.replacen(':', "|", 1))
                    .or_default();
                match fields.is_empty() {
                    true => {
                        *task = Task {
                            delete: true,
                            set: None,
                        }
                    }
                    false => task.set = Some(fields),
                }
            }
        }
        self.types()?;
        self.tables()?;
        self.rules()
    }

    fn types(&mut self) -> redis::RedisResult<()> {
        for (name, task) in std::mem::take(&mut self.tasks[0]) {
            if task.delete {
                self.types.remove(&name);
            }
            if let Some(Ok(of)) = task.set.as_ref().map(TableType::parse) {
                self.types.insert(name, of);
            }
        }
        Ok(())
    }

    fn tables(&mut self) -> redis::RedisResult<()> {
        for (name, task) in std::mem::take(&mut self.tasks[1]) {
            let status = format!("ACL_TABLE_TABLE|{name}");
            if task.delete {
                self.asic.lock().unwrap().remove_table(&name);
                self.parked
                    .retain(|key, _| !key.starts_with(&format!("{name}|")));
                redis::cmd("DEL").arg(&status).exec(&mut self.state)?;
            }
            let Some(fields) = task.set else { continue };
            let known = ["policy_desc", "type", "stage", "ports", "services"];
            let is_understood = fields
                .keys()
                .all(|field| known.contains(&field.to_lowercase().as_str()))
                && ["ingress", "egress"].contains(&fields["stage"].to_lowercase().as_str());
            let Some(of) = self.types.get(&fields["type"]) else {
                // It waits for its type.
                self.tasks[1].insert(
                    name,
                    Task {
                        delete: false,
                        set: Some(fields),
                    },
                );
                continue;
            };
            if is_understood {
                let ports = fields["ports"].split(',').filter(|port| !port.is_empty());
                let ports = ports.map(String::from).collect();
                self.asic.lock().unwrap().put_table(&name, of, ports);
            }
            let word = if is_understood { "Active" } else { "Inactive" };
            redis::cmd("HSET")
                .arg(&status)
                .arg("status")
                .arg(word)
                .exec(&mut self.state)?;
        }
        Ok(())
    }

    fn rules(&mut self) -> redis::RedisResult<()> {
        let mut tasks: Vec<(String, Task)> =
            std::mem::take(&mut self.tasks[2]).into_iter().collect();
        tasks.shuffle(&mut self.random);
        let mut freed = BTreeSet::new();
        for (key, task) in &tasks {
            if task.delete {
                let (table, name) = key.split_once('|').unwrap();
                self.parked.remove(key);
                if self.asic.lock().unwrap().remove(table, name) {
                    freed.insert(table.to_owned());
                }
                self.uncount(table, name)?;
                redis::cmd("DEL")
                    .arg(format!("ACL_RULE_TABLE|{key}"))
                    .exec(&mut self.state)?;
            }
        }
        for (key, task) in tasks {
            if let Some(fields) = task.set {
                self.create(key, fields)?;
            }
        }
        let again: Vec<String> = self.parked.keys().cloned().collect();
        for key in again {
            let table = key.split_once('|').unwrap().0;
            if freed.contains(table)
                && let Some(fields) = self.parked.remove(&key)
            {
                self.create(key, fields)?;
            }
        }
        Ok(())
    }

    fn create(&mut self, key: String, fields: Fields) -> redis::RedisResult<()> {
        let (table, name) = key.split_once('|').unwrap();
        if !self.asic.lock().unwrap().tables.contains_key(table) {
            // It waits for its table.
            let task = Task {
                delete: false,
                set: Some(fields),
            };
            self.tasks[2].entry(key).or_insert(task);
            return Ok(());
        }
        self.uncount(table, name)?;
        let result = self.asic.lock().unwrap().put(table, name, &fields);
        let word = match &result {
            Ok(()) => "Active",
            Err(Refused::Invalid(_)) => "Inactive",
            Err(Refused::Full) => "Pending creation",
        };
        if result.is_ok() {
            self.objects += 1;
            let object = format!("oid:{:#x}", self.objects);
            redis::cmd("HSET")
                .arg("ACL_COUNTER_RULE_MAP")
                .arg(format!("{table}:{name}"))
                .arg(object)
                .exec(&mut self.counters)?;
        }
        redis::cmd("HSET")
            .arg(format!("ACL_RULE_TABLE|{key}"))
            .arg("status")
            .arg(word)
            .exec(&mut self.state)?;
        if result == Err(Refused::Full) {
            self.parked.insert(key, fields);
        }
        Ok(())
    }

    /// Forgets what was counted for an entry.
    fn uncount(&mut self, table: &str, name: &str) -> redis::RedisResult<()> {
        let field = format!("{table}:{name}");
        let object: Option<String> = redis::cmd("HGET")
            .arg("ACL_COUNTER_RULE_MAP")
            .arg(&field)
            .query(&mut self.counters)?;
        if let Some(object) = object {
            redis::cmd("HDEL")
                .arg("ACL_COUNTER_RULE_MAP")
                .arg(&field)
                .exec(&mut self.counters)?;
            redis::cmd("DEL")
                .arg(format!("COUNTERS:{object}"))
                .exec(&mut self.counters)?;
        }
        Ok(())
    }
}

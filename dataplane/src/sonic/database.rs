//! The Redis databases of the switch: where they are, and connections that are made anew when they break.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::{Client, Connection, ConnectionAddr, FromRedisValue, IntoConnectionInfo, Pipeline};
use redis::{RedisError, RedisResult};
use serde_json::Value;

use crate::backend::BackendError;

/// How long a server that is there may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The databases that matter here.
pub struct Databases {
    /// What applications ask orchagent for.
    pub appl: Database,
    /// What is counted.
    pub counters: Database,
    /// What the operator configured.
    pub config: Database,
    /// What orchagent says of itself.
    pub state: Database,
}

impl Databases {
    /// Reads the file that says where they are; connects to none.
    pub fn open(path: &Path) -> Result<Self, BackendError> {
        let unavailable =
            |reason: String| BackendError::Unavailable(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| unavailable(error.to_string()))?;
        let places = places(&text).map_err(unavailable)?;
        let open = |name: &str| {
            let place = places.get(name).cloned();
            place
                .map(|place| Database::new(name, place))
                .ok_or_else(|| unavailable(format!("no database is called {name}")))
        };
        Ok(Self {
            appl: open("APPL_DB")?,
            counters: open("COUNTERS_DB")?,
            config: open("CONFIG_DB")?,
            state: open("STATE_DB")?,
        })
    }
}

/// Where a database is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    socket: Option<PathBuf>,
    host: String,
    port: u16,
    number: i64,
}

/// The databases by name, of the text of `database_config.json`.
fn places(text: &str) -> Result<BTreeMap<String, Place>, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let databases = document["DATABASES"]
        .as_object()
        .ok_or("DATABASES is not there")?;
    let place = |database: &Value| {
        let instance = &document["INSTANCES"][database["instance"].as_str()?];
        let text = |value: &Value| Some(value.as_str()?.to_owned());
        Some(Place {
            socket: text(&instance["unix_socket_path"])
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
            host: text(&instance["hostname"])?,
            port: u16::try_from(instance["port"].as_u64()?).ok()?,
            number: database["id"].as_i64()?,
        })
    };
    // Others may be of a form that does not concern us.
    let pairs = databases.iter();
    Ok(pairs
        .filter_map(|(name, database)| Some((name.clone(), place(database)?)))
        .collect())
}

/// One database, and the connection to it while there is one.
pub struct Database {
    name: String,
    place: Place,
    connection: Option<Connection>,
    /// How often a connection was made.
    connections: u64,
}

impl Database {
    fn new(name: &str, place: Place) -> Self {
        Self {
            name: name.into(),
            place,
            connection: None,
            connections: 0,
        }
    }

    /// Its number.
    pub fn number(&self) -> i64 {
        self.place.number
    }

    /// How often a connection was made: more than before means that something may have been missed.
    pub fn connections(&self) -> u64 {
        self.connections
    }

    /// A connection of its own.
    pub fn connect(&self) -> RedisResult<Connection> {
        let place = &self.place;
        let address = match &place.socket {
            Some(socket) if socket.exists() => ConnectionAddr::Unix(socket.clone()),
            _ => ConnectionAddr::Tcp(place.host.clone(), place.port),
        };
        let info = address.into_connection_info()?;
        let settings = info.redis_settings().clone().set_db(place.number);
        let client = Client::open(info.set_redis_settings(settings))?;
        let connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        Ok(connection)
    }

    /// Sends commands and takes their answers. They must be such that it does no harm to send them twice: a connection that
    /// has broken since it was used last is made anew once.
    pub fn query<T: FromRedisValue>(&mut self, commands: &Pipeline) -> Result<T, BackendError> {
        let is_new = self.connection.is_none();
        match self.try_query(commands) {
            Err(error) if error.is_io_error() && !is_new => self.try_query(commands),
            result => result,
        }
        .map_err(|error| self.unavailable(&error))
    }

    fn try_query<T: FromRedisValue>(&mut self, commands: &Pipeline) -> RedisResult<T> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.connections += 1;
                self.connect()?
            }
        };
        let result = commands.query(&mut connection);
        // What comes late must not be taken for the answer to something else.
        let is_broken = |error: &RedisError| error.is_io_error() || error.is_unrecoverable_error();
        if !result.as_ref().is_err_and(is_broken) {
            self.connection = Some(connection);
        }
        result
    }

    /// What went wrong, for the operator.
    pub fn unavailable(&self, error: &RedisError) -> BackendError {
        BackendError::Unavailable(format!("{} of the switch: {error}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        let text = r#"{
            "INSTANCES": {
                "redis": {"hostname": "127.0.0.1", "port": 6379,
                    "unix_socket_path": "/var/run/redis/redis.sock", "persistence_for_warm_boot": "yes"},
                "redis_chassis": {"hostname": "redis_chassis.server", "port": 6380, "unix_socket_path": ""}
            },
            "DATABASES": {
                "APPL_DB": {"id": 0, "separator": ":", "instance": "redis"},
                "CHASSIS_APP_DB": {"id": 12, "separator": "|", "instance": "redis_chassis"},
                "ODD": {"id": "none"}
            },
            "VERSION": "1.0"
        }"#;
        let places = places(text).unwrap();
        assert_eq!(places.len(), 2);
        let appl = &places["APPL_DB"];
        assert_eq!(appl.number, 0);
        assert_eq!(
            appl.socket.as_deref(),
            Some(Path::new("/var/run/redis/redis.sock"))
        );
        let chassis = &places["CHASSIS_APP_DB"];
        assert_eq!((chassis.socket.as_ref(), chassis.port), (None, 6380));
        for bad in ["", "{}", "[]"] {
            assert!(super::places(bad).is_err(), "{bad:?}");
        }
    }
}

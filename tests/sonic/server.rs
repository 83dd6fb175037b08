//! A real Redis server for one test, on a socket in a folder of its own, with what a switch has in CONFIG_DB.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use redis::{Connection, ConnectionAddr, IntoConnectionInfo};
use serde_json::json;
use tempfile::TempDir;

use crate::waiting::eventually;

/// Numbers of the databases.
pub const APPL_DB: i64 = 0;
/// See [`APPL_DB`].
pub const COUNTERS_DB: i64 = 2;
/// See [`APPL_DB`].
pub const CONFIG_DB: i64 = 4;
/// See [`APPL_DB`].
pub const STATE_DB: i64 = 6;

/// The server.
pub struct Server {
    directory: TempDir,
    process: Option<Child>,
}

/// Whether there is a server to start; on CI nothing may be skipped.
pub fn available() -> bool {
    let found = Command::new("redis-server")
        .arg("--version")
        .output()
        .is_ok();
    assert!(
        found || std::env::var_os("CI").is_none(),
        "redis-server is not installed"
    );
    if !found {
        eprintln!("skipped: redis-server is not installed");
    }
    found
}

impl Server {
    /// Starts one, empty but for the ports of a switch.
    pub fn start() -> Option<Self> {
        if !available() {
            return None;
        }
        let mut server = Self {
            directory: tempfile::tempdir().unwrap(),
            process: None,
        };
        let socket = server.socket();
        let database =
            |id, separator| json!({"id": id, "separator": separator, "instance": "redis"});
        let document = json!({
            "INSTANCES": {"redis": {
                "hostname": "127.0.0.1", "port": 6379, "unix_socket_path": socket,
                "persistence_for_warm_boot": "yes",
            }},
            "DATABASES": {
                "APPL_DB": database(APPL_DB, ":"), "COUNTERS_DB": database(COUNTERS_DB, ":"),
                "CONFIG_DB": database(CONFIG_DB, "|"), "STATE_DB": database(STATE_DB, "|"),
            },
            "VERSION": "1.0",
        });
        std::fs::write(server.database_config(), document.to_string()).unwrap();
        server.run();
        server.configure_ports();
        Some(server)
    }

    /// Starts the program.
    pub fn run(&mut self) {
        let program = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .args(["--notify-keyspace-events", "AKE", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        self.process = Some(program);
        eventually("redis-server answers", || {
            self.try_connect(APPL_DB)
                .map(drop)
                .map_err(|error| error.to_string())
        });
    }

    /// What a switch of three ports has, one of them in a link aggregation group.
    pub fn configure_ports(&self) {
        let mut config = self.connect(CONFIG_DB);
        let mut commands = redis::pipe();
        for (index, port) in ["Ethernet0", "Ethernet4", "Ethernet8"].iter().enumerate() {
            let alias = format!("etp{}", index + 1);
            commands.hset_multiple(
                format!("PORT|{port}"),
                &[("alias", alias.as_str()), ("speed", "100000")],
            );
        }
        commands.hset("PORT|Ethernet-Rec0", "role", "Rec");
        commands.hset("PORTCHANNEL|PortChannel1", "admin_status", "up");
        commands.hset("PORTCHANNEL_MEMBER|PortChannel1|Ethernet8", "NULL", "NULL");
        commands.query::<()>(&mut config).unwrap();
    }

    /// Ends it at once; what it knew is gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended before.
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// The folder for whatever else the test needs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The file that says where the databases are.
    pub fn database_config(&self) -> PathBuf {
        self.directory.path().join("database_config.json")
    }

    fn try_connect(&self, database: i64) -> redis::RedisResult<Connection> {
        let info = ConnectionAddr::Unix(self.socket()).into_connection_info()?;
        let settings = info.redis_settings().clone().set_db(database);
        redis::Client::open(info.set_redis_settings(settings))?.get_connection()
    }

    /// A connection to a database.
    pub fn connect(&self, database: i64) -> Connection {
        self.try_connect(database).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

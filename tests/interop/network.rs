//! Two network namespaces with a link between them.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::program::{run, try_run};

/// Address of the controller.
pub const CONTROLLER: &str = "192.0.2.1";
/// Address of the router.
pub const ROUTER: &str = "192.0.2.2";
/// Address of the controller on a link to the router of another network.
pub const SECOND_CONTROLLER: &str = "198.51.100.1";
/// Address of that router.
pub const SECOND_ROUTER: &str = "198.51.100.2";
/// AS of the controller.
pub const CONTROLLER_AS: u32 = 65070;
/// AS of the router.
pub const ROUTER_AS: u32 = 65140;

/// The controller's end of the link.
const CONTROLLER_LINK: &str = "to-router";
/// The router's end of the link.
const ROUTER_LINK: &str = "to-controller";

/// The controller's end of a second link.
const SECOND_LINK: &str = "second";

/// Networks made by this process.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Where a program is, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin", "/usr/lib/frr"])
        .map(|directory| Path::new(directory).join(program))
        .find(|candidate| candidate.is_file())
}

/// A controller and a router, and a place for their files.
pub struct Network {
    /// Name of the controller's namespace.
    controller: String,
    /// Name of the router's namespace.
    router: String,
    /// For configurations, sockets and logs.
    directory: TempDir,
}

impl Network {
    /// Makes the namespaces. `None`, with the reason printed: this machine cannot run the test;
    /// where `CI` is set that is a failure.
    pub fn new(programs: &[&str]) -> Option<Self> {
        if let Some(obstacle) = obstacle(programs) {
            assert!(std::env::var_os("CI").is_none(), "{obstacle}");
            eprintln!("skipped: {obstacle}");
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = |role: &str| format!("flowacl-{}-{number}-{role}", process::id());
        let directory = tempfile::Builder::new()
            .prefix("flowacl-")
            .tempdir()
            .unwrap();
        let network = Self {
            controller: name("c"),
            router: name("r"),
            directory,
        };
        for namespace in [&network.controller, &network.router] {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        let (controller, router) = (network.controller.as_str(), network.router.as_str());
        ip(&[
            "-n",
            controller,
            "link",
            "add",
            CONTROLLER_LINK,
            "type",
            "veth",
            "peer",
            "name",
            ROUTER_LINK,
            "netns",
            router,
        ]);
        for (namespace, link, address) in [
            (controller, CONTROLLER_LINK, CONTROLLER),
            (router, ROUTER_LINK, ROUTER),
        ] {
            ip(&[
                "-n",
                namespace,
                "address",
                "add",
                &format!("{address}/24"),
                "dev",
                link,
            ]);
            ip(&["-n", namespace, "link", "set", link, "up"]);
        }
        // The victims live behind the router.
        ip(&[
            "-n",
            controller,
            "route",
            "add",
            "203.0.113.0/24",
            "via",
            ROUTER,
        ]);
        Some(network)
    }

    /// A command in the controller's namespace.
    pub fn on_controller(&self, program: &str) -> Command {
        inside(&self.controller, program)
    }

    /// A command in the router's namespace.
    pub fn on_router(&self, program: &str) -> Command {
        inside(&self.router, program)
    }

    /// A file of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Takes the link away from the controller, or brings it back. The router's side sees no
    /// carrier, as with a cable that is pulled.
    pub fn set_link(&self, state: &str) {
        ip(&[
            "-n",
            &self.controller,
            "link",
            "set",
            CONTROLLER_LINK,
            state,
        ]);
        if state == "up" {
            // The route went away with the link.
            ip(&[
                "-n",
                &self.controller,
                "route",
                "replace",
                "203.0.113.0/24",
                "via",
                ROUTER,
            ]);
        }
    }

    /// Adds a second link, by which the controller's side then reaches 203.0.113.5.
    pub fn add_link(&self, router_link: &str) {
        let (controller, router) = (self.controller.as_str(), self.router.as_str());
        let peer = [
            "type",
            "veth",
            "peer",
            "name",
            SECOND_LINK,
            "netns",
            controller,
        ];
        ip(&[&["-n", router, "link", "add", router_link][..], &peer].concat());
        for (namespace, link, address) in [
            (controller, SECOND_LINK, "198.51.100.1/24"),
            (router, router_link, "198.51.100.2/24"),
        ] {
            ip(&["-n", namespace, "address", "add", address, "dev", link]);
            ip(&["-n", namespace, "link", "set", link, "up"]);
        }
        ip(&[
            "-n",
            controller,
            "route",
            "add",
            "203.0.113.5",
            "via",
            "198.51.100.2",
        ]);
    }

    /// Joins the router of another network to this one's controller, which is then [`SECOND_CONTROLLER`] for it, as it is
    /// [`SECOND_ROUTER`] for the controller.
    pub fn join_router_of(&self, other: &Self) {
        let (controller, router) = (self.controller.as_str(), other.router.as_str());
        let peer = [
            "type",
            "veth",
            "peer",
            "name",
            SECOND_LINK,
            "netns",
            controller,
        ];
        ip(&[&["-n", router, "link", "add", "to-second"][..], &peer].concat());
        for (namespace, link, address) in [
            (controller, SECOND_LINK, SECOND_CONTROLLER),
            (router, "to-second", SECOND_ROUTER),
        ] {
            let address = format!("{address}/24");
            ip(&["-n", namespace, "address", "add", &address, "dev", link]);
            ip(&["-n", namespace, "link", "set", link, "up"]);
        }
    }

    /// Takes it away again.
    pub fn remove_link(&self, router_link: &str) {
        ip(&["-n", &self.router, "link", "delete", router_link]);
    }

    /// Sends UDP datagrams from the controller's side to an address behind the router.
    pub fn send_datagrams(&self, address: &str, port: u16, count: u64) {
        let script =
            format!("for i in $(seq {count}); do echo . > /dev/udp/{address}/{port}; done");
        run(self.on_controller("bash").args(["-c", &script]));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in [&self.controller, &self.router] {
            // What a controller left behind ends with the namespace that was made for it.
            let pids =
                try_run(Command::new("ip").args(["netns", "pids", namespace])).unwrap_or_default();
            for pid in pids.split_whitespace() {
                let _ = try_run(Command::new("kill").args(["-s", "KILL", pid]));
            }
            if let Err(complaint) = try_run(Command::new("ip").args(["netns", "delete", namespace]))
            {
                eprintln!("{complaint}");
            }
        }
    }
}

/// Why the test cannot run here.
fn obstacle(programs: &[&str]) -> Option<String> {
    if std::fs::metadata("/proc/self").map_or(true, |process| process.uid() != 0) {
        return Some("network namespaces and nftables need root".to_owned());
    }
    let needed = ["ip", "nft", "bash"].iter().chain(programs);
    let missing: Vec<&str> = needed
        .copied()
        .filter(|program| find(program).is_none())
        .collect();
    (!missing.is_empty()).then(|| format!("not installed: {}", missing.join(", ")))
}

/// A command in a namespace.
fn inside(namespace: &str, program: &str) -> Command {
    let program = find(program).unwrap_or_else(|| PathBuf::from(program));
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    // Some controllers signal the group they are in.
    command.process_group(0);
    command
}

/// Runs `ip`.
fn ip(arguments: &[&str]) {
    run(Command::new("ip").args(arguments));
}

//! The daemon as a process of its own on the router of a network.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use flowacl::io::control::client;
use flowacl::io::report::SummaryReport;
use flowacl::lab::{Lab, LabError, Namespace, UPSTREAM};
use tempfile::TempDir;

use super::updates::CONTROLLER_AS;
use crate::program::{Program, daemon};

/// The router's address for the controller.
const ROUTER: &str = "192.0.2.2";
/// The controller's address.
const CONTROLLER: &str = "192.0.2.1";
/// Where the daemon listens.
const PORT: u16 = 179;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Shortest and longest pause between two questions.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// A running daemon and the host of its only neighbor.
pub struct Daemon {
    process: Program,
    directory: TempDir,
    runtime: tokio::runtime::Runtime,
    /// Where the neighbor is.
    pub controller: Namespace,
}

impl Daemon {
    /// Starts it and waits until it answers.
    pub fn start(lab: &Lab) -> Result<Self, LabError> {
        let address = |text: &str| -> IpAddr { text.parse().expect("a constant address") };
        let controller = lab.attach("controller", address(ROUTER), address(CONTROLLER), 30)?;
        let directory = tempfile::tempdir().expect("a place for files");
        let configuration = format!(
            "[bgp]\nlocal_as = 65140\nrouter_id = \"{ROUTER}\"\nlisten = [\"{ROUTER}:{PORT}\"]\n\
             [[neighbor]]\naddress = \"{CONTROLLER}\"\nremote_as = {CONTROLLER_AS}\n\
             [neighbor.import]\nmax_routes = 10000000\n\
             [dataplane]\nbackend = \"nftables\"\ninterfaces = [\"{UPSTREAM}\"]\n\
             [control]\nsocket = \"{}/flowacl.sock\"\n",
            directory.path().display()
        );
        let path = directory.path().join("flowacl.toml");
        fs::write(&path, configuration).expect("the directory takes files");
        let log = directory.path().join("log");
        let start = move || Program::start(&mut daemon(&path), &log);
        let process = lab.router.run(start);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let daemon = Self {
            process,
            directory,
            runtime: runtime.expect("a runtime needs no privilege"),
            controller,
        };
        daemon.wait("the daemon answers", |_| true);
        Ok(daemon)
    }

    /// Where the neighbor dials.
    pub fn address(&self) -> SocketAddr {
        let address: IpAddr = ROUTER.parse().expect("a constant address");
        (address, PORT).into()
    }

    /// Waits until so many rules are enforced and nothing is on its way.
    pub fn wait_for_rules(&self, count: usize) {
        self.wait("the rules are enforced", |summary| {
            summary.settled && summary.routes.installed == count && summary.routes.received == count
        });
    }

    /// Asks for the summary until it is as wanted; pauses are longer than the answers take, so that asking costs the
    /// daemon little.
    fn wait(&self, what: &str, wanted: impl Fn(&SummaryReport) -> bool) {
        let socket: PathBuf = self.directory.path().join("flowacl.sock");
        let end = Instant::now() + PATIENCE;
        loop {
            let asked = Instant::now();
            let answer = self.runtime.block_on(client::get(&socket, "/v1/summary"));
            match answer {
                Ok(summary) if wanted(&summary) => return,
                answer => assert!(
                    Instant::now() < end,
                    "{what}: {answer:?}\n{}",
                    self.process.log()
                ),
            }
            std::thread::sleep((5 * asked.elapsed()).clamp(PAUSES.0, PAUSES.1));
        }
    }

    /// A file of the process below `/proc`.
    pub fn proc_file(&self, name: &str) -> String {
        let path = format!("/proc/{}/{name}", self.process.id());
        fs::read_to_string(&path).expect("the daemon runs")
    }
}

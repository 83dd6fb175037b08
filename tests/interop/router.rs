//! The router: `flowacl run` with the nftables backend, and what it shows.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::controllers::Flow;
use super::network::{CONTROLLER, CONTROLLER_AS, Network, ROUTER, ROUTER_AS};
use super::program::{Program, ask, try_run};
use super::{Dialer, HOLD_TIME};
use crate::waiting::eventually;

/// How long a session that must not come up is watched: it would after the second attempt, a second after the first.
const STAYS_DOWN: Duration = Duration::from_millis(2_500);

/// A running daemon.
pub struct Router<'network> {
    network: &'network Network,
    _program: Program,
}

impl<'network> Router<'network> {
    /// Starts the daemon with the controller as its only neighbor.
    pub fn start(network: &'network Network, dialer: Dialer) -> Self {
        Self::start_with(network, dialer, "")
    }

    /// As [`Self::start`], with more keys for the neighbor.
    pub fn start_with(network: &'network Network, dialer: Dialer, keys: &str) -> Self {
        let configuration = format!(
            r#"
            [bgp]
            local_as = {ROUTER_AS}
            router_id = "{ROUTER}"
            listen = [{listen}]

            [[neighbor]]
            address = "{CONTROLLER}"
            remote_as = {CONTROLLER_AS}
            passive = {passive}
            families = ["ipv4-flow", "ipv6-flow"]
            hold_time_secs = {hold_time_secs}
            connect_retry_secs = 1
            {keys}

            [dataplane]
            backend = "nftables"
            interfaces = ["to-*"]

            [control]
            socket = {socket:?}
            "#,
            listen = if dialer.controller_dials() {
                format!("\"{ROUTER}:179\"")
            } else {
                String::new()
            },
            passive = !dialer.router_dials(),
            hold_time_secs = HOLD_TIME.as_secs(),
            socket = network.path("flowacl.sock"),
        );
        Self::start_configured(network, &configuration)
    }

    /// Starts the daemon as one that dials a neighbor of the controller's AS from an address of its own.
    pub fn dialing(network: &'network Network, asn: u32, own: &str, neighbor: &str) -> Self {
        let configuration = format!(
            r#"
            [bgp]
            local_as = {asn}
            router_id = "{own}"
            listen = []
            [[neighbor]]
            address = "{neighbor}"
            remote_as = {CONTROLLER_AS}
            passive = false
            hold_time_secs = {hold_time_secs}
            connect_retry_secs = 1
            [dataplane]
            interfaces = ["to-*"]
            [control]
            socket = {socket:?}
            "#,
            hold_time_secs = HOLD_TIME.as_secs(),
            socket = network.path("flowacl.sock"),
        );
        Self::start_configured(network, &configuration)
    }

    /// Starts the daemon with a configuration, whose control socket is `flowacl.sock` of the network.
    pub fn start_configured(network: &'network Network, configuration: &str) -> Self {
        let path = network.path("flowacl.toml");
        fs::write(&path, configuration).unwrap();
        let mut command = network.on_router(env!("CARGO_BIN_EXE_flowacl"));
        command.arg("run").arg("--config").arg(&path);
        let program = Program::start(&mut command, &network.path("flowacl.log"));
        Self {
            network,
            _program: program,
        }
    }

    /// Waits for the session.
    pub fn established(&self) {
        eventually("the session comes up", || {
            let neighbors = self.show("neighbors")?;
            match &neighbors["neighbors"][0]["state"] {
                state if state == "Established" => Ok(()),
                _ => Err(neighbors.to_string()),
            }
        });
    }

    /// Waits until there is no session any more.
    pub fn lost(&self) {
        eventually("the session ends", || {
            let neighbors = self.show("neighbors")?;
            match &neighbors["neighbors"][0]["state"] {
                state if state == "Established" => Err(neighbors.to_string()),
                _ => Ok(()),
            }
        });
    }

    /// Looks for some seconds, and until `show neighbors` says these words: the session must not come up.
    pub fn stays_down(&self, words: &str) {
        let end = Instant::now() + STAYS_DOWN;
        eventually("the reason is shown", || {
            let neighbors = self.show("neighbors").unwrap_or_default();
            let neighbor = &neighbors["neighbors"][0];
            assert_ne!(neighbor["state"], "Established", "{neighbors}");
            let reason = neighbor["last_error"].as_str().unwrap_or_default();
            match Instant::now() > end && reason.contains(words) {
                true => Ok(()),
                false => Err(format!("{words:?} is not in {reason:?}")),
            }
        });
    }

    /// Waits until there is no session, and `show neighbors` says why in one of these words.
    pub fn is_down(&self, words: &[&str]) {
        eventually("there is no session, for a reason", || {
            let neighbors = self.show("neighbors")?;
            let neighbor = &neighbors["neighbors"][0];
            let reason = neighbor["last_error"].as_str().unwrap_or_default();
            let is_down = neighbor["state"] != "Established";
            match is_down && words.iter().any(|words| reason.contains(words)) {
                true => Ok(()),
                false => Err(neighbors.to_string()),
            }
        });
    }

    /// Waits until these flows and no others are in force, in `show rules` and in the kernel.
    pub fn holds_exactly(&self, flows: &[Flow]) {
        self.holds_in_state(flows, "installed");
    }

    /// As [`Self::holds_exactly`], with this state in `show rules`.
    pub fn holds_in_state(&self, flows: &[Flow], state: &str) {
        let expected: BTreeSet<(String, String, String)> = flows
            .iter()
            .map(|flow| (flow.nlri.to_owned(), flow.text(), state.to_owned()))
            .collect();
        eventually("the routes", || {
            let rules = self.rules()?;
            let field =
                |rule: &Value, name: &str| rule[name].as_str().unwrap_or_default().to_owned();
            let found: BTreeSet<_> = rules
                .iter()
                .map(|rule| {
                    (
                        field(rule, "nlri"),
                        field(rule, "flow"),
                        field(rule, "state"),
                    )
                })
                .collect();
            if found == expected && rules.len() == flows.len() {
                return Ok(());
            }
            Err(format!("found {found:#?}\nexpected {expected:#?}"))
        });
        eventually("the table in the kernel", || {
            let table = self.table()?;
            let counters = table
                .lines()
                .filter(|line| line.trim_start().starts_with("counter r") && line.ends_with(" {"))
                .count();
            let missing: Vec<String> = flows
                .iter()
                .map(Flow::comment)
                .filter(|comment| !table.contains(comment))
                .collect();
            match missing.is_empty() && counters == flows.len() {
                true => Ok(()),
                false => Err(format!(
                    "{counters} counters, without {missing:#?}\n{table}"
                )),
            }
        });
    }

    /// Waits until `show dataplane` names an interface as filtered, or names it no more.
    pub fn filters(&self, interface: &str, wanted: bool) {
        eventually("the interfaces", || {
            let report = self.show("dataplane")?.to_string();
            match report.contains(interface) == wanted {
                true => Ok(()),
                false => Err(report),
            }
        });
    }

    /// Waits until a flow has counted this many packets.
    pub fn has_counted(&self, flow: &Flow, packets: u64) {
        eventually("the packets are counted", || {
            let rules = self.rules()?;
            let rule = rules.iter().find(|rule| rule["nlri"] == flow.nlri);
            match rule.and_then(|rule| rule["packets"].as_u64()) {
                Some(counted) if counted == packets => Ok(()),
                counted => Err(format!("{counted:?} of {packets}")),
            }
        });
    }

    /// The reason of a flow.
    pub fn reason(&self, flow: &Flow) -> String {
        let rules = self.rules().unwrap();
        let rule = rules.iter().find(|rule| rule["nlri"] == flow.nlri);
        let reason = rule.and_then(|rule| rule["reason"].as_str());
        reason.unwrap_or_default().to_owned()
    }

    /// Waits until a flow is refused for a reason with these words, and the kernel holds nothing.
    pub fn refuses(&self, flow: &Flow, words: &str) {
        eventually("the refusal", || {
            let rules = self.rules()?;
            let rule = rules.iter().find(|rule| rule["nlri"] == flow.nlri);
            let rule = rule.ok_or_else(|| format!("{rules:#?}"))?;
            let reason = rule["reason"].as_str().unwrap_or_default();
            match rule["state"] == "rejected" && reason.contains(words) {
                true => Ok(()),
                false => Err(rule.to_string()),
            }
        });
        eventually("the table in the kernel", || {
            let table = self.table()?;
            match table.contains(&flow.comment()) {
                true => Err(table),
                false => Ok(()),
            }
        });
    }

    /// A field of the neighbor.
    pub fn neighbor(&self, field: &str) -> Value {
        self.show("neighbors").unwrap()["neighbors"][0][field].clone()
    }

    /// The routes of `show rules --json`.
    pub fn rules(&self) -> Result<Vec<Value>, String> {
        let report = self.show("rules")?;
        report["rules"]
            .as_array()
            .cloned()
            .ok_or_else(|| report.to_string())
    }

    /// Asks the daemon.
    fn show(&self, what: &str) -> Result<Value, String> {
        ask(&self.network.path("flowacl.sock"), what)
    }

    /// What the kernel holds, as an operator sees it.
    pub fn table(&self) -> Result<String, String> {
        try_run(
            self.network
                .on_router("nft")
                .args(["list", "table", "inet", "flowacl"]),
        )
    }
}

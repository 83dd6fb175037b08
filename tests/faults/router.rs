//! The router: a lab, `flowacl run` with the nftables backend in it, and what others see of both.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use flowacl::lab::{Lab, Namespace, Passed, UPSTREAM};
use serde_json::Value;
use tempfile::TempDir;

use crate::available::available;
use crate::controller::CONTROLLER_AS;
use crate::program::{Program, ask, daemon, flowacl, run};
use crate::waiting::eventually;

/// A router between an attacker and a victim.
pub struct Router {
    /// Ends before what it lives in.
    daemon: Option<Program>,
    lab: Lab,
    directory: TempDir,
}

impl Router {
    /// Makes the network and starts the daemon, whose table belongs to it or is open to everyone; `None` where the test
    /// is skipped.
    pub fn start(own_table: bool) -> Option<Self> {
        let lab = available(Lab::routed)?;
        let directory = tempfile::tempdir().unwrap();
        let configuration = format!(
            "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\nlisten = [\"127.0.0.1:179\"]\n\
             [[neighbor]]\naddress = \"127.0.0.1\"\nremote_as = {CONTROLLER_AS}\n\
             [dataplane]\nown_table = {own_table}\nbackend = \"nftables\"\ninterfaces = [\"{UPSTREAM}\"]\n\
             [control]\nsocket = \"{}/flowacl.sock\"\n",
            directory.path().display(),
        );
        fs::write(directory.path().join("flowacl.toml"), configuration).unwrap();
        let mut router = Self {
            daemon: None,
            lab,
            directory,
        };
        router.start_daemon();
        eventually("the daemon answers", || router.show("summary"));
        Some(router)
    }

    /// Starts a daemon, and does not wait for it.
    pub fn start_daemon(&mut self) {
        let mut daemon = daemon(&self.path("flowacl.toml"));
        let log = self.path("log");
        let start = move || Program::start_again(&mut daemon, &log);
        self.daemon = Some(self.lab.router.run(start));
    }

    /// SIGKILL.
    pub fn kill_daemon(&mut self) {
        self.daemon = None;
    }

    /// SIGTERM, as a service manager does it.
    pub fn stop_daemon(&mut self) {
        let mut daemon = self.daemon.take().expect("there is one");
        assert_eq!(daemon.stop(), Some(0), "{}", self.log());
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.lab.router
    }

    /// Connects another host.
    pub fn attach(
        &self,
        name: &'static str,
        own: IpAddr,
        remote: IpAddr,
        prefix_length: u8,
    ) -> Namespace {
        self.lab.attach(name, own, remote, prefix_length).unwrap()
    }

    /// Gives an order, which must be carried out.
    pub fn order(&self, order: &str) {
        run(flowacl([order, "--socket"]).arg(self.socket()));
    }

    /// Sends packets and says what becomes of each.
    pub fn pass(&mut self, packets: &[Vec<u8>]) -> Vec<Passed> {
        self.lab.pass(packets).unwrap()
    }

    /// Asks the daemon with `show WHAT --json`.
    pub fn show(&self, what: &str) -> Result<Value, String> {
        ask(&self.socket(), what).map_err(|error| error + &self.log())
    }

    /// Where the daemon answers.
    pub fn socket(&self) -> PathBuf {
        self.path("flowacl.sock")
    }

    /// A file of the test.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Replaces text in the configuration, for the next daemon.
    pub fn configure(&self, from: &str, to: &str) {
        let path = self.path("flowacl.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    /// Packets that each installed rule has counted, by its flow.
    pub fn counters(&self) -> Result<BTreeMap<String, u64>, String> {
        let report = self.show("rules")?;
        let rules = report["rules"].as_array().into_iter().flatten();
        Ok(rules
            .filter(|rule| rule["state"] == "installed")
            .map(|rule| {
                let flow = rule["flow"].as_str().unwrap_or_default().to_owned();
                (flow, rule["packets"].as_u64().unwrap_or(0))
            })
            .collect())
    }

    /// Memory that the daemon occupies, in KiB.
    pub fn rss_kib(&self) -> u64 {
        let daemon = self.daemon.as_ref().expect("there is one");
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// What the daemons have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Runs a script of `nft` in the router.
    pub fn nft(&self, script: &str) -> Result<String, String> {
        self.run_nft(&[], script)
    }

    /// Runs a script in JSON.
    pub fn nft_json(&self, script: &Value) -> Result<String, String> {
        self.run_nft(&["-j"], &script.to_string())
    }

    /// Runs `nft OPTIONS -f SCRIPT`.
    fn run_nft(&self, options: &[&str], script: &str) -> Result<String, String> {
        let file = self.path("script");
        fs::write(&file, script).unwrap();
        let options: Vec<String> = options.iter().map(|option| option.to_string()).collect();
        let output = self.lab.router.run(move || {
            Command::new("nft")
                .args(options)
                .arg("-f")
                .arg(file)
                .output()
                .unwrap()
        });
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(format!(
                "{script}: {}",
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }

    /// Everything in our table, whatever the order of chains and objects, without what counters say, who owns it, and
    /// the numbers of maps.
    pub fn table(&self) -> Result<Vec<String>, String> {
        let listing = self.nft("list table inet flowacl")?;
        let listing = listing
            .replace("\tflags owner\n", "")
            .replace("\tflags \n", "");
        let listing = listing.replace(" # progname flowacl\n", "\n");
        Ok(blocks(&without_numbers(&listing)))
    }

    /// The tables of others, as they are listed.
    pub fn other_tables(&self) -> String {
        let tables = self.nft("list tables").unwrap();
        let others = tables.lines().filter(|line| *line != "table inet flowacl");
        others
            .map(|table| self.nft(&format!("list {table}")).unwrap())
            .collect()
    }

    /// Our table in JSON: its objects of a kind.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        let listing = self
            .run_nft(&["-j", "-a"], "list table inet flowacl")
            .unwrap();
        let listing: Value = serde_json::from_str(&listing).unwrap();
        let objects = listing["nftables"].as_array().into_iter().flatten();
        objects
            .filter_map(|object| object.get(kind).cloned())
            .collect()
    }
}

/// The blocks of a table's listing, sorted, with zeros for what counters say.
fn blocks(listing: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block = String::new();
    for line in listing.lines().filter(|line| !line.is_empty()) {
        let mut words: Vec<&str> = line.split(' ').collect();
        for position in 1..words.len() {
            let counts = matches!(words[position - 1].trim_start(), "packets" | "bytes");
            if counts && words[position].parse::<u64>().is_ok() {
                words[position] = "0";
            }
        }
        block += &words.join(" ");
        block.push('\n');
        // The table's own line stands before whatever comes first.
        if line == "\t}" || line.starts_with("table ") {
            blocks.push(std::mem::take(&mut block));
        }
    }
    blocks.push(block);
    blocks.sort();
    blocks
}

/// A listing without the numbers of maps, which differ when a table is made anew.
fn without_numbers(listing: &str) -> String {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let words = listing.split_inclusive(|c| !is_of_name(c));
    words
        .map(|word| {
            let (name, end) = word.split_at(word.trim_end_matches(|c| !is_of_name(c)).len());
            let mut parts: Vec<&str> = name.split('-').collect();
            let is_number = |part: &str| part.parse::<u64>().is_ok();
            if let ["ipv4" | "ipv6", number, ..] = parts[..]
                && is_number(number)
            {
                parts[1] = "N";
            }
            if let [.., "listed", number] = parts[..]
                && is_number(number)
            {
                parts.pop();
            }
            parts.join("-") + end
        })
        .collect()
}

//! `flowacl demo`: the whole story on this machine, in namespaces of its own. Everything it says is measured first.

mod controller;
mod traffic;

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::config::Config;
use crate::engine::status::{RouteState, RuleStatus, RulesReport};
use crate::io::Daemon;
use crate::io::control::client;
use crate::lab::{Lab, UPSTREAM, enter_user_namespace};
use controller::Controller;
use traffic::{Count, KINDS, Kind, MARK, Treatment};

/// The router's address towards the controller.
const ROUTER: &str = "10.0.0.1";
/// The controller's address.
const CONTROLLER: &str = "10.0.0.2";
/// How long the daemon may take for anything.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the controller announces, and which kinds of traffic each rule is to count.
const FLOWS: [(&str, &[usize]); 4] = [
    (
        "flow route { match { destination 203.0.113.5/32; protocol udp; source-port =123; packet-length =468; } \
         then { discard; } }",
        &[0],
    ),
    (
        "flow route { match { destination 203.0.113.5/32; protocol udp; fragment is-fragment; } then { discard; } }",
        &[1],
    ),
    (
        "flow route { match { destination 203.0.113.5/32; protocol tcp; destination-port =443; } then { mark 18; } }",
        &[4],
    ),
    // Not ours to filter: refused by the import policy.
    (
        "flow route { match { destination 198.51.100.0/24; } then { discard; } }",
        &[],
    ),
];

/// See it work: an attack, its mitigation and the end of both, without root
///
/// Makes a network of its own (attacker, router, victim) inside this process, runs the daemon with nftables on the router,
/// announces Flow Specifications over BGP, sends real packets, and shows what arrived. Nothing outside is touched. Ends with
/// an error when anything is not as it should be.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

/// Carries out the command. Must be called before the process has a second thread.
pub(super) fn run(_: &Arguments, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    enter_user_namespace()?;
    let start = Instant::now();
    let mut lab = Lab::routed()?;
    let peer: [IpAddr; 2] = [ROUTER.parse()?, CONTROLLER.parse()?];
    let host = lab.attach("controller", peer[0], peer[1], 30)?;
    let directory = tempfile::tempdir().context("a directory for the control socket")?;
    let socket = directory.path().join("flowacl.sock");
    let config = configuration(&socket)?;
    let daemon = lab.router.run(move || Daemon::start(config))?;
    let mut checks = Checks::default();

    writeln!(
        output,
        "attacker --- router --- victim        three network namespaces in this process,\n\
         \x20               |                      the daemon and nftables on the router,\n\
         \x20           controller                 a BGP speaker in a fourth\n"
    )?;
    writeln!(output, "1. An attack, and no rules.\n")?;
    let before = traffic::send(&mut lab)?;
    print_traffic(output, &before)?;
    checks.traffic("without rules", &before, false);

    writeln!(
        output,
        "\n2. The controller (AS 65070) announces {} flows to the router (AS 65140).\n",
        FLOWS.len()
    )?;
    let mut controller = Controller::start(&host, ROUTER, &FLOWS.map(|(flow, _)| flow))?;
    let settled = |rules: &[RuleStatus]| {
        rules.len() == FLOWS.len() && rules.iter().all(|rule| rule.state != RouteState::Pending)
    };
    wait_for_rules(&socket, settled).or_else(|error| controller.blame(error))?;
    let during = traffic::send(&mut lab)?;
    print_traffic(output, &during)?;
    checks.traffic("with rules", &during, true);

    writeln!(output, "\n$ flowacl show rules\n")?;
    let rules = wait_for_rules(&socket, |_| true)?;
    checks.rules(&rules, &during);
    write!(output, "{}", show_rules(&socket)?)?;
    let refused = rules.iter().find(|rule| rule.state == RouteState::Rejected);
    if let Some(reason) = refused.and_then(|rule| rule.reason.as_ref()) {
        writeln!(output, "\nrefused, not widened:\n  {reason}")?;
    }

    writeln!(output, "\n3. The controller withdraws them.\n")?;
    controller.withdraw();
    wait_for_rules(&socket, <[_]>::is_empty).or_else(|error| controller.blame(error))?;
    let after = traffic::send(&mut lab)?;
    print_traffic(output, &after)?;
    checks.traffic("after the withdrawal", &after, false);

    controller.end()?;
    daemon.stop()?;
    checks.result()?;
    writeln!(
        output,
        "\nAll {} checks passed in {:.1} s: packets, DSCP, counters, states of rules.",
        checks.done,
        start.elapsed().as_secs_f64()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The daemon's configuration.
fn configuration(socket: &Path) -> anyhow::Result<Config> {
    let text = format!(
        "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\nlisten = [\"{ROUTER}:179\"]\n\
         [[neighbor]]\naddress = \"{CONTROLLER}\"\nremote_as = 65070\npassive = true\n\
         [neighbor.import]\ndestinations = [\"203.0.113.0/24\"]\n\
         [dataplane]\nbackend = \"nftables\"\ninterfaces = [\"{UPSTREAM}\"]\n\
         [control]\nsocket = \"{}\"\n",
        socket.display()
    );
    Ok(Config::parse(&text)?)
}

/// Asks the daemon until its rules are as wanted.
fn wait_for_rules(
    socket: &Path,
    wanted: impl Fn(&[RuleStatus]) -> bool,
) -> anyhow::Result<Vec<RuleStatus>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let start = Instant::now();
    loop {
        let report: RulesReport = runtime.block_on(client::get(socket, "/v1/rules"))?;
        if wanted(&report.rules) {
            return Ok(report.rules);
        }
        if start.elapsed() > PATIENCE {
            bail!(
                "the daemon's rules are not as wanted after {} s: {:?}",
                PATIENCE.as_secs(),
                report.rules
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// What `flowacl show rules` prints on a terminal of 80 columns.
fn show_rules(socket: &Path) -> anyhow::Result<String> {
    let shown = Command::new("/proc/self/exe")
        .args(["show", "rules", "--socket"])
        .arg(socket)
        .env("COLUMNS", "80")
        .output()
        .context("cannot run `flowacl show rules`")?;
    if !shown.status.success() {
        bail!(
            "`flowacl show rules` failed: {}",
            String::from_utf8_lossy(&shown.stderr)
        );
    }
    Ok(String::from_utf8(shown.stdout)?)
}

/// Prints what was sent and what arrived.
fn print_traffic(output: &mut dyn Write, counts: &[Count]) -> anyhow::Result<()> {
    writeln!(
        output,
        "   {:<30} {:>8} {:>8} {:>8}   DSCP",
        "TRAFFIC", "SENT", "ARRIVED", "DROPPED"
    )?;
    for (kind, count) in KINDS.iter().zip(counts) {
        let dscp = match count.marked {
            0 => String::new(),
            marked if marked == count.arrived => format!("{MARK}"),
            marked => format!("{MARK} in {marked}"),
        };
        let line = format!(
            "   {:<30} {:>8} {:>8} {:>8}   {dscp}",
            kind.name,
            count.sent,
            count.arrived,
            count.sent - count.arrived
        );
        writeln!(output, "{}", line.trim_end())?;
    }
    output.flush()?;
    Ok(())
}

/// Compares what was measured with what must be.
#[derive(Default)]
struct Checks {
    done: usize,
    failures: Vec<String>,
}

impl Checks {
    /// One comparison.
    fn equal<T: PartialEq + Display>(&mut self, what: impl Display, measured: T, expected: T) {
        self.done += 1;
        if measured != expected {
            self.failures
                .push(format!("{what}: {measured} instead of {expected}"));
        }
    }

    /// What arrived in a round.
    fn traffic(&mut self, round: &str, counts: &[Count], rules: bool) {
        for (
            Kind {
                name,
                count,
                under_rules,
                ..
            },
            measured,
        ) in KINDS.iter().zip(counts)
        {
            let treatment = match rules {
                true => *under_rules,
                false => Treatment::Untouched,
            };
            let (arrive, marked) = match treatment {
                Treatment::Untouched => (*count, 0),
                Treatment::Dropped => (0, 0),
                Treatment::Marked => (*count, *count),
            };
            let what = |of: &str| format!("{name}, {round}, {of}");
            self.equal(what("sent"), measured.sent, u64::from(*count));
            self.equal(what("arrived"), measured.arrived, u64::from(arrive));
            self.equal(what("marked"), measured.marked, u64::from(marked));
        }
    }

    /// States and counters of the rules after a round.
    fn rules(&mut self, rules: &[RuleStatus], counts: &[Count]) {
        let mut measured: Vec<_> = rules.iter().map(|r| (r.packets, r.bytes)).collect();
        let sum = |kinds: &[usize]| {
            let of =
                |field: fn(&Count) -> u64| kinds.iter().map(|kind| field(&counts[*kind])).sum();
            (of(|count| count.sent), of(|count| count.sent_octets))
        };
        let mut expected: Vec<(u64, u64)> = FLOWS.iter().map(|(_, kinds)| sum(kinds)).collect();
        measured.sort_unstable();
        expected.sort_unstable();
        self.equal(
            "packets and octets that the rules counted",
            format!("{measured:?}"),
            format!("{expected:?}"),
        );
        for (state, expected) in [(RouteState::Installed, 3), (RouteState::Rejected, 1)] {
            let found = rules.iter().filter(|rule| rule.state == state).count();
            self.equal(format!("rules that are {state:?}"), found, expected);
        }
    }

    /// Fails when a comparison has.
    fn result(&self) -> anyhow::Result<()> {
        if self.failures.is_empty() {
            return Ok(());
        }
        bail!("not as it should be:\n  {}", self.failures.join("\n  "))
    }
}

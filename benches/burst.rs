//! What many routes at once cost: time until all are enforced or gone, memory, and the processor while nothing happens.
//!
//!     cargo bench --bench burst                 10,000 and 100,000 routes
//!     cargo bench --bench burst -- 1000000      these numbers of routes
//!
//! Needs root. The daemon is a process of its own; routes come over TCP, packed as a controller packs them.

/// Shared by the benches.
#[allow(dead_code, reason = "each bench uses a part")]
mod common {
    pub mod controller;
    pub mod counts;
    pub mod daemon;
    pub mod mix;
    pub mod random;
    pub mod report;
    pub mod updates;
}
#[path = "../tests/program/mod.rs"]
mod program;
#[path = "../tests/waiting/mod.rs"]
mod waiting;

use std::thread::sleep;
use std::time::{Duration, Instant};

use common::controller::Controller;
use common::daemon::Daemon;
use common::report::{headline, verdict};
use common::{counts, mix, updates};
use flowacl::lab::{Lab, LabError};

/// How long the daemon is left alone.
const IDLE: Duration = Duration::from_secs(30);
/// Clock ticks a second in `/proc/PID/stat`: the same on every Linux.
const TICKS_PER_SEC: f64 = 100.0;

/// Routes that must be enforced in a second.
const ROUTES_PER_SEC: f64 = 20_000.0;
/// KiB of a daemon without rules.
const BASE_TARGET_KIB: f64 = 15.0 * 1024.0;
/// KiB of a rule.
const RULE_TARGET_KIB: f64 = 1.0;
/// Percent of a processor while nothing happens.
const IDLE_TARGET_PERCENT: f64 = 0.1;

/// One measurement beside what it must stay below.
struct Row {
    what: &'static str,
    measured: f64,
    target: f64,
    unit: &'static str,
}

/// Memory of the daemon in KiB.
fn resident_kib(daemon: &Daemon) -> f64 {
    let status = daemon.proc_file("status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("the kernel knows the memory of a process")
}

/// Processor time that the daemon has used, in seconds.
fn cpu_secs(daemon: &Daemon) -> f64 {
    let stat = daemon.proc_file("stat");
    // The name before may hold anything.
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SEC
}

/// Seconds that something takes.
fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// Everything about so many routes.
fn measure(count: usize) -> Result<Vec<Row>, LabError> {
    let flows = mix::hosts(count);
    let announcements = updates::announcements(&flows).concat();
    let withdrawals = updates::withdrawals(&flows).concat();
    let lab = Lab::routed()?;
    let daemon = Daemon::start(&lab)?;
    let mut controller = Controller::connect(&daemon).expect("the session comes up");
    let base = resident_kib(&daemon);
    let announce = seconds(|| {
        controller.send(&announcements);
        daemon.wait_for_rules(count);
    });
    sleep(Duration::from_secs(2));
    let memory = resident_kib(&daemon) - base;
    let busy = cpu_secs(&daemon);
    sleep(IDLE);
    let idle = cpu_secs(&daemon) - busy;
    let withdraw = seconds(|| {
        controller.send(&withdrawals);
        daemon.wait_for_rules(0);
    });
    let again = seconds(|| {
        controller.send(&announcements);
        daemon.wait_for_rules(count);
    });
    let loss = seconds(|| {
        drop(controller);
        daemon.wait_for_rules(0);
    });
    let target = count as f64 / ROUTES_PER_SEC;
    let time = |what, measured| Row {
        what,
        measured,
        target,
        unit: "s",
    };
    Ok(vec![
        time("announced to enforced", announce),
        time("withdrawn to gone", withdraw),
        time("announced again to enforced", again),
        time("session lost to gone", loss),
        Row {
            what: "memory without rules",
            measured: base,
            target: BASE_TARGET_KIB,
            unit: "KiB",
        },
        Row {
            what: "memory for each rule",
            measured: memory / count as f64,
            target: RULE_TARGET_KIB,
            unit: "KiB",
        },
        Row {
            what: "processor while idle",
            measured: 100.0 * idle / IDLE.as_secs_f64(),
            target: IDLE_TARGET_PERCENT,
            unit: "%",
        },
    ])
}

fn main() -> Result<(), LabError> {
    headline(
        "cargo bench --bench burst [-- ROUTES...]",
        "routes of one session: destination /32, protocol, port",
    );
    println!("{:>7} {:<28} {:>10}       target", "routes", "", "measured");
    for count in counts::counts(&[10_000, 100_000]) {
        for row in measure(count)? {
            println!(
                "{count:>7} {:<28} {:>10.3} {:<3}   <= {:<8} {}",
                row.what,
                row.measured,
                row.unit,
                row.target,
                verdict(row.measured <= row.target)
            );
        }
    }
    Ok(())
}

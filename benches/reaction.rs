//! How soon a route is enforced: from the last octet of an UPDATE to the first packet that is dropped.
//!
//!     cargo bench --bench reaction                 with 10, 10,000 and 100,000 rules installed
//!     cargo bench --bench reaction -- 10 100000    with these numbers of rules
//!
//! Needs root. The daemon is a process of its own, the session is TCP, the packets are real: a probe every few dozen
//! microseconds to the host that a route protects. The reaction to an announcement ends when the first probe is sent that does
//! not arrive; to a withdrawal, when the first is sent that does.

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
use common::random::Random;
use common::report::{headline, median, quantile, verdict};
use common::{counts, mix, updates};
use flowacl::flowspec::text::{Flow, parse_flows};
use flowacl::lab::packet::{Header, PacketBuilder};
use flowacl::lab::{Lab, LabError};

/// Routes that are announced and withdrawn, one after the other.
const TRIALS: usize = 250;
/// Pause between probes, which leaves the daemon a processor.
const PACE: Duration = Duration::from_micros(20);
/// Probes in a row after which things are taken to stay as they are.
const STEADY: usize = 5;
/// How long a reaction may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Milliseconds that half of all reactions stay below.
const MEDIAN_TARGET: f64 = 1.0;
/// Milliseconds that 99 of 100 reactions stay below.
const P99_TARGET: f64 = 5.0;
/// How much longer the slowest number of rules may take than the fastest.
const RATIO_TARGET: f64 = 3.0;

/// Where the sequence number of a probe stands: behind the headers of IPv4 and UDP.
const NUMBER_AT: usize = 28;

/// The host of a trial. No other rule protects it.
fn victim(trial: usize) -> String {
    format!("198.51.100.{}", 1 + trial % 250)
}

/// The route of a trial.
fn route(trial: usize) -> Vec<Flow> {
    let text = format!(
        "flow route {{ match {{ destination {}/32; protocol udp; source-port =123; }} then {{ discard; }} }}",
        victim(trial)
    );
    parse_flows(&text).expect("the text is of the grammar")
}

/// Sends probes and sees which arrive.
struct Prober<'l> {
    lab: &'l mut Lab,
    sent: u64,
}

impl Prober<'_> {
    /// Sends a probe; says when, and whether it arrived: the network has no queues, so it arrives now or never.
    fn probe(&mut self, trial: usize) -> Result<(Instant, bool), LabError> {
        self.sent += 1;
        let number = self.sent.to_be_bytes();
        let header = Header::between("192.0.2.77", &victim(trial));
        let packet = PacketBuilder::new(header).udp(123, 40_000, &number).build();
        let at = Instant::now();
        self.lab.send(&packet)?;
        let mut arrived = false;
        while let Some(packet) = self.lab.receive()? {
            arrived |= packet.get(NUMBER_AT..NUMBER_AT + number.len()) == Some(&number);
        }
        Ok((at, arrived))
    }

    /// Sends probes until several in a row have this fate; returns when the first of them was sent.
    fn until(&mut self, trial: usize, arrives: bool) -> Result<Instant, LabError> {
        let start = Instant::now();
        let mut first = None;
        let mut in_a_row = 0;
        while start.elapsed() < PATIENCE {
            let (at, arrived) = self.probe(trial)?;
            if arrived == arrives {
                first.get_or_insert(at);
                in_a_row += 1;
            } else {
                (first, in_a_row) = (None, 0);
            }
            if let (Some(first), STEADY..) = (first, in_a_row) {
                return Ok(first);
            }
            sleep(PACE);
        }
        panic!(
            "probes do not {} within {PATIENCE:?}",
            if arrives { "arrive" } else { "stop" }
        )
    }

    /// Milliseconds from writing the messages to the first probe with this fate.
    fn reaction(
        &mut self,
        controller: &mut Controller,
        messages: &[u8],
        trial: usize,
        arrives: bool,
    ) -> Result<f64, LabError> {
        self.until(trial, !arrives)?;
        let start = Instant::now();
        controller.send(messages);
        let first = self.until(trial, arrives)?;
        Ok((first - start).as_secs_f64() * 1e3)
    }
}

/// Reactions to announcements and withdrawals with so many rules, in milliseconds.
fn measure(count: usize) -> Result<[Vec<f64>; 2], LabError> {
    let mut lab = Lab::routed()?;
    let daemon = Daemon::start(&lab)?;
    let mut controller = Controller::connect(&daemon).expect("the session comes up");
    controller.send(&updates::announcements(&mix::hosts(count)).concat());
    daemon.wait_for_rules(count);
    // What the burst has stirred up settles.
    sleep(Duration::from_secs(3));
    let mut random = Random::new(5);
    let (mut announced, mut withdrawn) = (Vec::new(), Vec::new());
    let mut prober = Prober {
        lab: &mut lab,
        sent: 0,
    };
    for trial in 0..TRIALS {
        let flows = route(trial);
        let (put, remove) = (updates::announcements(&flows), updates::withdrawals(&flows));
        announced.push(prober.reaction(&mut controller, &put.concat(), trial, false)?);
        // No rhythm that the daemon could share.
        sleep(Duration::from_micros(5_000 + random.below(10_000) as u64));
        withdrawn.push(prober.reaction(&mut controller, &remove.concat(), trial, true)?);
        sleep(Duration::from_micros(5_000 + random.below(10_000) as u64));
    }
    Ok([announced, withdrawn])
}

fn main() -> Result<(), LabError> {
    headline(
        "cargo bench --bench reaction [-- RULES...]",
        "milliseconds from the last octet of an UPDATE to the first packet that is treated accordingly",
    );
    // Sleeps end when they should, not up to 50 microseconds later.
    nix::sys::prctl::set_timerslack(1).map_err(LabError::from)?;
    println!(
        "{:<9} {:>7} {:>8} {:>8} {:>8} {:>8}   target: median < {MEDIAN_TARGET}, p99 < {P99_TARGET}",
        "", "rules", "least", "median", "p99", "most"
    );
    let mut medians: [Vec<f64>; 2] = Default::default();
    let names = ["announce", "withdraw"];
    for count in counts::counts(&[10, 10_000, 100_000]) {
        for ((name, mut times), medians) in names.iter().zip(measure(count)?).zip(&mut medians) {
            let [least, p99, most] = [0.0, 0.99, 1.0].map(|share| quantile(&mut times, share));
            let middle = median(&mut times);
            medians.push(middle);
            let met = middle < MEDIAN_TARGET && p99 < P99_TARGET;
            println!(
                "{name:<9} {count:>7} {least:>8.3} {middle:>8.3} {p99:>8.3} {most:>8.3}   {}",
                verdict(met)
            );
        }
    }
    for (name, medians) in names.iter().zip(&mut medians) {
        let ratio = quantile(medians, 1.0) / quantile(medians, 0.0);
        println!(
            "{name}: slowest median / fastest median = {ratio:.2}   target: <= {RATIO_TARGET}   {}",
            verdict(ratio <= RATIO_TARGET)
        );
    }
    Ok(())
}

//! How fast UPDATE messages are read and written, on one core.
//!
//!     cargo bench --bench decode
//!
//! Messages go the way that they go in a session: octets in portions, `message::split`, `update::decode`.

/// Shared by the benches.
#[allow(dead_code, reason = "each bench uses a part")]
mod common {
    pub mod mix;
    pub mod random;
    pub mod report;
    pub mod updates;
}

use std::hint::black_box;
use std::time::Instant;

use common::report::{headline, median, verdict};
use common::{mix, updates};
use flowacl::flowspec::text::Flow;
use flowacl::wire::message::{self, MAX_MESSAGE_LENGTH, Message};
use flowacl::wire::update;

/// NLRI of one round.
const COUNT: usize = 100_000;
/// Rounds, of which the median counts.
const ROUNDS: usize = 15;
/// NLRI a second that must be decoded.
const TARGET: f64 = 1e6;

/// NLRI a second: the median of the rounds, each of which handles `count`.
fn rate(count: usize, mut round: impl FnMut() -> usize) -> f64 {
    let mut rates: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            assert_eq!(black_box(round()), count);
            count as f64 / start.elapsed().as_secs_f64()
        })
        .collect();
    median(&mut rates)
}

/// Reads everything; returns the number of routes.
fn decode(stream: &[u8]) -> usize {
    let context = updates::context();
    let mut buffer = Vec::new();
    let mut routes = 0;
    for portion in stream.chunks(MAX_MESSAGE_LENGTH) {
        buffer.extend_from_slice(portion);
        while let Some(message) =
            message::split(&mut buffer, MAX_MESSAGE_LENGTH).expect("it is ours")
        {
            let Message::Update(body) = message else {
                continue;
            };
            let update = update::decode(&body, &context).expect("it is ours");
            routes += update.announced.len() + update.withdrawn.len();
            black_box(update);
        }
    }
    routes
}

fn main() {
    headline(
        "cargo bench --bench decode",
        "UPDATE messages of up to 4096 octets; millions of NLRI a second on one core",
    );
    println!(
        "{:<28} {:>7} {:>9} {:>10} {:>9}   target: announce and withdraw >= {:.1}",
        "NLRI",
        "octets",
        "announce",
        "withdraw",
        "encode",
        TARGET / 1e6
    );
    // IPv6 is a twentieth of the blend.
    let (ipv6, blend): (Vec<Flow>, Vec<Flow>) = mix::blend(3 * COUNT)
        .into_iter()
        .partition(|flow| flow.nlri.family().is_ipv6());
    for (name, flows) in [
        ("hosts: /32, protocol, port", &mix::hosts(COUNT)[..]),
        ("sources: /8 to /32", &mix::sources(COUNT)),
        ("blend, IPv4", &blend[..COUNT]),
        ("blend, IPv6", &ipv6),
    ] {
        let octets: usize = flows.iter().map(|flow| flow.nlri.encoded().len()).sum();
        let announced = updates::announcements(flows).concat();
        let withdrawn = updates::withdrawals(flows).concat();
        let announce = rate(flows.len(), || decode(&announced));
        let withdraw = rate(flows.len(), || decode(&withdrawn));
        let encode = rate(flows.len(), || {
            black_box(updates::announcements(black_box(flows)));
            flows.len()
        });
        println!(
            "{name:<28} {:>7.1} {:>9.2} {:>10.2} {:>9.2}   {}",
            octets as f64 / flows.len() as f64,
            announce / 1e6,
            withdraw / 1e6,
            encode / 1e6,
            verdict(announce.min(withdraw) >= TARGET)
        );
    }
}

//! What tests with real packets share: the network, and both packet filters side by side.

pub mod available;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dataplane::backend::{Backend, Counter};
use dataplane::desired::{Changes, InterfacePattern, Link, Redirects, Settings, Unreachable};
use dataplane::nft::Nftables;
use dataplane::packet::Packet;
use dataplane::rule::{Family, OrderKey, Route, RoutingInstance, Rule, RuleId};
use dataplane::sim::Sim;
use flowacl::lab::packet::checksum;
use flowacl::lab::{Lab, Passed, UPSTREAM};

pub use available::available;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It did not come through.
    Dropped,
    /// It came through with this DSCP.
    Passed(u8),
}

/// The kernel's packet filter in a network, and the sim backend beside it, with the same rules.
pub struct Trial {
    pub lab: Lab,
    pub kernel: Nftables,
    pub sim: Sim,
    settings: Settings,
    /// The places of all rules.
    pub installed: BTreeSet<(Family, OrderKey)>,
    clock: Duration,
}

/// What both made of the same packets.
pub struct Outcome {
    pub kernel: Vec<Fate>,
    pub sim: Vec<Fate>,
    pub kernel_counters: Vec<(RuleId, Counter)>,
    pub sim_counters: Vec<(RuleId, Counter)>,
}

/// Filters what arrives from the attacker.
pub fn settings() -> Settings {
    Settings {
        interfaces: vec![InterfacePattern::new(UPSTREAM).unwrap()],
        own_table: true,
        max_sources: u32::MAX,
        redirect: Redirects {
            mark: 0x000f_0000,
            copy_mark: 0x0000_c000,
            unreachable: Unreachable::Discard,
            ..Redirects::default()
        },
        ..Settings::default()
    }
}

impl Trial {
    /// Starts both without rules.
    pub fn start(lab: Lab, settings: Settings, links: &[Link]) -> Self {
        let (wanted, present) = (settings.clone(), links.to_vec());
        let kernel = lab.router.run(move || {
            let mut kernel = Nftables::new();
            kernel.start(&wanted, &present).map(|()| kernel)
        });
        let mut sim = Sim::new();
        sim.start(&settings, links).unwrap();
        Self {
            lab,
            kernel: kernel.unwrap(),
            sim,
            settings,
            installed: BTreeSet::new(),
            clock: Duration::ZERO,
        }
    }

    /// Takes all rules away, with their counters, and puts these in their place.
    pub fn install(&mut self, rules: &[Arc<Rule>]) {
        let remove = self.installed.iter().cloned().collect();
        self.commit(&Changes {
            put: Vec::new(),
            remove,
        });
        self.commit(&Changes {
            put: rules.to_vec(),
            remove: Vec::new(),
        });
    }

    /// Carries out a commit in both.
    pub fn commit(&mut self, changes: &Changes) {
        for key in &changes.remove {
            self.installed.remove(key);
        }
        for rule in &changes.put {
            self.kernel.capability().check(rule).unwrap();
            self.installed.insert((rule.family, rule.order.clone()));
        }
        self.sim.commit(changes).unwrap();
        if let Err(error) = self.kernel.commit(changes) {
            panic!("{error}\n{}", self.describe(&changes.put));
        }
    }

    /// Sends packets through both.
    pub fn send(&mut self, packets: &[Vec<u8>]) -> Outcome {
        self.clock += Duration::from_secs(60);
        let in_kernel = self.lab.pass(packets).unwrap();
        let mut outcome = Outcome {
            kernel: Vec::new(),
            sim: Vec::new(),
            kernel_counters: Vec::new(),
            sim_counters: Vec::new(),
        };
        for (sent, passed) in packets.iter().zip(in_kernel) {
            let packet = Packet {
                interface: Some(UPSTREAM.into()),
                ..Packet::parse(sent).unwrap()
            };
            // What the filter sees of a packet without a length in its header is all there is.
            let length = packet.packet_length.unwrap_or(sent.len() as u32);
            let verdict = self.sim.forward(self.clock, &packet, length);
            // The only VRF of these tests is not there, and packets for it are discarded.
            let instance = verdict.redirect.as_deref().and_then(Route::instance);
            let nowhere = matches!(instance, Some(RoutingInstance::Vrf(_)));
            outcome.sim.push(match verdict.passed && !nowhere {
                true => Fate::Passed(verdict.dscp),
                false => Fate::Dropped,
            });
            outcome.kernel.push(match passed {
                Passed::Arrived(octets) => Fate::Passed(arrived_dscp(&octets)),
                Passed::Dropped => Fate::Dropped,
            });
        }
        outcome.kernel_counters = self.kernel.counters().unwrap();
        outcome.sim_counters = self.sim.counters().unwrap();
        outcome.kernel_counters.sort_by_key(|(id, _)| *id);
        outcome.sim_counters.sort_by_key(|(id, _)| *id);
        outcome
    }

    /// What is installed, for a message.
    pub fn describe(&self, rules: &[Arc<Rule>]) -> String {
        self.kernel.render(&self.settings, rules)
    }
}

/// The DSCP of a packet that arrived; the IPv4 header checksum must be right.
fn arrived_dscp(octets: &[u8]) -> u8 {
    if octets[0] >> 4 == 4 {
        let header = &octets[..usize::from(octets[0] & 0x0f) * 4];
        assert_eq!(checksum(header), 0, "checksum of {header:02x?}");
    }
    Packet::parse(octets).unwrap().dscp
}

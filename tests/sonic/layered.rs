//! A switch with software behind it: what the ASIC refuses, has no room for or does not confirm the software does, and both
//! together are the whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dataplane::backend::{Backend, BackendError, Capability, Counter, Culprit, Recovered};
use dataplane::desired::{Changes, Link, Settings};
use dataplane::layered::Layered;
use dataplane::packet::Packet;
use dataplane::rule::{Family, OrderKey, Rule, RuleId};
use dataplane::sim::Sim;
use dataplane::sonic::{Mode, Options, Sonic};
use flowacl::flowspec::text::Flow;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};

use crate::asic::{Asic, Fate};
use crate::flows::{random_flow, random_packet};
use crate::orchagent::Orchagent;
use crate::scene::{links, options, reference, rule};
use crate::server::Server;
use crate::waiting::eventually;

/// Software that packets can be sent through while it is behind the switch.
#[derive(Clone, Default)]
struct Software(Arc<Mutex<Sim>>);

impl Backend for Software {
    fn name(&self) -> &'static str {
        "sim"
    }
    fn capability(&self) -> Arc<dyn Capability> {
        self.0.lock().unwrap().capability()
    }
    fn recover(&mut self) -> Result<Vec<Recovered>, BackendError> {
        self.0.lock().unwrap().recover()
    }
    fn resume(
        &mut self,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
    ) -> Result<(), BackendError> {
        self.0.lock().unwrap().resume(settings, links, rules)
    }
    fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        self.0.lock().unwrap().reconfigure(settings, links)
    }
    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        self.0.lock().unwrap().commit(changes)
    }
    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
        self.0.lock().unwrap().counters()
    }
    fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
        self.0.lock().unwrap().audit()
    }
    fn render(&self, settings: &Settings, rules: &[Arc<Rule>]) -> String {
        self.0.lock().unwrap().render(settings, rules)
    }
    fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError> {
        self.0.lock().unwrap().describe()
    }
    fn warnings(&mut self) -> Vec<String> {
        self.0.lock().unwrap().warnings()
    }
    fn stop(&mut self) -> Result<(), BackendError> {
        self.0.lock().unwrap().stop()
    }
}

#[test]
fn what_the_switch_does_not_do_the_software_does() {
    let Some(server) = Server::start() else {
        return;
    };
    let asic = Asic {
        capacity: Some(80),
        ..Asic::default()
    };
    let orchagent = Orchagent::start(&server, asic, 3);
    let software = Software::default();
    let sonic = Sonic::new(Options {
        patience: Duration::from_millis(200),
        ..options(&server, Mode::ApplDb)
    });
    let mut backend = Layered::new(Box::new(sonic), Box::new(software.clone()));
    let settings = Settings::default();
    backend.start(&settings, &links()).unwrap();
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut installed: BTreeMap<(Family, OrderKey), Flow> = BTreeMap::new();
    let (mut next_id, mut outside, mut dropped) = (0, 0, 0);
    for step in 0..24 {
        // Silence, a switch that refuses what looks at a port, and one that is in order.
        let (is_silent, refuses) = match step % 4 {
            1 => (true, None),
            2 => (false, Some(("L4_DST_PORT".to_string(), "80".to_string()))),
            _ => (false, None),
        };
        orchagent.asic().refuses = refuses;
        if is_silent {
            orchagent.pause(true);
        }
        let mut wanted = installed.clone();
        let mut changes = Changes::default();
        for key in installed.keys().choose_multiple(&mut random, step % 5) {
            wanted.remove(key);
            changes.remove.push(key.clone());
        }
        for _ in 0..random.random_range(1..12) {
            next_id += 1;
            let flow = random_flow(&mut random);
            let rule = rule(&flow, next_id);
            let key = (rule.family, rule.order.clone());
            if !wanted.contains_key(&key) && !changes.remove.contains(&key) {
                changes.put.push(rule);
                wanted.insert(key, flow);
            }
        }
        backend.commit(&changes).unwrap();
        installed = wanted;
        if is_silent {
            orchagent.pause(false);
        }
        // The switch is in step again, and offered what waits for it.
        let waits = |reason: &str| reason.contains("asked again") || reason.contains("confirmed");
        eventually("all is settled", || {
            backend.audit().map_err(|error| error.to_string())?;
            let mut impaired = backend.impaired();
            impaired.retain(|(_, reason)| waits(reason));
            match impaired.is_empty() {
                true => Ok(()),
                false => Err(format!("step {step}: {impaired:?}")),
            }
        });
        outside += backend.impaired().len();
        for _ in 0..300 {
            let packet = random_packet(&mut random);
            let routes = installed.values().map(|flow| (&flow.nlri, &flow.actions));
            let expected = reference(routes, &settings, &packet);
            let fate = fate(&orchagent, &software, &packet);
            assert_eq!(fate, expected, "step {step}: {packet:?}");
            dropped += usize::from(fate == Fate::Dropped);
        }
    }
    println!("{outside} rules in software only, {dropped} packets dropped");
    assert!(outside > 0 && dropped > 0);
    backend.stop().unwrap();
    assert!(orchagent.asic().tables.is_empty());
}

/// What both do with a packet, the switch first.
fn fate(orchagent: &Orchagent, software: &Software, packet: &Packet) -> Fate {
    match orchagent.asic().fate("Ethernet0", packet) {
        Fate::Dropped => Fate::Dropped,
        Fate::Forwarded => {
            let mut software = software.0.lock().unwrap();
            match software.forward(Duration::ZERO, packet, 100).passed {
                true => Fate::Forwarded,
                false => Fate::Dropped,
            }
        }
    }
}

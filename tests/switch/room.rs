//! A table that is full: the newest rules wait, and nothing else does.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use dataplane::backend::Backend;
use dataplane::cumulus::Cumulus;
use dataplane::desired::Settings;
use flowacl::engine::policy::{ImportPolicy, LocalSpeaker};
use flowacl::engine::status::RouteState;
use flowacl::engine::{Engine, Event};
use flowacl::flowspec::text::parse_flows;
use flowacl::session::NegotiatedRestart;
use flowacl::wire::attribute::Attributes;
use flowacl::wire::community::ExtendedCommunity;
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::nlri::Nlri;
use flowacl::wire::update::Update;

use crate::scene::{Switch, has_python};

const NEIGHBOR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// An engine with a neighbor, and the switch that it programs.
struct Daemon {
    engine: Engine,
    backend: Cumulus,
    now: Instant,
}

impl Daemon {
    fn start(switch: &Switch) -> Self {
        let mut backend = switch.backend();
        backend.start(&Settings::default(), &[]).unwrap();
        let local = LocalSpeaker {
            asn: 65140,
            router_id: Ipv4Addr::new(192, 0, 2, 2),
        };
        let mut engine = Engine::new(local, backend.capability());
        let now = Instant::now();
        engine.step(
            now,
            Event::PeerUp {
                peer: NEIGHBOR,
                router_id: Ipv4Addr::new(192, 0, 2, 1),
                ibgp: true,
                families: vec![FlowFamily::Ipv4Flow],
                policy: ImportPolicy::default(),
                restart: NegotiatedRestart::default(),
            },
        );
        Self {
            engine,
            backend,
            now,
        }
    }

    /// An UPDATE, and all commits that follow from it.
    fn update(&mut self, announced: &[Nlri], withdrawn: &[Nlri]) {
        let discard = ExtendedCommunity([0x80, 6, 0, 0, 0, 0, 0, 0]);
        let update = Update {
            announced: announced.iter().cloned().map(Into::into).collect(),
            withdrawn: withdrawn.iter().cloned().map(Into::into).collect(),
            attributes: Attributes {
                extended_communities: vec![discard],
                ..Attributes::default()
            },
            ..Update::default()
        };
        let peer = NEIGHBOR;
        self.engine.step(self.now, Event::Update { peer, update });
        while let Some(changes) = self.engine.poll_commit(self.now) {
            let result = self.backend.commit(&changes);
            self.engine.step(self.now, Event::Committed(result));
        }
    }

    /// The ports of the rules in some state.
    fn ports(&self, state: RouteState) -> Vec<u16> {
        let rules = self.engine.rules(self.now);
        let flows = rules.iter().filter(|rule| rule.state == state);
        let port = |flow: &str| flow.split("port =").nth(1)?.split(';').next()?.parse().ok();
        flows.map(|rule| port(&rule.flow).unwrap()).collect()
    }
}

/// TCP to a port.
fn port(port: u16) -> Nlri {
    let text = format!("flow route {{ match {{ protocol tcp; destination-port ={port}; }} }}");
    parse_flows(&text).unwrap().remove(0).nlri
}

#[test]
fn rules_beyond_the_room_wait_without_a_run_of_the_tool() {
    if !has_python() {
        return;
    }
    let mut switch = Switch::new("spectrum1", false);
    switch.options.max_ipv4_entries = Some(3);
    let mut daemon = Daemon::start(&switch);
    daemon.update(&[port(5), port(4), port(3)], &[]);
    let installations = switch.installations();
    daemon.update(&[port(1), port(2)], &[]);
    assert_eq!(switch.installations(), installations);
    assert_eq!(daemon.ports(RouteState::Installed), [3, 4, 5]);
    assert_eq!(daemon.ports(RouteState::Pending), [1, 2]);
    daemon.update(&[], &[port(4)]);
    assert_eq!(daemon.ports(RouteState::Installed), [1, 3, 5]);
    assert_eq!(daemon.ports(RouteState::Pending), [2]);
}

#[test]
fn a_switch_that_is_full_before_its_profile_says_so_is_believed() {
    if !has_python() {
        return;
    }
    let switch = Switch::new("spectrum1", false);
    switch.shrink(10, 0);
    let mut daemon = Daemon::start(&switch);
    let ports: Vec<Nlri> = (1..=40).map(port).collect();
    daemon.update(&ports, &[]);
    let installed = daemon.ports(RouteState::Installed);
    assert_eq!(installed.len(), 10, "{installed:?}");
    assert_eq!(daemon.ports(RouteState::Pending).len(), 30);
    let installations = switch.installations();
    assert!(installations < 40, "{installations} installations");
    daemon.update(&[], &[port(installed[0])]);
    assert_eq!(daemon.ports(RouteState::Installed).len(), 10);
    assert_eq!(switch.hardware().len(), 10);
}

#[test]
fn a_rule_that_is_refused_without_a_name_is_found() {
    if !has_python() {
        return;
    }
    let switch = Switch::new("spectrum1", false);
    let mut daemon = Daemon::start(&switch);
    switch.set_fault("fail -t mangle -A PREROUTING -i swp+ -p tcp --dport 7 -j DROP");
    let ports: Vec<Nlri> = (1..=32).map(port).collect();
    daemon.update(&ports, &[]);
    let others: Vec<u16> = (1..=32).filter(|port| *port != 7).collect();
    assert_eq!(daemon.ports(RouteState::Installed), others);
    assert_eq!(daemon.ports(RouteState::Unsupported), [7]);
    let rules = daemon.engine.rules(daemon.now);
    let reasons: Vec<&String> = rules
        .iter()
        .filter_map(|rule| rule.reason.as_ref())
        .collect();
    assert!(
        matches!(&reasons[..], [reason] if reason.contains("sync_acl hardware installation failed")),
        "{reasons:?}"
    );
    assert_eq!(switch.hardware().len(), 31);
    // Each half that is refused costs a run for itself and one for what was there before.
    let installations = switch.installations();
    assert!(installations < 32, "{installations} installations");
}

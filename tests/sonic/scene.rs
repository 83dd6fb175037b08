//! A switch, and the backend that programs it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dataplane::backend::{Backend, BackendError};
use dataplane::desired::{Changes, Link, Settings, local_addresses};
use dataplane::guard::Guard;
use dataplane::packet::Packet;
use dataplane::rule::{
    AddressPattern, Background, Family, Label, OrderKey, Rule, RuleId, left_aligned,
};
use dataplane::sonic::{Mode, Options, Sonic};
use flowacl::engine::bindings::Bindings;
use flowacl::engine::lower::lower;
use flowacl::flowspec::action::TrafficFilteringActions;
use flowacl::flowspec::matches::evaluate;
use flowacl::flowspec::text::Flow;
use flowacl::wire::nlri::Nlri;

use crate::asic::{Asic, Fate};
use crate::flows::flow;
use crate::orchagent::Orchagent;
use crate::server::Server;

/// The background of a rule: its id is its memo.
struct Told(String, RuleId);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Background for Told {
    fn memo(&self) -> Vec<u8> {
        self.1.0.to_be_bytes().to_vec()
    }
}

/// The rule that a flow becomes.
pub fn rule(flow: &Flow, id: u64) -> Arc<Rule> {
    let actions = flow.actions.clone().into();
    let lowered = lower(&flow.nlri, &actions, RuleId(id), &Bindings::default()).unwrap();
    let mut rule = lowered.rule;
    rule.label = Label::new(Told(rule.label.to_string(), RuleId(id)));
    Arc::new(rule)
}

/// Settings with a session that is protected.
pub fn settings() -> Settings {
    let (family, remote) = left_aligned(IpAddr::from([192, 0, 2, 1]));
    let remote = AddressPattern::new(remote, 0, 32);
    Settings {
        guards: vec![Guard::session(
            family,
            remote,
            179,
            "BGP session with 192.0.2.1",
        )],
        ..Settings::default()
    }
}

/// The interfaces of the switch, with its addresses.
pub fn links() -> Vec<Link> {
    let addresses = ["198.51.100.7", "2001:db8::6"];
    vec![Link {
        index: 1,
        name: "Loopback0".into(),
        addresses: addresses
            .iter()
            .map(|address| left_aligned(address.parse().unwrap()))
            .collect(),
        ..Link::default()
    }]
}

/// What a test chooses.
pub fn options(server: &Server, mode: Mode) -> Options {
    Options {
        mode,
        database_config: server.database_config(),
        memo_file: server.directory().join("state/sonic-rules"),
        patience: Duration::from_secs(3),
        ..Options::default()
    }
}

/// A switch, a backend that has started, and what should be in force.
pub struct Scene {
    pub backend: Sonic,
    pub options: Options,
    pub orchagent: Option<Orchagent>,
    pub server: Server,
    pub settings: Settings,
    /// In order of precedence.
    pub installed: BTreeMap<(Family, OrderKey), (Flow, Arc<Rule>)>,
}

impl Scene {
    /// Starts all of it. `None`, and said why, where there is no server.
    pub fn start(mode: Mode, asic: Asic) -> Option<Self> {
        Self::start_with(mode, asic, |options| options)
    }

    /// The same with other options.
    pub fn start_with(
        mode: Mode,
        asic: Asic,
        change: impl FnOnce(Options) -> Options,
    ) -> Option<Self> {
        let server = Server::start()?;
        let orchagent = Orchagent::start(&server, asic, 1);
        let options = change(options(&server, mode));
        let mut backend = Sonic::new(options.clone());
        assert!(backend.recover().unwrap().is_empty());
        backend.start(&settings(), &links()).unwrap();
        Some(Self {
            backend,
            options,
            orchagent: Some(orchagent),
            server,
            settings: settings(),
            installed: BTreeMap::new(),
        })
    }

    /// The stand-in.
    pub fn orchagent(&self) -> &Orchagent {
        self.orchagent.as_ref().expect("it was not stopped")
    }

    /// Installs flows, by id, that must be accepted.
    pub fn announce(&mut self, flows: &[(u64, &str)]) {
        self.try_announce(flows).unwrap();
    }

    /// Installs flows, by id; those that are not installed are not remembered.
    pub fn try_announce(&mut self, flows: &[(u64, &str)]) -> Result<(), BackendError> {
        let flows: Vec<(Flow, Arc<Rule>)> = flows
            .iter()
            .map(|(id, text)| {
                let flow = flow(text);
                let rule = rule(&flow, *id);
                (flow, rule)
            })
            .collect();
        let put: Vec<Arc<Rule>> = flows.iter().map(|(_, rule)| rule.clone()).collect();
        self.backend.commit(&Changes {
            put,
            remove: Vec::new(),
        })?;
        for (flow, rule) in flows {
            let key = (rule.family, rule.order.clone());
            self.installed.insert(key, (flow, rule));
        }
        Ok(())
    }

    /// Takes flows away by id.
    pub fn withdraw(&mut self, ids: &[u64]) {
        let is_meant = |rule: &Rule| ids.contains(&rule.id.0);
        let keys: Vec<(Family, OrderKey)> = self
            .installed
            .iter()
            .filter(|(_, (_, rule))| is_meant(rule))
            .map(|(key, _)| key.clone())
            .collect();
        self.backend
            .commit(&Changes {
                put: Vec::new(),
                remove: keys.clone(),
            })
            .unwrap();
        keys.iter().for_each(|key| drop(self.installed.remove(key)));
    }

    /// The rules that should be in force.
    pub fn rules(&self) -> Vec<Arc<Rule>> {
        self.installed
            .values()
            .map(|(_, rule)| rule.clone())
            .collect()
    }

    /// What the RFC says of a packet.
    pub fn reference(&self, packet: &Packet) -> Fate {
        let routes = self
            .installed
            .values()
            .map(|(flow, _)| (&flow.nlri, &flow.actions));
        reference(routes, &self.settings, packet)
    }

    /// Fails when the hardware does something else than it should with a packet.
    pub fn check(&self, packet: &Packet) {
        let fate = self.orchagent().asic().fate("Ethernet0", packet);
        assert_eq!(fate, self.reference(packet), "{packet:?}");
    }

    /// The fate of a packet in the hardware.
    pub fn fate(&self, packet: &str) -> Fate {
        let packet = Packet::from_text(packet).unwrap();
        self.orchagent().asic().fate("Ethernet0", &packet)
    }

    /// The number of entries in a table of the hardware.
    pub fn entries(&self, table: &str) -> usize {
        let asic = self.orchagent().asic();
        asic.tables
            .get(table)
            .map_or(0, |table| table.entries.len())
    }

    /// Another process takes over, as after a crash; returns what it found.
    pub fn restart(&mut self) -> Vec<RuleId> {
        self.backend = Sonic::new(self.options.clone());
        let recovered = self.backend.recover().unwrap();
        for recovered in &recovered {
            assert_eq!(recovered.memo, recovered.id.0.to_be_bytes());
        }
        let ids: Vec<RuleId> = recovered.iter().map(|recovered| recovered.id).collect();
        let rules: Vec<Arc<Rule>> = self
            .rules()
            .into_iter()
            .filter(|rule| ids.contains(&rule.id))
            .collect();
        self.backend
            .resume(&self.settings, &links(), &rules)
            .unwrap();
        ids
    }

    /// swss starts anew: the hardware, APPL_DB, COUNTERS_DB and its statuses are empty then.
    pub fn restart_swss(&mut self) {
        let asic = self.stop_swss();
        self.orchagent = Some(Orchagent::start(&self.server, asic, 2));
    }

    /// swss ends, and what it does at its next start is done: databases and hardware are empty but for CONFIG_DB.
    pub fn stop_swss(&mut self) -> Asic {
        let orchagent = self.orchagent.take().expect("it runs");
        let asic = Asic {
            tables: BTreeMap::new(),
            ..orchagent.asic().clone()
        };
        orchagent.stop();
        for database in [crate::server::APPL_DB, crate::server::COUNTERS_DB] {
            redis::cmd("FLUSHDB")
                .exec(&mut self.server.connect(database))
                .unwrap();
        }
        let mut state = self.server.connect(crate::server::STATE_DB);
        let stale: Vec<String> = redis::cmd("KEYS").arg("ACL_*").query(&mut state).unwrap();
        redis::cmd("DEL").arg(stale).exec(&mut state).unwrap();
        asic
    }
}

/// What the RFC and the guards say of a packet, given routes in order of precedence.
pub fn reference<'a>(
    routes: impl Iterator<Item = (&'a Nlri, &'a TrafficFilteringActions)>,
    settings: &Settings,
    packet: &Packet,
) -> Fate {
    let links = links();
    let is_local = |family, address| local_addresses(&links).any(|own| own == (family, address));
    // Later fragments of a protected connection cannot be told from others.
    let protects = |guard: &Guard| guard.protects(packet, is_local) && !packet.fragment.is_later();
    let is_guarded = settings.all_guards().iter().any(protects);
    match !is_guarded && evaluate(routes, packet, |_| false).dropped {
        true => Fate::Dropped,
        false => Fate::Forwarded,
    }
}

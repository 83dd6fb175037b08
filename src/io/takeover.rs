//! The moment in which a daemon takes the packet filter over from the one before it.

use std::net::IpAddr;
use std::time::Instant;

use dataplane::backend::{Backend, BackendError};
use dataplane::desired::{Link, Settings};

use super::orders::Standing;
use super::settings::{bindings, settings};
use super::{DaemonError, backends};
use crate::config::{Config, Neighbor};
use crate::engine::policy::{ImportPolicy, LocalSpeaker};
use crate::engine::retention::Recovery;
use crate::engine::{Engine, Event};
use crate::wire::iana::FlowFamily;

/// Rules that are removed whose reasons are logged one by one.
const LEFT_OUT_LINES: usize = 20;

/// Starts the packet filter with what an earlier process left and the configuration still wants, and the engine that
/// waits for its neighbors to resend it. When old rules stand in the way both start without any.
pub(super) fn take_over(
    backend: &mut dyn Backend,
    config: &Config,
    settings: &Settings,
    links: &[Link],
    standing: &Standing,
) -> Result<Engine, BackendError> {
    let local = LocalSpeaker {
        asn: config.bgp.local_as,
        router_id: config.bgp.router_id,
    };
    let start = Instant::now();
    let capability = backend.capability();
    let new_engine = || {
        let mut engine = Engine::new(local, capability.clone());
        let limits = Event::PoliciesChanged {
            policies: Vec::new(),
            total: config.total,
        };
        engine.step(start, limits);
        engine.step(start, Event::BindingsChanged(bindings(config)));
        engine.step(start, Event::Suspended(standing.suspended));
        for nlri in standing.disabled.iter().cloned() {
            let enabled = false;
            engine.step(start, Event::Ordered { nlri, enabled });
        }
        engine
    };
    let mut engine = new_engine();
    let recovery = recover(backend, config, &mut engine);
    if recovery.rules.is_empty() {
        backend.start(settings, links)?;
        return Ok(engine);
    }
    match backend.resume(settings, links, &recovery.rules) {
        Ok(()) => {
            tracing::info!(
                rules = recovery.rules.len(),
                at_most_secs = config.dataplane.restart.as_secs(),
                milliseconds = start.elapsed().as_millis(),
                "kept the rules of an earlier process until the neighbors have resent them"
            );
            Ok(engine)
        }
        Err(error) => {
            let rules = recovery.rules.len();
            tracing::error!(
                rules,
                "cannot keep the rules of an earlier process: {error}"
            );
            backend.start(settings, links)?;
            Ok(new_engine())
        }
    }
}

/// Removes what a daemon that has gone left in the packet filter and in routing.
pub fn clear(config: &Config) -> Result<(), DaemonError> {
    let mut backend = backends::create(&config.dataplane, &config.control.state_directory);
    let settings = settings(config, false);
    let outcome = backend.start(&settings, &[]).and_then(|()| backend.stop());
    outcome.map_err(|cause| DaemonError::Backend {
        backend: backend.name(),
        cause,
    })
}

/// Hands the engine what an earlier process left, unless nothing is to be kept.
fn recover(backend: &mut dyn Backend, config: &Config, engine: &mut Engine) -> Recovery {
    let restart = config.dataplane.restart;
    if restart.is_zero() {
        return Recovery::default();
    }
    let recovered = backend.recover().unwrap_or_else(|error| {
        tracing::error!("cannot read the rules of an earlier process: {error}");
        Vec::new()
    });
    let now = Instant::now();
    tracing::debug!(rules = recovered.len(), "read what an earlier process left");
    let policy = |address, family| policy(config, address, family);
    let recovery = engine.recover(now, now + restart, &recovered, policy);
    tracing::debug!(rules = recovery.rules.len(), "compiled it anew");
    let left_out = recovery.left_out.len();
    if left_out > 0 {
        tracing::warn!(left_out, "some rules of an earlier process are not kept");
    }
    for (id, reason) in recovery.left_out.iter().take(LEFT_OUT_LINES) {
        tracing::warn!(rule = %id, "not kept: {reason}");
    }
    recovery
}

/// What is taken of a neighbor in a family; `None`: nothing.
fn policy(config: &Config, address: IpAddr, family: FlowFamily) -> Option<ImportPolicy> {
    let has_family = |neighbor: &&Neighbor| neighbor.families.contains(&family);
    let neighbor = config.neighbor_for(address).filter(has_family)?;
    Some(neighbor.import.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::NegotiatedRestart;
    use dataplane::sim::Sim;
    use std::sync::Arc;

    use dataplane::backend::{Capability, Counter, Culprit, Recovered};
    use dataplane::desired::Changes;
    use dataplane::rule::{Rule, RuleId};

    use crate::wire::attribute::Attributes;
    use crate::wire::nlri::Nlri;
    use crate::wire::update::Update;

    /// A `sim` that fails where a test wants it to.
    #[derive(Default)]
    struct Failing {
        sim: Sim,
        recover: bool,
        resume: bool,
    }

    impl Failing {
        fn fail<T>() -> Result<T, BackendError> {
            Err(BackendError::Unavailable("out of order".into()))
        }
    }

    impl Backend for Failing {
        fn name(&self) -> &'static str {
            "failing"
        }
        fn capability(&self) -> Arc<dyn Capability> {
            self.sim.capability()
        }
        fn recover(&mut self) -> Result<Vec<Recovered>, BackendError> {
            if self.recover {
                return Self::fail();
            }
            self.sim.recover()
        }
        fn resume(
            &mut self,
            settings: &Settings,
            links: &[Link],
            rules: &[Arc<Rule>],
        ) -> Result<(), BackendError> {
            if self.resume && !rules.is_empty() {
                return Self::fail();
            }
            self.sim.resume(settings, links, rules)
        }
        fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
            self.sim.reconfigure(settings, links)
        }
        fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
            self.sim.commit(changes)
        }
        fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
            self.sim.counters()
        }
        fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
            self.sim.audit()
        }
        fn render(&self, settings: &Settings, rules: &[Arc<Rule>]) -> String {
            self.sim.render(settings, rules)
        }
        fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError> {
            self.sim.describe()
        }
        fn warnings(&mut self) -> Vec<String> {
            self.sim.warnings()
        }
        fn stop(&mut self) -> Result<(), BackendError> {
            self.sim.stop()
        }
    }

    /// A configuration with neighbor 192.0.2.1 and more lines.
    fn configuration(more: &str) -> Config {
        Config::parse(&format!(
            "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\n\
             [[neighbor]]\naddress = \"192.0.2.0/28\"\nremote_as = 65070\n\
             families = [\"ipv4-flow\"]\n{more}"
        ))
        .unwrap()
    }

    /// A packet filter that an earlier process left with one rule of 192.0.2.1 in each family.
    fn left_behind() -> Failing {
        let mut sim = Sim::new();
        sim.start(&Settings::default(), &[]).unwrap();
        let local = LocalSpeaker {
            asn: 65140,
            router_id: [192, 0, 2, 2].into(),
        };
        let mut engine = Engine::new(local, sim.capability());
        let (now, peer) = (Instant::now(), IpAddr::from([192, 0, 2, 1]));
        let families = vec![FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow];
        let protocol = |family: &FlowFamily| Nlri::decode(*family, &[3, 0x81, 17]).unwrap().into();
        let announced = families.iter().map(protocol).collect();
        engine.step(
            now,
            Event::PeerUp {
                peer,
                router_id: [192, 0, 2, 1].into(),
                ibgp: false,
                families: families.clone(),
                policy: ImportPolicy::default(),
                restart: NegotiatedRestart::default(),
            },
        );
        let update = Update {
            announced,
            attributes: Attributes::default(),
            ..Update::default()
        };
        engine.step(now, Event::Update { peer, update });
        sim.commit(&engine.poll_commit(now).unwrap()).unwrap();
        Failing {
            sim,
            ..Failing::default()
        }
    }

    #[test]
    fn what_is_kept_and_what_is_not() {
        let rows = [
            ("as configured", "", false, false, 1),
            (
                "nothing is to be kept",
                "[dataplane]\nrestart_secs = 0\n",
                false,
                false,
                0,
            ),
            ("old rules cannot be read", "", true, false, 0),
            ("old rules are refused", "", false, true, 0),
            (
                "not taken any more",
                "[neighbor.import]\ndestinations = [\"203.0.113.0/24\"]\n",
                false,
                false,
                0,
            ),
        ];
        for (name, lines, recover, resume, kept) in rows {
            let mut backend = Failing {
                recover,
                resume,
                ..left_behind()
            };
            let config = configuration(lines);
            let standing = Standing::default();
            let engine =
                take_over(&mut backend, &config, &Settings::default(), &[], &standing).unwrap();
            assert_eq!(backend.counters().unwrap().len(), kept, "{name}");
            assert_eq!(engine.counts().stale, kept, "{name}");
            assert!(engine.is_settled(), "{name}");
        }
    }
}

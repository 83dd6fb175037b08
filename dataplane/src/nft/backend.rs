//! [`Nftables`]: the packet filter of the kernel as a [`Backend`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::NftablesCapability;
use super::copier::Copier;
use super::frame::delete_messages;
use super::object::PRIORITY;
use super::readback;
use super::sources::without_room;
use super::table::Table;
use super::transport::Transport;
use crate::backend::{Backend, BackendError, Capability, Counter, Culprit, Recovered};
use crate::desired::{Changes, Link, Settings};
use crate::routing::{MarksInUse, Steering, reverse_path};
use crate::rule::{LimitUnit, Rule, RuleId};

/// The packet filter of the Linux kernel.
///
/// Works in the network namespace of the thread that calls [`Backend::recover`] or
/// [`Backend::resume`].
#[derive(Default)]
pub struct Nftables {
    running: Option<Table>,
    /// Sends packets elsewhere that the table marks; there while it runs.
    steering: Option<Steering>,
    /// Copies packets that the table marks; there while it runs.
    copier: Option<Copier>,
}

/// Why packets of an interface cannot be redirected or copied.
const BRIDGED: &str = "is a port of a bridge, and bridged packets are not routed; leave it out of dataplane.interfaces";

impl Nftables {
    /// A backend that owns nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn running(&mut self) -> Result<&mut Table, BackendError> {
        self.running
            .as_mut()
            .ok_or_else(|| BackendError::Unavailable("not started".into()))
    }

    fn steering(&mut self) -> Result<&mut Steering, BackendError> {
        self.steering
            .as_mut()
            .ok_or_else(|| BackendError::Unavailable("not started".into()))
    }

    /// Carries out changes when all that they send packets to has been made ready.
    fn commit_prepared(&mut self, changes: &Changes) -> Result<(), BackendError> {
        let (Some(running), Some(steering), Some(copier)) =
            (&mut self.running, &mut self.steering, &mut self.copier)
        else {
            return Err(BackendError::Unavailable("not started".into()));
        };
        steering.prepare(&changes.put)?;
        copier.prepare(&changes.put, running)?;
        running.marks = MarksInUse {
            routes: steering.marks().clone(),
            copies: copier.marks().clone(),
        };
        running.commit(changes)
    }
}

impl Table {
    /// A warning when installed rules depend on the size or number of packets and interfaces merge them.
    pub(super) fn merged_packets(&self) -> Option<String> {
        let depends = |rule: &&Arc<Rule>| {
            let each = rule.action.source_limits().iter();
            let each = each.map(|of_source| &of_source.limit);
            let mut limits = rule.action.limits.iter().chain(each);
            rule.matches.rare.packet_length.is_some()
                || limits.any(|limit| limit.unit == LimitUnit::Packets)
        };
        let rules = self.layout.rules().filter(depends).count();
        let covered = [&self.coverage.prerouting, &self.coverage.ingress];
        let merging: Vec<&str> = self
            .links
            .iter()
            .filter(|link| {
                link.merges_packets && covered.iter().any(|names| names.contains(&link.name))
            })
            .map(|link| link.name.as_str())
            .collect();
        (rules > 0 && !merging.is_empty()).then(|| {
            format!(
                "GRO or LRO is on for {}: packet-length and packet rates see merged packets there \
                 (rules concerned: {rules}); ethtool -K INTERFACE gro off lro off",
                merging.join(", ")
            )
        })
    }
}

impl Backend for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn capability(&self) -> Arc<dyn Capability> {
        Arc::new(NftablesCapability)
    }

    fn recover(&mut self) -> Result<Vec<Recovered>, BackendError> {
        readback::recovered(&mut Transport::open()?)
    }

    fn resume(
        &mut self,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
    ) -> Result<(), BackendError> {
        let mut transport = Transport::open()?;
        let mut steering = Steering::open(&settings.redirect)?;
        steering.prepare(rules)?;
        let mut copier = Copier::open(settings, &mut transport)?;
        copier.prepare(rules, &mut transport)?;
        let marks = MarksInUse {
            routes: steering.marks().clone(),
            copies: copier.marks().clone(),
        };
        let mut table = Table::take_over(transport, settings, links, rules, marks)?;
        let everything = Changes {
            put: rules.to_vec(),
            remove: Vec::new(),
        };
        steering.committed(&everything);
        copier.committed(&everything, &mut table);
        (self.running, self.steering) = (Some(table), Some(steering));
        self.copier = Some(copier);
        Ok(())
    }

    fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        self.running()?.reconfigure(settings, links)?;
        let steering = self.steering()?;
        steering.set_unreachable(settings.redirect.unreachable)?;
        steering.audit()
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        let bridged = self.running()?.coverage.ingress.first().cloned();
        let sends =
            |rule: &&Arc<Rule>| rule.action.route().is_some() || rule.action.copy_to().is_some();
        if let (Some(port), Some(rule)) = (bridged, changes.put.iter().find(sends)) {
            let verb = match rule.action.route() {
                Some(_) => "redirect",
                None => "copy",
            };
            return Err(BackendError::Refused {
                rule: Some(rule.id),
                reason: format!("{verb}: {port} {BRIDGED}"),
            });
        }
        let running = self.running()?;
        let max_sources = running.settings.max_sources;
        let refused = without_room(running.layout.sources(), changes, max_sources);
        if !refused.is_empty() {
            return Err(BackendError::NoRoom(refused));
        }
        let outcome = self.commit_prepared(changes);
        if let (Some(running), Some(steering), Some(copier)) =
            (&mut self.running, &mut self.steering, &mut self.copier)
        {
            match outcome {
                Ok(()) => {
                    steering.committed(changes);
                    copier.committed(changes, running);
                }
                Err(_) => {
                    steering.refused();
                    copier.refused(running);
                }
            }
        }
        outcome
    }

    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
        let table = self.running()?;
        let mut rules: Vec<RuleId> = table.layout.rules().map(|rule| rule.id).collect();
        rules.sort();
        let counters = readback::counters(&mut table.transport, &rules)?;
        if counters.len() < rules.len() {
            // Rules do not lose their counters: somebody flushed or edited the table.
            table.repair()?;
        }
        Ok(counters)
    }

    fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
        let culprit = self.running()?.audit()?;
        self.steering()?.audit()?;
        if let (Some(running), Some(steering), Some(copier)) =
            (&mut self.running, &mut self.steering, &mut self.copier)
        {
            copier.audit(running, steering)?;
        }
        Ok(culprit)
    }

    fn impaired(&mut self) -> Vec<(RuleId, String)> {
        let (Some(steering), Some(copier)) = (&self.steering, &self.copier) else {
            return Vec::new();
        };
        let mut impaired = steering.impaired();
        impaired.extend(copier.impaired());
        let running = self.running.as_ref();
        if let Some(port) = running.and_then(|running| running.coverage.ingress.first()) {
            let reason = format!("not redirected everywhere: {port} {BRIDGED}");
            impaired.extend(steering.rules().map(|rule| (rule, reason.clone())));
            let reason = format!("not copied everywhere: {port} {BRIDGED}");
            impaired.extend(copier.rules().map(|rule| (rule, reason.clone())));
        }
        impaired
    }

    fn render(&self, settings: &Settings, rules: &[Arc<Rule>]) -> String {
        let links = self
            .running
            .as_ref()
            .map_or(&[][..], |running| &running.links);
        super::render(settings, links, rules)
    }

    fn without_room(&self, settings: &Settings, rules: &[Arc<Rule>]) -> Vec<(RuleId, String)> {
        let all = Changes {
            put: rules.to_vec(),
            remove: Vec::new(),
        };
        without_room(&BTreeMap::new(), &all, settings.max_sources)
    }

    fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError> {
        let running = self.running()?;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let list = |names: &[String]| match names {
            [] => "none".to_string(),
            names => names.join(", "),
        };
        let of_rules = running.layout.sources().values();
        let sources = format!(
            "up to {} of {}",
            of_rules.map(|(_, sources)| sources).sum::<u64>(),
            running.settings.max_sources
        );
        let facts = [
            ("table", "inet flowacl".to_string()),
            ("open to changes by others", yes_or_no(!running.is_owned())),
            ("kernel", kernel.trim().to_string()),
            ("priority", PRIORITY.to_string()),
            ("rules", running.layout.len().to_string()),
            (
                "rules found by hash",
                (running.layout.len() - running.layout.listed_len()).to_string(),
            ),
            (
                "rules in ordered lists",
                running.layout.listed_len().to_string(),
            ),
            ("maps of rules", running.layout.unit_count().to_string()),
            ("sources limited by themselves", sources),
            ("interfaces", list(&running.coverage.prerouting)),
            ("bridge ports at ingress", list(&running.coverage.ingress)),
            (
                "restored after foreign changes",
                running.repaired.to_string(),
            ),
        ];
        Ok(facts
            .map(|(label, value)| (label.to_string(), value))
            .into())
    }

    fn warnings(&mut self) -> Vec<String> {
        let Some(running) = &mut self.running else {
            return Vec::new();
        };
        let mut warnings = running.coverage.warnings.clone();
        warnings.extend(running.merged_packets());
        if self
            .steering
            .as_ref()
            .is_some_and(|steering| steering.rules().next().is_some())
        {
            warnings.extend(reverse_path::warning(&running.coverage.prerouting));
        }
        match readback::flowtables(&mut running.transport) {
            Ok(flowtables) => warnings.extend(flowtables.iter().map(|name| {
                format!(
                    "flowtable {name}: connections that it has taken over pass without being \
                     filtered; keep filtered interfaces out of it"
                )
            })),
            Err(error) => warnings.push(format!("flowtables could not be read: {error}")),
        }
        warnings
    }

    fn stop(&mut self) -> Result<(), BackendError> {
        let mut running = match self.running.take() {
            Some(running) => running,
            None => return Ok(()),
        };
        running
            .transport
            .transact(&delete_messages(), None)
            .map(drop)
            .map_err(BackendError::from)?;
        if let Some(copier) = self.copier.take() {
            copier.stop(&mut running)?;
        }
        self.steering.take().map_or(Ok(()), Steering::stop)
    }
}

/// An answer for operators.
fn yes_or_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.into()
}

//! [`Nftables`]: the state of the table, and how commits are carried out and recovered from.

use std::sync::Arc;

use super::NftablesCapability;
use super::coverage::Coverage;
use super::frame::{FrameChain, create_messages, delete_messages, frame, replace_messages};
use super::layout::{Layout, Plan, Rewrite};
use super::message::Message;
use super::object::PRIORITY;
use super::readback;
use super::statement::ScratchMark;
use super::transport::{Failure, Transport};
use crate::backend::{Backend, BackendError, Capability, Counter, Recovered};
use crate::desired::{Changes, Link, Settings};
use crate::rule::{LimitUnit, Rule, RuleId};

/// Anonymous sets of the frame are numbered from here, those of rules from 1.
const FRAME_SETS: u32 = 1 << 31;

/// The packet filter of the Linux kernel.
///
/// Works in the network namespace of the thread that calls [`Backend::start`].
#[derive(Default)]
pub struct Nftables {
    running: Option<Running>,
}

/// What there is between start and stop.
struct Running {
    transport: Transport,
    settings: Settings,
    links: Vec<Link>,
    coverage: Coverage,
    frame: Vec<FrameChain>,
    layout: Layout,
    /// Times that the table was found changed by others and made anew.
    replaced: u64,
    /// The generation of the ruleset at the last audit that found nothing amiss.
    audited: Option<u32>,
}

impl Nftables {
    /// A backend that owns nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn running(&mut self) -> Result<&mut Running, BackendError> {
        self.running
            .as_mut()
            .ok_or_else(|| BackendError::Unavailable("not started".into()))
    }
}

/// The scratch bits of the settings.
fn scratch(settings: &Settings) -> Result<ScratchMark, BackendError> {
    ScratchMark::new(settings.scratch_mark).ok_or_else(|| BackendError::Refused {
        rule: None,
        reason: format!(
            "scratch_mark {:#010x} has no seven contiguous bits",
            settings.scratch_mark
        ),
    })
}

impl Running {
    /// Makes the table anew with all rules of a layout, as one transaction or, where that does not
    /// fit, the rules after the empty table.
    fn create(&mut self) -> Result<(), Failure> {
        let rules = self.layout.rules().cloned().collect();
        let changes = Changes {
            put: rules,
            remove: Vec::new(),
        };
        let empty = Layout::empty(self.settings.sample, self.layout.scratch());
        let (layout, plan) = empty
            .plan(&changes, Rewrite::InPlace)
            .expect("ids are unique in a layout");
        let mut last_set = FRAME_SETS;
        let table = create_messages(&self.frame, &mut last_set);
        let together: Vec<Message> = table
            .iter()
            .cloned()
            .chain(plan.into_transaction())
            .collect();
        match self.transport.transact(&together, None) {
            Ok(_) => self.layout = layout,
            Err(Failure::TooLarge { .. }) => {
                self.transport.transact(&table, None)?;
                self.layout = empty.clone();
                let (layout, plan) = empty
                    .plan(&changes, Rewrite::Beside)
                    .expect("ids are unique in a layout");
                self.carry_out_in_parts(plan)?;
                self.layout = layout;
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// A warning when installed rules depend on the size or number of packets and interfaces merge them.
    fn merged_packets(&self) -> Option<String> {
        let depends = |rule: &&Arc<Rule>| {
            let limits = &rule.action.limits;
            rule.matches.packet_length.is_some()
                || limits.iter().any(|limit| limit.unit == LimitUnit::Packets)
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

    /// Goes to the layout that `plan` computes.
    fn go_to(
        &mut self,
        plan: impl Fn(&Layout, Rewrite) -> Result<(Layout, Plan), RuleId>,
    ) -> Result<(), BackendError> {
        let duplicate = |rule: RuleId| BackendError::Refused {
            rule: Some(rule),
            reason: format!("there are two rules called {rule}"),
        };
        let (layout, changes) = plan(&self.layout, Rewrite::InPlace).map_err(duplicate)?;
        if changes.is_empty() {
            self.layout = layout;
            return Ok(());
        }
        let generation = self.transport.generation()?;
        let mut next = layout;
        let mut outcome = self
            .transport
            .transact(&changes.into_transaction(), None)
            .map(drop);
        if let Err(Failure::TooLarge { .. }) = outcome {
            let (layout, changes) = plan(&self.layout, Rewrite::Beside).map_err(duplicate)?;
            next = layout;
            outcome = self.carry_out_in_parts(changes);
        }
        let failure = match outcome {
            Ok(()) => {
                self.layout = next;
                return Ok(());
            }
            Err(failure) => failure,
        };
        let is_ours_to_answer = match &failure {
            // Nothing was sent.
            Failure::TooLarge { .. } | Failure::Socket(_) | Failure::Stale => true,
            Failure::Unanswered { .. } => self.transport.generation()? == generation,
            Failure::Refused { rule, .. } => {
                rule.is_some() && readback::table_exists(&mut self.transport)?
            }
        };
        if is_ours_to_answer {
            return Err(failure.into());
        }
        // No rule is to blame: somebody has changed the table, or nobody knows what became of the
        // transaction.
        self.replace_table(next)
    }

    /// Makes the table anew with the rules of `layout`, whatever it is now. Counters begin at zero.
    fn replace_table(&mut self, layout: Layout) -> Result<(), BackendError> {
        let old = std::mem::replace(&mut self.layout, layout);
        self.replaced += 1;
        self.create().map_err(|failure| {
            self.layout = old;
            failure.into()
        })
    }

    /// Carries out a plan that does not fit one transaction: what is new is built beside the old
    /// state, then one transaction switches over. On failure the old state stays.
    fn carry_out_in_parts(&mut self, plan: Plan) -> Result<(), Failure> {
        let built = self
            .in_parts(&plan.build)
            .and_then(|()| self.transport.transact(&plan.switch, None));
        if let Err(failure) = built {
            for group in &plan.abandon {
                // Much of it was never built.
                let _ = self.transport.transact(group, None);
            }
            return Err(failure);
        }
        // The switch has happened: what cannot be swept away is without effect.
        let _ = self.in_parts(&plan.sweep);
        Ok(())
    }

    /// Sends groups of messages in as few transactions as fit.
    fn in_parts(&mut self, groups: &[Vec<Message>]) -> Result<(), Failure> {
        let mut rest = groups;
        let mut count = rest.len();
        while !rest.is_empty() {
            count = count.min(rest.len());
            let part: Vec<Message> = rest[..count].iter().flatten().cloned().collect();
            match self.transport.transact(&part, None) {
                Ok(_) => rest = &rest[count..],
                Err(Failure::TooLarge { .. }) if count > 1 => count = count.div_ceil(2),
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
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
        Ok(Vec::new())
    }

    fn resume(
        &mut self,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
    ) -> Result<(), BackendError> {
        let scratch = scratch(settings)?;
        let coverage = Coverage::of(settings, links);
        let mut running = Running {
            transport: Transport::open()?,
            settings: settings.clone(),
            links: links.to_vec(),
            frame: frame(settings, &coverage),
            coverage,
            layout: Layout::empty(settings.sample, scratch),
            replaced: 0,
            audited: None,
        };
        running.create()?;
        self.running = Some(running);
        self.commit(&Changes {
            put: rules.to_vec(),
            remove: Vec::new(),
        })
    }

    fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        let scratch = scratch(settings)?;
        let running = self.running()?;
        let coverage = Coverage::of(settings, links);
        let frame = frame(settings, &coverage);
        if frame != running.frame {
            let old = std::mem::replace(&mut running.frame, frame);
            let mut last_set = FRAME_SETS;
            let messages = replace_messages(&old, &running.frame, &mut last_set);
            let outcome = match running.transport.transact(&messages, None) {
                // Somebody may have changed the table.
                Err(Failure::Refused { .. }) => running.replace_table(running.layout.clone()),
                outcome => outcome.map(drop).map_err(BackendError::from),
            };
            if let Err(error) = outcome {
                running.frame = old;
                return Err(error);
            }
        }
        running.coverage = coverage;
        running.links = links.to_vec();
        running.go_to(|layout, rewrite| layout.plan_settings(settings.sample, scratch, rewrite))?;
        running.settings = settings.clone();
        Ok(())
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        self.running()?
            .go_to(|layout, rewrite| layout.plan(changes, rewrite))
    }

    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
        let running = self.running()?;
        let mut counters = readback::counters(&mut running.transport)?;
        let of_rule = |rule: &Arc<Rule>| {
            let counter = counters.remove(&rule.id.to_string())?;
            Some((rule.id, counter))
        };
        let found: Vec<_> = running.layout.rules().filter_map(of_rule).collect();
        if found.len() < running.layout.len() {
            // Rules do not lose their counters: somebody flushed or edited the table.
            running.replace_table(running.layout.clone())?;
        }
        Ok(found)
    }

    fn audit(&mut self) -> Result<bool, BackendError> {
        let running = self.running()?;
        let generation = running.transport.generation()?;
        if running.audited == Some(generation) {
            return Ok(false);
        }
        let replaced = running.replaced;
        if !readback::table_exists(&mut running.transport)? {
            running.replace_table(running.layout.clone())?;
        }
        self.counters()?;
        let running = self.running()?;
        running.audited = Some(generation);
        Ok(running.replaced > replaced)
    }

    fn render(&self, settings: &Settings, rules: &[Arc<Rule>]) -> String {
        let links = self
            .running
            .as_ref()
            .map_or(&[][..], |running| &running.links);
        super::render(settings, links, rules)
    }

    fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError> {
        let running = self.running()?;
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let list = |names: &[String]| match names {
            [] => "none".to_string(),
            names => names.join(", "),
        };
        let facts = [
            ("table", "inet flowacl".to_string()),
            ("kernel", kernel.trim().to_string()),
            ("priority", PRIORITY.to_string()),
            ("rules", running.layout.len().to_string()),
            ("chains of rules", running.layout.chunk_count().to_string()),
            ("interfaces", list(&running.coverage.prerouting)),
            ("bridge ports at ingress", list(&running.coverage.ingress)),
            (
                "restored after foreign changes",
                running.replaced.to_string(),
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
            .map_err(BackendError::from)
    }
}

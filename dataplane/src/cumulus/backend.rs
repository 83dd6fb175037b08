//! [`Cumulus`]: the switch as a [`Backend`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::{self, Stamp};
use super::line::{Line, Target};
use super::output::{self, Failure, Listed, Request};
use super::plan::{Capabilities, Plan, Refusal};
use super::tool::{self, ToolError};
use super::{Options, file};
use crate::backend::{Backend, BackendError, Capability, Counter, Culprit, Recovered};
use crate::desired::{Changes, Link, Rules, Settings, in_order};
use crate::rule::{Family, Rule, RuleId};
use crate::tcam::profile::Room;

/// A switch with Cumulus Linux.
pub struct Cumulus {
    options: Options,
    running: Option<Running>,
}

/// What is in force.
struct Running {
    settings: Settings,
    links: Vec<Link>,
    rules: Rules,
    plan: Plan,
    /// The policy file.
    text: String,
    /// How the file was when it was written.
    stamp: Option<Stamp>,
    counters: Counters,
    /// Less room than the profile says, as the switch has shown.
    ceiling: Option<Room>,
    /// What the last run warned of.
    warnings: Vec<String>,
    /// Runs that installed something, and the longest.
    runs: u64,
    longest: Duration,
    /// Whether `policy.conf` includes our file, as of the last audit.
    is_included: bool,
    restored: u64,
    /// Set while nobody knows what the switch has.
    doubt: Option<Doubt>,
}

/// A file was refused, and so was the one before it: what the switch has is not known until it takes one.
struct Doubt {
    reason: String,
    /// When to try again, and how long to wait after that.
    retry_at: Instant,
    pause: Duration,
}

impl Doubt {
    /// The longest time between two attempts: the tool may hang for as long as it is allowed to.
    const PAUSE_MAX: Duration = Duration::from_secs(60);
    /// The time to the first.
    const PAUSE_MIN: Duration = Duration::from_secs(1);

    /// Doubt after another one, if there was one.
    fn after(before: Option<&Self>, reason: &str) -> Self {
        let pause = before.map_or(Self::PAUSE_MIN, |doubt| doubt.pause);
        Self {
            reason: reason.into(),
            retry_at: Instant::now() + pause,
            pause: (2 * pause).min(Self::PAUSE_MAX),
        }
    }
}

/// Counters that go on when those of the switch begin anew.
#[derive(Default)]
struct Counters {
    totals: BTreeMap<RuleId, Counter>,
    /// What the switch said last, line by line.
    last: BTreeMap<RuleId, Vec<Counter>>,
}

/// Why the file is not in force.
enum Refused {
    /// The tool could not be asked, or the file not be written.
    Unavailable(String),
    /// The tool refused something.
    By(Failure),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(format!("policy file: {error}"))
    }
}

impl From<ToolError> for Refused {
    fn from(error: ToolError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl Refused {
    /// In words.
    fn reason(&self) -> &str {
        match self {
            Refused::Unavailable(reason) => reason,
            Refused::By(failure) => &failure.reason,
        }
    }
}

impl Cumulus {
    /// A switch on which nothing was done yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            running: None,
        }
    }

    fn running(&mut self) -> Result<&mut Running, BackendError> {
        self.running.as_mut().ok_or_else(not_started)
    }

    /// Plans a file; fails with the rules that cannot be in it.
    fn plan(
        &self,
        settings: &Settings,
        links: &[Link],
        rules: &Rules,
        is_installed: impl Fn(RuleId) -> bool,
    ) -> Result<Plan, BackendError> {
        let mut options = self.options.clone();
        if let Some(ceiling) = self.running.as_ref().and_then(|running| running.ceiling) {
            let room = options.room();
            options.max_ipv4_entries = Some(room.ipv4.min(ceiling.ipv4));
            options.max_ipv6_entries = Some(room.ipv6.min(ceiling.ipv6));
        }
        let rules: Vec<Arc<Rule>> = rules.values().cloned().collect();
        let plan = Plan::new(&options, settings, links, &rules, is_installed)
            .map_err(|reason| BackendError::Refused { rule: None, reason })?;
        let mut no_room = Vec::new();
        for (rule, refusal) in &plan.refused {
            match refusal {
                Refusal::NoRoom(reason) => no_room.push((*rule, reason.clone())),
                Refusal::Unsupported(reason) => {
                    return Err(BackendError::Refused {
                        rule: Some(*rule),
                        reason: reason.clone(),
                    });
                }
            }
        }
        match no_room.is_empty() {
            true => Ok(plan),
            false => Err(BackendError::NoRoom(no_room)),
        }
    }

    /// Replaces the file and has it installed; `None` removes it. Returns what the tool warns of.
    ///
    /// With a plan, looks whether the switch has its lines: what the tool prints is no proof.
    fn apply(&self, text: Option<&str>, plan: Option<&Plan>) -> Result<Vec<String>, Refused> {
        disk::replace(&self.options.policy_file, text)?;
        // What was in force before needs no trial.
        if self.options.dry_run && plan.is_some() {
            self.ask(&["-n", "-i"], Request::DryRun)?;
        }
        let mut warnings = self.ask(&["-i"], Request::Install)?;
        for family in Family::ALL {
            let lines = plan.map_or(0, |plan| plan.lines(family).count());
            if lines == 0 {
                continue;
            }
            match self.list(family)? {
                Some(listed) if listed.len() < lines => {
                    return Err(Refused::Unavailable(format!(
                        "cl-acltool said that it is done, but of {lines} {family} lines the switch has {}",
                        listed.len()
                    )));
                }
                Some(_) => {}
                None => warnings.push(format!(
                    "cl-acltool -L does not show the chain {}: whether it has our {family} rules is not known",
                    self.options.release.chain()
                )),
            }
        }
        Ok(warnings)
    }

    /// The rules of our chain; `None` when the listing does not have it.
    fn list(&self, family: Family) -> Result<Option<Vec<Listed>>, Refused> {
        let which = match family {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        };
        let arguments = ["-L", which, "-x", "-N"];
        let run = tool::run(&self.options.tool, &arguments, self.options.timeout)?;
        run.outcome(Request::List).map_err(Refused::By)?;
        Ok(output::chain(&run.text, self.options.release))
    }

    /// Runs the tool; returns its warnings.
    fn ask(&self, arguments: &[&str], request: Request) -> Result<Vec<String>, Refused> {
        let run = tool::run(&self.options.tool, arguments, self.options.timeout)?;
        run.outcome(request).map_err(Refused::By)?;
        Ok(run.warnings())
    }

    /// Puts a plan in force in the place of the file with `last_good`, which comes back when the tool refuses the new one.
    fn install(&mut self, plan: &Plan, last_good: Option<&str>) -> Result<Installed, BackendError> {
        self.check_included()?;
        let text = file::write(plan, &self.options);
        let start = Instant::now();
        let refused = match self.apply(Some(&text), Some(plan)) {
            Ok(warnings) => {
                let stamp = Stamp::of(&self.options.policy_file).unwrap_or_default();
                return Ok(Installed {
                    text,
                    stamp,
                    warnings,
                    elapsed: start.elapsed(),
                });
            }
            Err(refused) => refused,
        };
        let reason = refused.reason().to_string();
        let restored = self.apply(last_good, None);
        if let (Ok(_), Some(running)) = (&restored, &mut self.running) {
            running.doubt = None;
        }
        match (restored, refused) {
            (Ok(_), Refused::By(failure)) => Err(self.blame(plan, failure)),
            (Ok(_), Refused::Unavailable(reason)) => Err(BackendError::Unavailable(reason)),
            // What was in force before is refused, too: the new rules are not to blame.
            (Err(again), _) => {
                let again = again.reason();
                if let Some(running) = &mut self.running {
                    running.doubt = Some(Doubt::after(running.doubt.as_ref(), again));
                }
                Err(BackendError::Unavailable(format!(
                    "{reason}; nor does the switch take what it had before: {again}"
                )))
            }
        }
    }

    /// Says which rule the tool refused, as far as it quotes it. A line that is none of a rule is not the rules' fault.
    fn blame(&self, plan: &Plan, failure: Failure) -> BackendError {
        let Failure { reason, line } = failure;
        let Some(line) = line else {
            return BackendError::Refused { rule: None, reason };
        };
        match file::owner(plan, self.options.release, line.trim()) {
            Some(rule) => BackendError::Refused {
                rule: Some(rule),
                reason,
            },
            None => BackendError::Unavailable(reason),
        }
    }

    /// Fails when nobody would read our file.
    fn check_included(&self) -> Result<(), BackendError> {
        let conf = &self.options.policy_conf;
        let text = disk::read(conf)
            .map_err(|error| BackendError::Unavailable(format!("{}: {error}", conf.display())))?;
        let path = &self.options.policy_file;
        match text.is_some_and(|text| disk::includes(&text, path)) {
            true => Ok(()),
            false => Err(BackendError::Unavailable(self.not_included())),
        }
    }

    fn not_included(&self) -> String {
        format!(
            "{} does not include {}",
            self.options.policy_conf.display(),
            self.options.policy_file.display()
        )
    }

    /// Learns from a switch that is full before its profile says so; names the rules of the commit that wait for room.
    fn learn_from(&mut self, error: BackendError, plan: &Plan, changes: &Changes) -> BackendError {
        let full = matches!(&error, BackendError::Refused { reason, .. } if is_full(reason));
        let [rule] = changes.put.as_slice() else {
            return error;
        };
        let (true, Some(running)) = (full, self.running.as_mut()) else {
            return error;
        };
        let used = plan.budget.used();
        let less = |used: usize| used.saturating_sub(1);
        let ceiling = running.ceiling.get_or_insert(self.options.room());
        match rule.family {
            Family::Ipv4 => ceiling.ipv4 = less(used.ipv4),
            Family::Ipv6 => ceiling.ipv6 = less(used.ipv6),
        }
        BackendError::NoRoom(vec![(rule.id, format!("the switch is full: {error}"))])
    }

    /// Reads the counters of a family, and adds what is new.
    fn count(&mut self, family: Family) -> Result<(), BackendError> {
        let listed = self
            .list(family)
            .map_err(|refused| BackendError::Unavailable(refused.reason().to_string()))?;
        let release = self.options.release;
        let running = self.running()?;
        let ours: Vec<&Line> = running.plan.lines(family).collect();
        let read = listed.and_then(|listed| output::counters(&listed, &ours, release));
        let Some(read) = read else {
            return Err(BackendError::Unavailable(format!(
                "cl-acltool does not list our {family} rules"
            )));
        };
        let guards = running.plan.guards.iter();
        let of_family = |line: &&Line| line.entry.family == family;
        let guard_lines = guards
            .flat_map(|(_, lines)| lines)
            .filter(of_family)
            .count();
        let mut read = read.into_iter().skip(guard_lines);
        let suspended = running.plan.suspended;
        let rules = running.plan.rules.iter().filter(|_| !suspended);
        for planned in rules.filter(|planned| planned.rule.family == family) {
            let lines: Vec<Counter> = read.by_ref().take(planned.lines.len()).collect();
            running.counters.add(planned.rule.id, &planned.lines, lines);
        }
        Ok(())
    }
}

/// What an installation leaves to be remembered.
struct Installed {
    text: String,
    stamp: Option<Stamp>,
    warnings: Vec<String>,
    elapsed: Duration,
}

/// Nothing can be done before the start.
fn not_started() -> BackendError {
    BackendError::Unavailable("not started".into())
}

/// True when the reason says that hardware is short.
fn is_full(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    output::FULL.iter().any(|words| reason.contains(words))
}

impl Counters {
    /// Adds what came since the last reading. A counter that fell has begun anew.
    fn add(&mut self, rule: RuleId, lines: &[Line], read: Vec<Counter>) {
        let last = self.last.insert(rule, read.clone()).unwrap_or_default();
        let total = self.totals.entry(rule).or_default();
        // Where a rule has a line that does not end the evaluation, the same packets come to the next one.
        let first_of_entry = |index: usize| {
            index == 0 || !matches!(lines[index - 1].target, Target::Police(_) | Target::Mark(_))
        };
        for (index, counter) in read
            .iter()
            .enumerate()
            .filter(|(at, _)| first_of_entry(*at))
        {
            let last = last.get(index).copied().unwrap_or_default();
            let began_anew = counter.packets < last.packets || counter.bytes < last.bytes;
            let since = if began_anew { Counter::default() } else { last };
            total.packets += counter.packets - since.packets;
            total.bytes += counter.bytes - since.bytes;
        }
    }

    /// Forgets rules that are gone, and lines of rules that have others now.
    fn retain(&mut self, rules: &Rules, changed: &BTreeSet<RuleId>) {
        let ids: BTreeSet<RuleId> = rules.values().map(|rule| rule.id).collect();
        self.totals.retain(|id, _| ids.contains(id));
        self.last
            .retain(|id, _| ids.contains(id) && !changed.contains(id));
    }
}

impl Backend for Cumulus {
    fn name(&self) -> &'static str {
        "cumulus"
    }

    fn capability(&self) -> Arc<dyn Capability> {
        Arc::new(Capabilities(self.options.clone()))
    }

    fn recover(&mut self) -> Result<Vec<Recovered>, BackendError> {
        let path = &self.options.policy_file;
        let text = disk::read(path)
            .map_err(|error| BackendError::Unavailable(format!("{}: {error}", path.display())))?;
        Ok(text.map_or_else(Vec::new, |text| file::recovered(&text)))
    }

    fn resume(
        &mut self,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
    ) -> Result<(), BackendError> {
        let rules = in_order(rules);
        let plan = self.plan(settings, links, &rules, |_| true)?;
        let last_good = disk::read(&self.options.policy_file).unwrap_or_default();
        let Installed {
            text,
            stamp,
            warnings,
            elapsed,
        } = self.install(&plan, last_good.as_deref())?;
        self.running = Some(Running {
            settings: settings.clone(),
            links: links.to_vec(),
            rules,
            plan,
            text,
            stamp,
            counters: Counters::default(),
            ceiling: None,
            warnings,
            runs: 1,
            longest: elapsed,
            is_included: true,
            restored: 0,
            doubt: None,
        });
        Ok(())
    }

    fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        let running = self.running()?;
        let (rules, last_good) = (running.rules.clone(), running.text.clone());
        let plan = self.plan(settings, links, &rules, |_| true)?;
        if file::write(&plan, &self.options) == last_good {
            let running = self.running()?;
            (running.settings, running.links) = (settings.clone(), links.to_vec());
            return Ok(());
        }
        self.count_before_change();
        let installed = self.install(&plan, Some(&last_good))?;
        let running = self.running()?;
        (running.settings, running.links) = (settings.clone(), links.to_vec());
        let changed = rules.values().map(|rule| rule.id).collect();
        running.replace(rules, plan, installed, &changed);
        Ok(())
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        let running = self.running()?;
        let installed: BTreeSet<RuleId> = running.rules.values().map(|rule| rule.id).collect();
        let mut rules = running.rules.clone();
        let (settings, links) = (running.settings.clone(), running.links.clone());
        let last_good = running.text.clone();
        changes.apply_to(&mut rules);
        let put: BTreeSet<RuleId> = changes.put.iter().map(|rule| rule.id).collect();
        let has_room = |id| installed.contains(&id) && !put.contains(&id);
        let plan = self.plan(&settings, &links, &rules, has_room)?;
        self.count_before_change();
        match self.install(&plan, Some(&last_good)) {
            Ok(installed) => {
                self.running()?.replace(rules, plan, installed, &put);
                Ok(())
            }
            Err(error) => Err(self.learn_from(error, &plan, changes)),
        }
    }

    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
        for family in Family::ALL {
            let running = self.running()?;
            if running.plan.lines(family).next().is_some() {
                self.count(family)?;
            }
        }
        let running = self.running()?;
        let total = |id| running.counters.totals.get(&id).copied();
        let ids = running.rules.values().map(|rule| rule.id);
        Ok(ids.map(|id| (id, total(id).unwrap_or_default())).collect())
    }

    fn impaired(&mut self) -> Vec<(RuleId, String)> {
        let not_included = self.not_included();
        let Some(running) = &self.running else {
            return Vec::new();
        };
        let reason = match &running.doubt {
            Some(doubt) => format!("not known whether the switch has it: {}", doubt.reason),
            None if !running.is_included => {
                format!("gone with the next cl-acltool -i: {not_included}")
            }
            None => return Vec::new(),
        };
        let ids = running.rules.values().map(|rule| rule.id);
        ids.map(|id| (id, reason.clone())).collect()
    }

    fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
        let is_included = self.check_included().is_ok();
        let path = self.options.policy_file.clone();
        let unavailable = |error| BackendError::Unavailable(format!("{}: {error}", path.display()));
        let stamp = Stamp::of(&path).map_err(unavailable)?;
        let running = self.running()?;
        running.is_included = is_included;
        if let Some(doubt) = &running.doubt {
            if Instant::now() >= doubt.retry_at {
                self.install_again()?;
            }
            return Ok(None);
        }
        if stamp == running.stamp {
            return Ok(None);
        }
        let text = disk::read(&path).map_err(unavailable)?;
        if text.as_deref() == Some(running.text.as_str()) {
            running.stamp = stamp;
            return Ok(None);
        }
        self.install_again()?;
        self.running()?.restored += 1;
        let verb = if text.is_some() { "changed" } else { "removed" };
        Ok(Some(Culprit(format!(
            "somebody who {verb} {}",
            path.display()
        ))))
    }

    fn render(&self, settings: &Settings, rules: &[Arc<Rule>]) -> String {
        let links = self
            .running
            .as_ref()
            .map_or(&[][..], |running| &running.links);
        match Plan::new(&self.options, settings, links, rules, |_| false) {
            Ok(plan) => file::write(&plan, &self.options),
            Err(reason) => format!("# nothing can be installed: {reason}\n"),
        }
    }

    fn without_room(&self, settings: &Settings, rules: &[Arc<Rule>]) -> Vec<(RuleId, String)> {
        let plan = Plan::new(&self.options, settings, &[], rules, |_| false);
        let refused = plan.map(|plan| plan.refused).unwrap_or_default();
        let reason = |refusal| match refusal {
            Refusal::NoRoom(reason) | Refusal::Unsupported(reason) => reason,
        };
        refused
            .into_iter()
            .map(|(rule, refusal)| (rule, reason(refusal)))
            .collect()
    }

    fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError> {
        let options = self.options.clone();
        let running = self.running()?;
        let (used, room) = (running.plan.budget.used(), running.plan.budget.room());
        let checkers = &running.plan.checkers;
        let of = |used: usize, limit: Option<usize>| match limit {
            Some(usize::MAX) | None => used.to_string(),
            Some(limit) => format!("{used} of {limit}"),
        };
        let facts = [
            ("hardware", options.profile.headline.to_string()),
            ("policy file", options.policy_file.display().to_string()),
            (
                "chain",
                format!("{} {}", options.release.table(), options.release.chain()),
            ),
            ("rules", running.rules.len().to_string()),
            ("IPv4 entries", of(used.ipv4, Some(room.ipv4))),
            ("IPv6 entries", of(used.ipv6, Some(room.ipv6))),
            ("port range checkers", of(checkers.used(), checkers.limit())),
            ("runs of cl-acltool", running.runs.to_string()),
            ("longest run", format!("{} ms", running.longest.as_millis())),
            (
                "restored after foreign changes",
                running.restored.to_string(),
            ),
        ];
        Ok(facts
            .map(|(label, value)| (label.to_string(), value))
            .into())
    }

    fn warnings(&mut self) -> Vec<String> {
        let not_included = self.not_included();
        let Some(running) = &self.running else {
            return Vec::new();
        };
        let mut warnings = running.plan.warnings.clone();
        warnings.extend(running.warnings.iter().cloned());
        if !running.is_included {
            warnings.push(not_included);
        }
        let accepts = Family::ALL
            .into_iter()
            .flat_map(|it| running.plan.lines(it));
        let accepts = accepts.filter(|line| line.target == Target::Accept).count();
        if accepts > 0 {
            warnings.push(format!(
                "policy files behind {} do not see the packets that {accepts} of our lines accept",
                self.options.policy_file.display()
            ));
        }
        warnings
    }

    fn stop(&mut self) -> Result<(), BackendError> {
        if self.running.take().is_none() {
            return Ok(());
        }
        self.apply(None, None)
            .map(drop)
            .map_err(|refused| BackendError::Unavailable(refused.reason().to_string()))
    }
}

impl Cumulus {
    /// Installs once more what is to be in force.
    fn install_again(&mut self) -> Result<(), BackendError> {
        let running = self.running()?;
        let (plan, ours) = (running.plan.clone(), running.text.clone());
        let installed = self.install(&plan, Some(&ours))?;
        let running = self.running()?;
        (running.text, running.stamp) = (installed.text, installed.stamp);
        running.doubt = None;
        Ok(())
    }

    /// Reads counters before lines move, so that as little as possible is lost. What cannot be read is lost.
    fn count_before_change(&mut self) {
        let has_rules = |running: &&Running| !running.rules.is_empty();
        if self
            .running
            .as_ref()
            .is_some_and(|running| has_rules(&running))
        {
            let _ = self.counters();
        }
    }
}

impl Running {
    /// What is in force now. `changed`: rules with other lines than before.
    fn replace(
        &mut self,
        rules: Rules,
        plan: Plan,
        installed: Installed,
        changed: &BTreeSet<RuleId>,
    ) {
        let Installed {
            text,
            stamp,
            warnings,
            elapsed,
        } = installed;
        self.counters.retain(&rules, changed);
        (self.rules, self.plan) = (rules, plan);
        (self.text, self.stamp, self.warnings) = (text, stamp, warnings);
        self.runs += 1;
        self.longest = self.longest.max(elapsed);
        self.is_included = true;
        self.doubt = None;
    }
}

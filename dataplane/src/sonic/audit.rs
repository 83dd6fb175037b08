//! Finding what others changed, and what a restart of the switch's software or of Redis took away, and putting it right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::document::{Kind, Verdict};
use super::placed::{Found, Placed};
use super::running::{Running, watch};
use super::status::{self, Status};
use super::store::{self, rule_key};
use crate::backend::{BackendError, Culprit};
use crate::rule::{Family, RuleId};

/// How often all documents are compared without cause.
const COMPARE: Duration = Duration::from_secs(60);
/// How long exceptions may take to come back before what they are exceptions from.
const FORWARD_FIRST: Duration = Duration::from_secs(1);

impl Running {
    /// Puts right what is not as it shall be; says by whom it had been changed.
    pub fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
        let [changed, ports] = [0, 1].map(|index| self.watches[index].changed());
        let changed = match (changed, ports) {
            (Some(changed), Some(ports)) => {
                if !ports.is_empty() {
                    self.follow_ports()?;
                }
                changed
            }
            // Whatever happened meanwhile was missed.
            (None, _) | (_, None) => {
                self.in_step = false;
                self.watches = watch(&self.options, &mut self.databases)?;
                self.follow_ports()?;
                Vec::new()
            }
        };
        let wiped = self.tables_were_wiped()?;
        // After the first question, which makes connections anew.
        let reconnected = self.connection_count() != self.connections;
        let all = !self.in_step || reconnected || wiped || Instant::now() >= self.compare_at;
        let restored = match all {
            true => self.compare_all()?,
            false => self.compare_changed(&changed)?,
        };
        self.confirm()?;
        if restored == 0 {
            return Ok(None);
        }
        self.repaired += restored;
        let by = match (wiped, reconnected) {
            (true, _) => "a restart of the switch's software (swss)",
            (false, true) => "a restart of the switch's database",
            (false, false) => "another client of the switch's database",
        };
        Ok(Some(Culprit(by.into())))
    }

    /// Compares the database with the model when it is not known to be equal.
    pub(super) fn catch_up(&mut self) -> Result<(), BackendError> {
        if self.in_step {
            return Ok(());
        }
        self.compare_all().map(drop)
    }

    /// Binds the tables to the ports that there are now.
    fn follow_ports(&mut self) -> Result<(), BackendError> {
        self.ports = super::ports::Ports::read(&mut self.databases.config)?;
        self.write_tables().map(drop)
    }

    /// True when the switch has forgotten a table: its software was restarted, and the state that it wrote deleted. What
    /// it says of the tables is taken in.
    fn tables_were_wiped(&mut self) -> Result<bool, BackendError> {
        let mut wiped = false;
        let out_of_force = self.out_of_force.len();
        for family in Family::ALL {
            let status = status::of_table(&mut self.databases.state, family)?;
            if status == Status::Silent && !self.out_of_force.contains_key(&family) {
                wiped = true;
            }
            // A table that waits to be created again stays ours.
            if status == Status::Active {
                self.judge_table(family, &status);
            }
        }
        if self.out_of_force.len() < out_of_force {
            // A table that can have rules has guards.
            let (settings, links) = (self.settings.clone(), self.links.clone());
            self.reconfigure(&settings, &links)?;
        }
        Ok(wiped)
    }

    /// Compares all documents with the model, and writes what differs. Returns how many did.
    fn compare_all(&mut self) -> Result<usize, BackendError> {
        self.in_step = false;
        let mode = self.options.mode;
        let mut restored = usize::from(self.write_tables()?);
        let mut found: BTreeMap<(Family, Arc<str>), store::Hash> = BTreeMap::new();
        for family in Family::ALL {
            let rules = store::read_rules(mode, &mut self.databases, family)?;
            found.extend(rules.into_iter().map(|it| ((family, it.name), it.fields)));
        }
        let wanted: Vec<Placed> = self.model.placed().cloned().collect();
        restored += self.restore(wanted, found)?;
        self.in_step = true;
        self.connections = self.connection_count();
        self.compare_at = Instant::now() + COMPARE;
        self.confirm_all()?;
        Ok(restored)
    }

    /// Compares the documents of these keys with the model, and writes what differs.
    fn compare_changed(&mut self, keys: &[String]) -> Result<usize, BackendError> {
        let mode = self.options.mode;
        let mut names: BTreeSet<(Family, Arc<str>)> = BTreeSet::new();
        for key in keys {
            let mut known = false;
            for family in Family::ALL {
                let beginning = format!(
                    "{}{}",
                    store::prefix(mode, Kind::Rule),
                    rule_key(mode, family, "")
                );
                if let Some(name) = key.strip_prefix(&beginning) {
                    names.insert((family, name.into()));
                    known = true;
                }
            }
            if !known {
                // A table or its type.
                return self.compare_all();
            }
        }
        if names.is_empty() {
            return Ok(0);
        }
        let mut found = BTreeMap::new();
        for family in Family::ALL {
            let of_family: Vec<Arc<str>> = names
                .iter()
                .filter(|(of, _)| *of == family)
                .map(|(_, name)| name.clone())
                .collect();
            let hashes = store::read_named(mode, &mut self.databases, family, &of_family)?;
            for (name, fields) in of_family.into_iter().zip(hashes) {
                if !fields.is_empty() {
                    found.insert((family, name), fields);
                }
            }
        }
        let wanted: Vec<Placed> = self
            .model
            .placed()
            .filter(|placed| names.contains(&(placed.family, placed.name.clone())))
            .cloned()
            .collect();
        self.restore(wanted, found)
    }

    /// Writes entries that are not found as they are wanted, and deletes those that are not wanted.
    fn restore(
        &mut self,
        wanted: Vec<Placed>,
        mut found: BTreeMap<(Family, Arc<str>), store::Hash>,
    ) -> Result<usize, BackendError> {
        let mut missing = Vec::new();
        let mut changed = Vec::new();
        for placed in wanted {
            let fields = found.remove(&(placed.family, placed.name.clone()));
            match fields {
                Some(fields) if fields == placed.fields(self.dialect) => {}
                Some(_) => {
                    changed.push(placed.clone());
                    missing.push(placed);
                }
                None => missing.push(placed),
            }
        }
        let strangers: Vec<Placed> = found
            .into_iter()
            .map(|((family, name), fields)| {
                Placed::found(Found {
                    family,
                    name,
                    fields,
                })
            })
            .collect();
        // A field that was added does not go by writing the others.
        self.write_entries(&changed, false)?;
        let restored = missing.len() + strangers.len();
        missing.sort_by_key(|placed| std::cmp::Reverse(placed.priority));
        let (forward, drop): (Vec<Placed>, Vec<Placed>) = missing
            .into_iter()
            .partition(|placed| placed.verdict() == Some(Verdict::Forward));
        self.write_entries(&forward, true)?;
        if !forward.is_empty() && !drop.is_empty() {
            status::decided(&mut self.databases.state, &forward, FORWARD_FIRST)?;
        }
        self.write_entries(&drop, true)?;
        self.write_entries(&strangers, false)?;
        for placed in forward.iter().chain(&drop) {
            let name = (placed.family, placed.name.clone());
            self.unconfirmed.insert(name, Status::Silent);
        }
        Ok(restored)
    }

    /// Asks what became of entries that were not in the ASIC, or not out of it, the last time.
    fn confirm(&mut self) -> Result<(), BackendError> {
        let open: Vec<Placed> = self
            .model
            .placed()
            .filter(|it| self.unconfirmed.contains_key(&(it.family, it.name.clone())))
            .cloned()
            .collect();
        self.unconfirmed.clear();
        let statuses = status::of_entries(&mut self.databases.state, &open)?;
        self.note(&open, statuses);
        let mut lingering = std::mem::take(&mut self.lingering);
        let remaining: Vec<Placed> = lingering
            .iter()
            .map(|(family, name)| Placed::named(*family, name))
            .collect();
        let statuses = status::of_entries(&mut self.databases.state, &remaining)?;
        let mut statuses = statuses.into_iter();
        lingering.retain(|_| statuses.next() != Some(Status::Silent));
        self.lingering = lingering;
        Ok(())
    }

    /// Rules that are not wholly in the ASIC, and what the switch says.
    pub fn impaired(&self) -> Vec<(RuleId, String)> {
        let mut impaired: BTreeMap<RuleId, String> = BTreeMap::new();
        for placed in self.model.placed() {
            let status = self.unconfirmed.get(&(placed.family, placed.name.clone()));
            if let (Some(status), Some(id)) = (status, placed.owner.rule()) {
                let reason = match status {
                    Status::Silent | Status::Active => {
                        "written anew, and not confirmed by the switch yet".to_string()
                    }
                    Status::Inactive => "not in the ASIC: Inactive".into(),
                    Status::PendingCreation => "not in the ASIC: Pending creation".into(),
                    Status::Other(text) => format!("not in the ASIC: {text}"),
                };
                impaired.entry(id).or_insert(reason);
            }
        }
        impaired.into_iter().collect()
    }
}

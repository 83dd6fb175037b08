//! What is in force, and how it is changed: phase by phase, each confirmed by the switch, and all undone when one is not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use redis::Pipeline;

use super::database::Databases;
use super::document::{Dialect, Kind, Mode, encode, table_name, type_name};
use super::ledger::{EntryName, Ledger};
use super::memo::Memos;
use super::model::{Model, Refusal, guard_entries};
use super::options::Options;
use super::placed::{Owner, Placed};
use super::ports::{self, Ports};
use super::status::{self, Status};
use super::store::{self, Hash, Write, rule_key};
use super::transition::{Phase, in_pieces};
use super::watch::Watch;
use crate::backend::{BackendError, Counter};
use crate::desired::{Changes, Link, Settings};
use crate::rule::{Family, Rule, RuleId};
use crate::tcam::Entry;

/// Most entries that are written at once, before the switch is asked what became of them: releases before the priorities
/// were sorted take up to a tenth of a second for each entry of a long table.
pub(super) const PIECE: usize = 128;

/// What is in force.
pub struct Running {
    pub(super) options: Options,
    pub(super) dialect: Dialect,
    pub(super) databases: Databases,
    pub(super) model: Model,
    pub(super) settings: Settings,
    pub(super) links: Vec<Link>,
    pub(super) memos: Memos,
    pub(super) ledger: Ledger,
    pub(super) ports: Ports,
    /// What changes of documents and of ports.
    pub(super) watches: [Watch; 2],
    /// How often connections had been made when the database was last compared with the model.
    pub(super) connections: u64,
    /// Why the table of a family is not in force.
    pub(super) out_of_force: BTreeMap<Family, String>,
    /// Entries that were written and are not, or not again, in the ASIC; with what the switch says.
    pub(super) unconfirmed: BTreeMap<EntryName, Status>,
    /// Entries that were deleted and are still in the ASIC.
    pub(super) lingering: BTreeSet<EntryName>,
    /// False while the database may differ from the model.
    pub(super) in_step: bool,
    /// When to compare all of it without cause.
    pub(super) compare_at: Instant,
    /// Documents that others changed and that were put right.
    pub(super) repaired: usize,
}

impl Running {
    /// Takes over what is there, and makes it these rules.
    pub fn resume(
        options: &Options,
        memos: Memos,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
    ) -> Result<Self, BackendError> {
        let mut databases = Databases::open(&options.database_config)?;
        check_capabilities(&mut databases)?;
        let watches = watch(options, &mut databases)?;
        let mut ledger = Ledger::default();
        for (id, memo) in memos.all() {
            ledger.restore(*id, memo.counted);
        }
        let mut running = Self {
            dialect: Dialect::of(options),
            model: Model::new(options, 0),
            settings: settings.clone(),
            links: links.to_vec(),
            ports: Ports::read(&mut databases.config)?,
            options: options.clone(),
            databases,
            memos,
            ledger,
            watches,
            connections: 0,
            out_of_force: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            lingering: BTreeSet::new(),
            in_step: true,
            compare_at: Instant::now(),
            repaired: 0,
        };
        running.clear_other_database()?;
        running.establish_tables()?;
        running.install(rules)?;
        Ok(running)
    }

    /// Deletes what is left of a time when the rules were written to the other database: one table in both would be two
    /// opinions.
    fn clear_other_database(&mut self) -> Result<(), BackendError> {
        let mode = self.options.mode;
        let other = match mode {
            Mode::ConfigDb => Mode::ApplDb,
            Mode::ApplDb => Mode::ConfigDb,
        };
        for family in Family::ALL {
            let databases = &mut self.databases;
            let tables = [
                (Kind::Table, table_name(family)),
                (Kind::TableType, type_name(other, family)),
            ];
            let mut is_there = false;
            for (kind, key) in tables {
                is_there |= store::read(other, databases, kind, key)?.is_some();
            }
            if is_there {
                self.options.mode = other;
                let removed = self.remove_tables(&[family]);
                self.options.mode = mode;
                removed?;
            }
        }
        Ok(())
    }

    /// Makes types and tables what they shall be. A table whose type is another one goes with all its entries.
    fn establish_tables(&mut self) -> Result<(), BackendError> {
        let mode = self.options.mode;
        for family in Family::ALL {
            let table_type = encode(mode, &self.dialect.table_type(family));
            let (type_key, table_key) = (type_name(mode, family), table_name(family));
            let found = store::read(mode, &mut self.databases, Kind::TableType, type_key)?;
            let table = store::read(mode, &mut self.databases, Kind::Table, table_key)?;
            if found.is_some_and(|found| found != table_type)
                || table.is_some_and(|table| self.is_other_table(family, &table))
            {
                self.remove_tables(&[family])?;
            }
        }
        self.write_tables()?;
        for family in Family::ALL {
            let status =
                status::decided_table(&mut self.databases.state, family, self.options.patience)?;
            self.judge_table(family, &status);
        }
        match self.out_of_force.len() < Family::ALL.len() {
            true => Ok(()),
            false => Err(BackendError::Unavailable(
                self.out_of_force
                    .values()
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("; "),
            )),
        }
    }

    /// True when a table is not of our type and stage.
    fn is_other_table(&self, family: Family, table: &Hash) -> bool {
        let wanted = encode(self.options.mode, &self.dialect.table(family, &[]));
        ["type", "stage"]
            .iter()
            .any(|field| table.get(*field) != wanted.get(*field))
    }

    /// Notes whether the table of a family is in force.
    pub(super) fn judge_table(&mut self, family: Family, status: &Status) {
        let table = table_name(family);
        let reason = match status {
            Status::Active => {
                self.out_of_force.remove(&family);
                return;
            }
            Status::Silent => format!(
                "orchagent says nothing of the table {table}: is swss running, and of release {} at least?",
                self.options.release
            ),
            Status::Inactive => {
                format!("the switch does not support the table {table}: its status is Inactive")
            }
            Status::PendingCreation => {
                format!(
                    "the switch has no room for the table {table}, or does not support it: Pending creation"
                )
            }
            Status::Other(text) => format!("the table {table}: {text}"),
        };
        self.out_of_force.insert(family, reason);
    }

    /// The ports that the tables are to be bound to: none while no rule is to be evaluated.
    pub(super) fn bound(&self) -> Vec<String> {
        match self.settings.suspended {
            true => Vec::new(),
            false => {
                let groups = self.dialect.binds_groups();
                self.ports.bound(&self.settings.interfaces, groups)
            }
        }
    }

    /// Writes types and tables that are not there or not as they shall be; true when there were some.
    pub(super) fn write_tables(&mut self) -> Result<bool, BackendError> {
        let mode = self.options.mode;
        let bound = self.bound();
        let mut writes = Vec::new();
        for family in Family::ALL {
            let documents = [
                (
                    Kind::TableType,
                    type_name(mode, family),
                    self.dialect.table_type(family),
                ),
                (
                    Kind::Table,
                    table_name(family),
                    self.dialect.table(family, &bound),
                ),
            ];
            for (kind, key, fields) in documents {
                let fields = encode(mode, &fields);
                let found = store::read(mode, &mut self.databases, kind, key)?;
                if found.as_ref() != Some(&fields) {
                    writes.push(Write {
                        kind,
                        key: key.into(),
                        fields: Some(fields),
                    });
                }
            }
        }
        // A table is understood when its type is known.
        writes.sort_by_key(|write| write.kind);
        store::write(mode, &mut self.databases, &writes)?;
        Ok(!writes.is_empty())
    }

    /// Deletes the tables of families with all that is in them.
    pub(super) fn remove_tables(&mut self, families: &[Family]) -> Result<(), BackendError> {
        let mode = self.options.mode;
        let patience = self.options.patience;
        for family in families {
            let found = store::read_rules(mode, &mut self.databases, *family)?;
            let mut found: Vec<Placed> = found.into_iter().map(Placed::found).collect();
            found.sort_by_key(|placed| placed.priority);
            self.write_entries(&found, false)?;
            status::remaining(&mut self.databases.state, &found, patience)?;
            let delete = |kind, key: &str| Write {
                kind,
                key: key.into(),
                fields: None,
            };
            // A type is deleted when no table has it any more.
            let table = [delete(Kind::Table, table_name(*family))];
            store::write(mode, &mut self.databases, &table)?;
            status::table_has_gone(&mut self.databases.state, *family, patience)?;
            let table_type = [delete(Kind::TableType, type_name(mode, *family))];
            store::write(mode, &mut self.databases, &table_type)?;
        }
        Ok(())
    }

    /// Makes what is in the tables these rules, and what guards there are.
    fn install(&mut self, rules: &[Arc<Rule>]) -> Result<(), BackendError> {
        let mut found = Vec::new();
        for family in Family::ALL {
            let mode = self.options.mode;
            found.extend(store::read_rules(mode, &mut self.databases, family)?);
        }
        self.check_in_force(rules)?;
        let foreign = self.foreign_ranges()?;
        let guards = self.guards()?;
        let (model, phases) = Model::plan_from(&self.options, foreign, found, rules, guards)
            .map_err(backend_error)?;
        self.memos
            .put(rules.iter().map(|rule| (rule.id, rule.memo())))?;
        self.carry_out(phases)?;
        self.model = model;
        let ids: BTreeSet<RuleId> = rules.iter().map(|rule| rule.id).collect();
        let gone: Vec<RuleId> = self.memos.all().keys().copied().collect();
        let gone: Vec<RuleId> = gone.into_iter().filter(|id| !ids.contains(id)).collect();
        gone.iter().for_each(|id| self.ledger.forget(*id));
        self.memos.gone(gone)?;
        // What was kept may be on its way into the ASIC once more, after a restart of the switch's software.
        self.confirm_all()?;
        self.connections = self.connection_count();
        Ok(())
    }

    /// Guards as entries, for the tables that are in force.
    fn guards(&self) -> Result<Vec<Entry>, BackendError> {
        let profile = self.options.profile();
        let guards = guard_entries(&self.settings, &self.links, self.dialect, &profile);
        let mut guards = guards.map_err(backend_error)?;
        guards.retain(|entry| !self.out_of_force.contains_key(&entry.family));
        Ok(guards)
    }

    /// Refuses a rule whose table is not in force.
    fn check_in_force(&self, rules: &[Arc<Rule>]) -> Result<(), BackendError> {
        let refused = |rule: &&Arc<Rule>| self.out_of_force.contains_key(&rule.family);
        match rules.iter().find(refused) {
            None => Ok(()),
            Some(rule) => Err(BackendError::Refused {
                rule: Some(rule.id),
                reason: self.out_of_force[&rule.family].clone(),
            }),
        }
    }

    /// Range checkers that entries of others in CONFIG_DB have taken: the ASIC has them once for all tables.
    fn foreign_ranges(&mut self) -> Result<usize, BackendError> {
        if self.options.profile().range_checkers.is_none() {
            return Ok(0);
        }
        let config = &mut self.databases.config;
        let keys = store::scan(config, "ACL_RULE|*")?;
        let is_ours = |key: &String| {
            let mut tables = Family::ALL.map(table_name).into_iter();
            tables.any(|table| key.starts_with(&format!("ACL_RULE|{table}|")))
        };
        let keys: Vec<String> = keys.into_iter().filter(|key| !is_ours(key)).collect();
        if keys.is_empty() {
            return Ok(0);
        }
        let mut commands = Pipeline::with_capacity(keys.len());
        for key in &keys {
            commands
                .cmd("HMGET")
                .arg(key)
                .arg(&["L4_SRC_PORT_RANGE", "L4_DST_PORT_RANGE"]);
        }
        let ranges: Vec<[Option<String>; 2]> = config.query(&commands)?;
        let distinct: BTreeSet<(usize, String)> = ranges
            .into_iter()
            .flat_map(|sides| sides.into_iter().enumerate())
            .filter_map(|(side, range)| Some((side, range?)))
            .collect();
        Ok(distinct.len())
    }

    /// Carries out all changes, or none.
    pub fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        self.catch_up()?;
        self.check_in_force(&changes.put)?;
        let (model, phases) = self.model.plan(changes).map_err(backend_error)?;
        let known: BTreeSet<RuleId> = self.model.rules().map(|held| held.rule.id).collect();
        let put = changes.put.iter();
        self.memos.put(put.map(|rule| (rule.id, rule.memo())))?;
        if let Err(error) = self.carry_out(phases) {
            let new = changes.put.iter().map(|rule| rule.id);
            self.memos.gone(new.filter(|id| !known.contains(id)))?;
            return Err(self.of_this_commit(changes, error));
        }
        self.model = model;
        let left: BTreeSet<RuleId> = self.model.rules().map(|held| held.rule.id).collect();
        for id in known.difference(&left) {
            self.ledger.forget(*id);
        }
        self.memos.gone(known.difference(&left).copied())
    }

    /// The error in terms of the rules of a commit: where there is no room to move others out of their way, there is none
    /// for those that want to come in between.
    fn of_this_commit(&self, changes: &Changes, error: BackendError) -> BackendError {
        let BackendError::NoRoom(mut named) = error else {
            return error;
        };
        named.retain(|(id, _)| changes.put.iter().any(|rule| rule.id == *id));
        if named.is_empty() {
            let comes_between = |rule: &&Arc<Rule>| {
                let table = self.model.table(rule.family);
                !table.has_tier(&rule.tier)
            };
            let reason = "the ASIC has no room to move other entries out of the way";
            let without_room = changes.put.iter().filter(comes_between);
            named = without_room.map(|rule| (rule.id, reason.into())).collect();
        }
        BackendError::NoRoom(named)
    }

    /// Applies other settings or addresses of this machine; rules stay.
    pub fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        self.catch_up()?;
        self.settings = settings.clone();
        self.links = links.to_vec();
        self.ports = Ports::read(&mut self.databases.config)?;
        let (model, phases) = self
            .model
            .plan_guards(self.guards()?)
            .map_err(backend_error)?;
        self.write_tables()?;
        self.carry_out(phases)?;
        self.model = model;
        Ok(())
    }

    /// Carries out phases, or undoes what was done of them.
    fn carry_out(&mut self, phases: Vec<Phase>) -> Result<(), BackendError> {
        let phases = in_pieces(phases, PIECE);
        for (index, phase) in phases.iter().enumerate() {
            if let Err(error) = self.step(phase) {
                self.in_step = false;
                let undone = self.undo(phase, &phases[..index]);
                self.in_step = undone.is_ok();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Carries out one phase.
    fn step(&mut self, phase: &Phase) -> Result<(), BackendError> {
        self.write_entries(&phase.put, true)?;
        let patience = self.options.patience;
        let statuses = status::decided(&mut self.databases.state, &phase.put, patience)?;
        failure(&phase.put, &statuses)?;
        self.take_away(&phase.remove)
    }

    /// Deletes entries, after a last look at their counters.
    fn take_away(&mut self, entries: &[Placed]) -> Result<(), BackendError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.read_counters(entries)?;
        self.write_entries(entries, false)?;
        let patience = self.options.patience;
        let remaining = status::remaining(&mut self.databases.state, entries, patience)?;
        for placed in entries {
            let name = (placed.family, placed.name.clone());
            self.unconfirmed.remove(&name);
            if remaining.contains(&placed.name) {
                self.lingering.insert(name);
            }
            self.ledger.gone(placed);
        }
        let rules: BTreeSet<RuleId> = entries.iter().filter_map(|it| it.owner.rule()).collect();
        for id in rules {
            self.memos.counted(id, self.ledger.retired(id))?;
        }
        Ok(())
    }

    /// Goes back to what was before the first of these phases, of which `last` has failed in the midst.
    fn undo(&mut self, last: &Phase, before: &[Phase]) -> Result<(), BackendError> {
        let patience = self.options.patience;
        for (index, phase) in [last].into_iter().chain(before.iter().rev()).enumerate() {
            let mut back = phase.remove.clone();
            if index == 0 {
                // What is still there need not be written, and would be re-created.
                let there = status::of_entries(&mut self.databases.state, &back)?;
                let mut there = there.into_iter();
                back.retain(|_| there.next() == Some(Status::Silent));
            }
            back.reverse();
            self.write_entries(&back, true)?;
            let statuses = status::decided(&mut self.databases.state, &back, patience)?;
            self.note(&back, statuses);
            let mut put = phase.put.clone();
            put.reverse();
            self.take_away(&put)?;
        }
        Ok(())
    }

    /// Keeps in mind which entries are not in the ASIC.
    pub(super) fn note(&mut self, entries: &[Placed], statuses: Vec<Status>) {
        for (placed, status) in entries.iter().zip(statuses) {
            let name = (placed.family, placed.name.clone());
            match status {
                Status::Active => self.unconfirmed.remove(&name),
                status => self.unconfirmed.insert(name, status),
            };
        }
    }

    /// Asks what became of all entries.
    pub(super) fn confirm_all(&mut self) -> Result<(), BackendError> {
        let all: Vec<Placed> = self.model.placed().cloned().collect();
        let statuses = status::of_entries(&mut self.databases.state, &all)?;
        self.unconfirmed.clear();
        self.note(&all, statuses);
        Ok(())
    }

    /// Writes entries, or deletes them, in this order.
    pub(super) fn write_entries(
        &mut self,
        entries: &[Placed],
        put: bool,
    ) -> Result<(), BackendError> {
        let mode = self.options.mode;
        let writes: Vec<Write> = entries
            .iter()
            .map(|placed| Write {
                kind: Kind::Rule,
                key: rule_key(mode, placed.family, &placed.name),
                fields: put.then(|| placed.fields(self.dialect)),
            })
            .collect();
        store::write(mode, &mut self.databases, &writes)
    }

    /// Reads what the switch counts for entries. Those that it does not count yet stay as they are.
    pub(super) fn read_counters(&mut self, entries: &[Placed]) -> Result<(), BackendError> {
        let counters = &mut self.databases.counters;
        for batch in entries.chunks(256) {
            let mut commands = Pipeline::new();
            let names: Vec<String> = batch
                .iter()
                .map(|placed| format!("{}:{}", table_name(placed.family), placed.name))
                .collect();
            commands.cmd("HMGET").arg("ACL_COUNTER_RULE_MAP").arg(names);
            let mut answers: Vec<Vec<Option<String>>> = counters.query(&commands)?;
            let objects = answers.pop().unwrap_or_default();
            let counted: Vec<(&Placed, String)> = batch
                .iter()
                .zip(objects)
                .filter_map(|(placed, object)| Some((placed, object?)))
                .collect();
            if counted.is_empty() {
                continue;
            }
            let mut commands = Pipeline::with_capacity(counted.len());
            for (_, object) in &counted {
                commands
                    .cmd("HMGET")
                    .arg(format!("COUNTERS:{object}"))
                    .arg(&["SAI_ACL_COUNTER_ATTR_PACKETS", "SAI_ACL_COUNTER_ATTR_BYTES"]);
            }
            let readings: Vec<[Option<u64>; 2]> = counters.query(&commands)?;
            for ((placed, _), reading) in counted.into_iter().zip(readings) {
                if let [Some(packets), Some(bytes)] = reading {
                    self.ledger.read(placed, Counter { packets, bytes });
                }
            }
        }
        Ok(())
    }

    /// How often connections were made.
    pub(super) fn connection_count(&self) -> u64 {
        let databases = &self.databases;
        let all = [&databases.appl, &databases.config, &databases.state];
        all.iter().map(|database| database.connections()).sum()
    }
}

/// Listens for changes of our documents, and of ports.
pub(super) fn watch(
    options: &Options,
    databases: &mut Databases,
) -> Result<[Watch; 2], BackendError> {
    let mode = options.mode;
    let of_family = |family| {
        let rules = store::prefix(mode, Kind::Rule);
        [
            format!("{rules}{}*", rule_key(mode, family, "")),
            format!("{}{}", store::prefix(mode, Kind::Table), table_name(family)),
            format!(
                "{}{}",
                store::prefix(mode, Kind::TableType),
                type_name(mode, family)
            ),
        ]
    };
    let ours: Vec<String> = Family::ALL.into_iter().flat_map(of_family).collect();
    let ports: Vec<String> = ports::KEYS.iter().map(ToString::to_string).collect();
    Ok([
        Watch::start(store::database(mode, databases), &ours)?,
        Watch::start(&databases.config, &ports)?,
    ])
}

/// Fails when the switch says that it cannot drop or forward by ACLs. One that says nothing is taken to be able to.
fn check_capabilities(databases: &mut Databases) -> Result<(), BackendError> {
    let mut commands = Pipeline::new();
    commands
        .hget("ACL_STAGE_CAPABILITY_TABLE|INGRESS", "action_list")
        .hget("SWITCH_CAPABILITY|switch", "ACL_ACTION|PACKET_ACTION");
    let (actions, values): (Option<String>, Option<String>) = databases.state.query(&commands)?;
    let lacks = |list: &Option<String>, word: &str| {
        let list = list.as_deref().filter(|list| !list.is_empty());
        list.is_some_and(|list| !list.split(',').any(|other| other == word))
    };
    let missing = [
        ("PACKET_ACTION", lacks(&actions, "PACKET_ACTION")),
        ("DROP", lacks(&values, "DROP")),
        ("FORWARD", lacks(&values, "FORWARD")),
    ];
    match missing.iter().find(|(_, is_missing)| *is_missing) {
        None => Ok(()),
        Some((word, _)) => Err(BackendError::Unavailable(format!(
            "the switch says that its ingress ACLs do not have the action {word}"
        ))),
    }
}

/// What the contract calls it.
pub(super) fn backend_error(refusal: Refusal) -> BackendError {
    match refusal {
        Refusal::Unsupported { rule, reason } => BackendError::Refused { rule, reason },
        Refusal::Full(rules) => BackendError::NoRoom(rules),
    }
}

/// The error for entries that were written and are not in the ASIC.
fn failure(entries: &[Placed], statuses: &[Status]) -> Result<(), BackendError> {
    let of = |wanted: Status| {
        let pairs = entries.iter().zip(statuses);
        pairs.filter_map(move |(placed, status)| (*status == wanted).then_some(placed))
    };
    let key = |placed: &Placed| format!("{}|{}", table_name(placed.family), placed.name);
    if let Some(placed) = of(Status::Inactive).next() {
        return Err(BackendError::Refused {
            rule: placed.owner.rule(),
            reason: format!(
                "orchagent calls {} Inactive; the log of swss says why",
                key(placed)
            ),
        });
    }
    if of(Status::PendingCreation).any(|placed| placed.owner == Owner::Guard) {
        return Err(BackendError::Unavailable(
            "the switch has no room for entries that protect its own sessions".into(),
        ));
    }
    let mut without_room: BTreeMap<RuleId, String> = BTreeMap::new();
    for placed in of(Status::PendingCreation) {
        if let Some(id) = placed.owner.rule() {
            without_room.entry(id).or_insert_with(|| {
                format!(
                    "the ASIC has no room for {}, which is Pending creation",
                    key(placed)
                )
            });
        }
    }
    if !without_room.is_empty() {
        return Err(BackendError::NoRoom(without_room.into_iter().collect()));
    }
    let undecided = statuses.iter().zip(entries);
    let mut undecided = undecided.filter(|(status, _)| **status != Status::Active);
    match undecided.next() {
        None => Ok(()),
        Some((_, placed)) => Err(BackendError::Unavailable(format!(
            "orchagent has said nothing of {} and {} more; is swss running?",
            key(placed),
            undecided.count()
        ))),
    }
}

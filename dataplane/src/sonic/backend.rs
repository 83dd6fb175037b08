//! [`Sonic`]: the ACL tables of a switch as a [`Backend`].

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::database::Databases;
use super::document::{Dialect, Fields, Kind, Value, table_name, type_name};
use super::memo::Memos;
use super::model::{Model, Refusal, compile, guard_entries};
use super::options::Options;
use super::placed::{Content, Owner};
use super::running::{PIECE, Running};
use super::store;
use crate::backend::{Backend, BackendError, Capability, Counter, Culprit, Recovered, Unsupported};
use crate::desired::{Changes, Link, Settings};
use crate::rule::{Family, Rule, RuleId};
use crate::tcam::profile::Profile;

/// Most rules in one commit: each is an entry at least, so that more would not go in one piece.
const COMMIT_MAX: usize = PIECE;

/// ACL tables of a switch with SONiC.
pub struct Sonic {
    options: Options,
    memos: Option<Memos>,
    running: Option<Running>,
}

impl Sonic {
    /// A backend that owns nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            memos: None,
            running: None,
        }
    }

    fn running(&mut self) -> Result<&mut Running, BackendError> {
        self.running
            .as_mut()
            .ok_or_else(|| BackendError::Unavailable("not started".into()))
    }

    /// What is noted in the file, read once.
    fn memos(&mut self) -> Result<Memos, BackendError> {
        match self.memos.take() {
            Some(memos) => Ok(memos),
            None => Memos::open(&self.options.memo_file),
        }
    }
}

/// What an ACL rule of SONiC can express.
struct SonicCapability {
    dialect: Dialect,
    profile: Profile,
}

impl Capability for SonicCapability {
    fn check(&self, rule: &Rule) -> Result<(), Unsupported> {
        compile(rule, self.dialect, &self.profile).map(drop)
    }

    fn entries(&self, rule: &Rule) -> Option<usize> {
        let compiled = compile(rule, self.dialect, &self.profile);
        compiled.ok().map(|(entries, _)| entries.len())
    }

    fn commit_max(&self) -> usize {
        COMMIT_MAX
    }
}

impl Backend for Sonic {
    fn name(&self) -> &'static str {
        "sonic"
    }

    fn capability(&self) -> Arc<dyn Capability> {
        Arc::new(SonicCapability {
            dialect: Dialect::of(&self.options),
            profile: self.options.profile(),
        })
    }

    fn recover(&mut self) -> Result<Vec<Recovered>, BackendError> {
        let memos = self.memos()?;
        let mut databases = Databases::open(&self.options.database_config)?;
        let mut there = BTreeSet::new();
        for family in Family::ALL {
            let found = store::read_rules(self.options.mode, &mut databases, family)?;
            let owners = found.iter().map(|found| Owner::parse(&found.name).0);
            there.extend(owners.filter_map(Owner::rule));
        }
        let recovered = memos
            .all()
            .iter()
            .filter(|(id, _)| there.contains(id))
            .map(|(id, memo)| Recovered {
                id: *id,
                memo: memo.memo.clone(),
            })
            .collect();
        self.memos = Some(memos);
        Ok(recovered)
    }

    fn resume(
        &mut self,
        settings: &Settings,
        links: &[Link],
        rules: &[Arc<Rule>],
    ) -> Result<(), BackendError> {
        // What is running has the file open.
        self.running = None;
        let memos = self.memos()?;
        let running = Running::resume(&self.options, memos, settings, links, rules)?;
        self.running = Some(running);
        Ok(())
    }

    fn reconfigure(&mut self, settings: &Settings, links: &[Link]) -> Result<(), BackendError> {
        self.running()?.reconfigure(settings, links)
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), BackendError> {
        self.running()?.commit(changes)
    }

    fn counters(&mut self) -> Result<Vec<(RuleId, Counter)>, BackendError> {
        let running = self.running()?;
        let placed: Vec<_> = running.model.placed().cloned().collect();
        running.read_counters(&placed)?;
        let ledger = &running.ledger;
        let rules = running.model.rules();
        Ok(rules
            .map(|held| {
                let id = held.rule.id;
                (id, ledger.total(id, held.placed.iter()))
            })
            .collect())
    }

    fn impaired(&mut self) -> Vec<(RuleId, String)> {
        self.running.as_ref().map_or(Vec::new(), Running::impaired)
    }

    fn audit(&mut self) -> Result<Option<Culprit>, BackendError> {
        self.running()?.audit()
    }

    fn render(&self, settings: &Settings, rules: &[Arc<Rule>]) -> String {
        let (links, bound) = match &self.running {
            Some(running) => (&running.links[..], running.bound()),
            None => (&[][..], Vec::new()),
        };
        match render(&self.options, settings, links, &bound, rules) {
            Ok(text) => text,
            Err(error) => format!("# {error}\n"),
        }
    }

    fn without_room(&self, settings: &Settings, rules: &[Arc<Rule>]) -> Vec<(RuleId, String)> {
        let dialect = Dialect::of(&self.options);
        let guards = guard_entries(settings, &[], dialect, &self.options.profile());
        let planned = guards.and_then(|guards| {
            Model::plan_from(&self.options, 0, Vec::new(), rules, guards).map(drop)
        });
        match planned {
            Err(Refusal::Full(rules)) => rules,
            Ok(()) | Err(Refusal::Unsupported { .. }) => Vec::new(),
        }
    }

    fn describe(&mut self) -> Result<Vec<(String, String)>, BackendError> {
        let options = self.options.clone();
        let running = self.running()?;
        let entries = |family| {
            let table = running.model.table(family);
            let own = table.placed().count() - table.guards().len();
            format!("{own} of rules, {} of guards", table.guards().len())
        };
        let (used, limit) = running.model.range_checkers();
        let checkers = match limit {
            Some(limit) => format!("{used} of {limit}"),
            None => used.to_string(),
        };
        let bound = running.bound();
        let facts = [
            ("database", options.mode.name().to_string()),
            ("release", options.release.to_string()),
            ("asic", options.asic.name().to_string()),
            ("rules", running.model.rules().count().to_string()),
            ("entries in FLOWACL_V4", entries(Family::Ipv4)),
            ("entries in FLOWACL_V6", entries(Family::Ipv6)),
            (
                "not confirmed by the switch",
                running.unconfirmed.len().to_string(),
            ),
            ("range checkers", checkers),
            (
                "bound to",
                match bound.is_empty() {
                    true => "nothing".into(),
                    false => bound.join(", "),
                },
            ),
            ("room of ACL tables", running.room()?),
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
        let Some(running) = &self.running else {
            return Vec::new();
        };
        let groups = running.dialect.binds_groups();
        let mut warnings = running.ports.warnings(&running.settings.interfaces, groups);
        warnings.extend(running.out_of_force.values().cloned());
        let of_guards = running.model.placed().filter(|placed| {
            let name = (placed.family, placed.name.clone());
            placed.owner == Owner::Guard && running.unconfirmed.contains_key(&name)
        });
        let of_guards = of_guards.count();
        if of_guards > 0 {
            warnings.push(format!(
                "{of_guards} entries that protect sessions are not confirmed by the switch"
            ));
        }
        if !running.lingering.is_empty() {
            warnings.push(format!(
                "{} entries were deleted and are still in the ASIC",
                running.lingering.len()
            ));
        }
        warnings
    }

    fn stop(&mut self) -> Result<(), BackendError> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        running.remove_tables(&Family::ALL)?;
        running.memos.remove()
    }
}

impl Running {
    /// Entries used and free in each ACL table of the switch, as its resource monitor last counted them.
    fn room(&mut self) -> Result<String, BackendError> {
        let counters = &mut self.databases.counters;
        let mut keys = store::scan(counters, "CRM:ACL_TABLE_STATS:*")?;
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            return Ok("not known yet".into());
        }
        let mut commands = redis::Pipeline::with_capacity(keys.len());
        for key in &keys {
            commands
                .cmd("HMGET")
                .arg(key)
                .arg(&["crm_stats_acl_entry_used", "crm_stats_acl_entry_available"]);
        }
        let read: Vec<[Option<String>; 2]> = counters.query(&commands)?;
        let tables = keys.iter().zip(read).map(|(key, [used, available])| {
            let object = key.rsplit(':').next().unwrap_or_default();
            let number = |text: Option<String>| text.unwrap_or_else(|| "?".into());
            format!(
                "{object}: {} used, {} free",
                number(used),
                number(available)
            )
        });
        Ok(tables.collect::<Vec<_>>().join("; "))
    }
}

/// The documents for these rules alone, in the form of `config_db.json`.
fn render(
    options: &Options,
    settings: &Settings,
    links: &[Link],
    bound: &[String],
    rules: &[Arc<Rule>],
) -> Result<String, BackendError> {
    let dialect = Dialect::of(options);
    let profile = options.profile();
    let guards =
        guard_entries(settings, links, dialect, &profile).map_err(super::running::backend_error)?;
    let found = Vec::new();
    let (model, _) = Model::plan_from(options, 0, found, rules, guards)
        .map_err(super::running::backend_error)?;
    let mut documents = Map::new();
    let mut add = |kind: Kind, key: String, fields: &Fields| {
        let of_kind = documents
            .entry(kind.name())
            .or_insert_with(|| Json::Object(Map::new()));
        if let Json::Object(of_kind) = of_kind {
            of_kind.insert(key, json(fields));
        }
    };
    for family in Family::ALL {
        let (table, table_type) = (table_name(family), type_name(options.mode, family));
        add(
            Kind::TableType,
            table_type.into(),
            &dialect.table_type(family),
        );
        add(Kind::Table, table.into(), &dialect.table(family, bound));
        for placed in model.table(family).placed() {
            if let Content::Entry(entry, verdict) = &placed.content {
                let key = format!("{table}|{}", placed.name);
                add(
                    Kind::Rule,
                    key,
                    &dialect.rule(entry, *verdict, placed.priority),
                );
            }
        }
    }
    let text = serde_json::to_string_pretty(&Json::Object(documents));
    Ok(text.expect("text and lists can be written") + "\n")
}

/// Fields as JSON.
fn json(fields: &Fields) -> Json {
    let value = |value: &Value| match value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(words) => Json::from(words.clone()),
    };
    let pairs = fields.iter();
    Json::Object(
        pairs
            .map(|(name, of)| ((*name).to_string(), value(of)))
            .collect(),
    )
}

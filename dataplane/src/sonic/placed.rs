//! One entry in its place: its name, its priority and what it does. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::document::{Dialect, Verdict, encode};
use crate::rule::{Family, RuleId};
use crate::tcam::Entry;

/// Whose entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A guard's.
    Guard,
    /// A rule's.
    Rule(RuleId),
    /// Nobody knows: somebody else wrote it into our table.
    Stranger,
}

impl Owner {
    /// `R45_7` for an entry of rule 45; a number is never used twice in a table.
    pub fn name(self, number: u64) -> Arc<str> {
        match self {
            Owner::Guard => format!("GUARD_{number}"),
            Owner::Rule(RuleId(id)) => format!("R{id}_{number}"),
            Owner::Stranger => format!("STRANGER_{number}"),
        }
        .into()
    }

    /// The owner and the number in a name.
    pub fn parse(name: &str) -> (Self, u64) {
        let parsed = || {
            let (owner, number) = name.split_once('_')?;
            let number = number.parse().ok()?;
            let owner = match owner {
                "GUARD" => Owner::Guard,
                rule => Owner::Rule(RuleId(rule.strip_prefix('R')?.parse().ok()?)),
            };
            Some((owner, number))
        };
        parsed().unwrap_or((Owner::Stranger, 0))
    }

    /// The rule.
    pub fn rule(self) -> Option<RuleId> {
        match self {
            Owner::Rule(id) => Some(id),
            Owner::Guard | Owner::Stranger => None,
        }
    }
}

/// A document that was found in one of our tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The table.
    pub family: Family,
    /// Its name.
    pub name: Arc<str>,
    /// Its fields.
    pub fields: BTreeMap<String, String>,
}

/// An entry in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// The table.
    pub family: Family,
    /// Names it in the table.
    pub name: Arc<str>,
    /// Whose it is.
    pub owner: Owner,
    /// The greater one wins.
    pub priority: u32,
    /// What it does.
    pub content: Content,
}

/// What an entry tests and does.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Of our making.
    Entry(Arc<Entry>, Verdict),
    /// As it was found in the database, where it is not to stay.
    Found(Arc<BTreeMap<String, String>>),
}

impl Placed {
    /// What was found in a table and is not to stay.
    pub fn found(found: Found) -> Self {
        let priority = found.fields.get("PRIORITY");
        Self {
            family: found.family,
            owner: Owner::parse(&found.name).0,
            name: found.name,
            priority: priority.and_then(|text| text.parse().ok()).unwrap_or(0),
            content: Content::Found(Arc::new(found.fields)),
        }
    }

    /// An entry of which nothing but the name matters.
    pub fn named(family: Family, name: &Arc<str>) -> Self {
        Self::found(Found {
            family,
            name: name.clone(),
            fields: BTreeMap::new(),
        })
    }

    /// The fields of its document.
    pub fn fields(&self, dialect: Dialect) -> BTreeMap<String, String> {
        match &self.content {
            Content::Entry(entry, verdict) => {
                encode(dialect.mode, &dialect.rule(entry, *verdict, self.priority))
            }
            Content::Found(fields) => (**fields).clone(),
        }
    }

    /// What becomes of packets that pass its tests, where that is known.
    pub fn verdict(&self) -> Option<Verdict> {
        match self.content {
            Content::Entry(_, verdict) => Some(verdict),
            Content::Found(_) => None,
        }
    }

    /// True when one of them must not be without the other: they say different things about some packet.
    pub fn conflicts(&self, other: &Placed) -> bool {
        match (&self.content, &other.content) {
            (Content::Entry(a, verdict), Content::Entry(b, other)) => {
                verdict != other && a.overlaps(b)
            }
            (Content::Found(_), _) | (_, Content::Found(_)) => true,
        }
    }
}

//! Limits for each source: tables of token buckets that grow with the packets that come. Pure.
//!
//! A table is a set whose elements packets add: source prefixes, each with a token bucket. An element that has not been
//! used for as long as its bucket takes to be full is forgotten, which changes nothing for its source; a packet that is
//! dropped uses it, too. When the table is full, further sources share one bucket:
//!
//! ```text
//! set r17_bytes_per_24 { … limit rate 1000 bytes/second burst 64535 bytes; timeout 1m7s }
//! chain r17_bytes_per_24 {
//!     update @r17_bytes_per_24 { ip saddr & 255.255.255.0 } return
//!     ip saddr & 255.255.255.0 != @r17_bytes_per_24 limit name "r17_bytes_per_24_others" return
//!     drop
//! }
//! ```
//!
//! The first rule does not apply to sources over their limit, nor to those that find no room. Whether a source is there
//! can be asked by `!=` only: a lookup that finds an element charges its bucket once more. A source that another
//! processor adds between the first rule and the second loses this one packet; if the rules said what to drop it would
//! pass without being charged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use netlink_packet_core::NLM_F_CREATE;

use super::compile::buckets;
use super::expression::Verdict;
use super::field::Field;
use super::key::Key;
use super::limit::{Bucket, Enforcement};
use super::message::{Attributes, Kind, Message};
use super::object::{
    NFT_BIG_ENDIAN, NamedObject, NftRule, ObjectBody, byte_order_userdata, comment_userdata,
    versioned,
};
use super::statement::Statement;
use crate::desired::Changes;
use crate::label::Label;
use crate::rule::{Family, OrderKey, Rule, RuleId, SourceLimit};

/// `NFT_SET_TIMEOUT`.
const TIMEOUT: u32 = 0x10;
/// `NFT_SET_EVAL`: packets change the set.
pub(super) const EVALUATED: u32 = 0x20;

/// A table of token buckets, one for each source that a rule has met lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SourceTable {
    /// Which packets.
    pub(super) family: Family,
    /// Leading bits of an address that make it another source.
    pub(super) prefix_length: u8,
    /// The most sources that have a bucket.
    pub(super) size: u32,
    /// What each begins with.
    pub(super) bucket: Bucket,
}

/// The tables that a rule needs; none when it drops everything.
pub(super) fn source_tables(rule: &Rule) -> Vec<SourceTable> {
    let table = |limit: &SourceLimit| match Enforcement::of(&limit.limit) {
        Enforcement::Bucket(bucket) => Some(SourceTable {
            family: rule.family,
            prefix_length: limit.prefix_length,
            size: limit.max_sources,
            bucket,
        }),
        Enforcement::Nothing | Enforcement::Everything => None,
    };
    if buckets(&rule.action).is_none() {
        return Vec::new();
    }
    let limits = rule.action.source_limits().iter();
    limits.filter_map(table).collect()
}

/// How many sources the tables of a rule may hold.
pub(super) fn sources_of(rule: &Rule) -> u64 {
    let tables = source_tables(rule).into_iter();
    tables.map(|table| u64::from(table.size)).sum()
}

impl SourceTable {
    /// What it is looked up by.
    fn key(&self) -> Key {
        Key::prefixes(&[(Field::Source(self.family), self.prefix_length)])
    }

    /// How long a source is remembered behind its last packet. The kernel counts in ticks of its clock, the second more
    /// is for the one that has begun.
    pub(super) fn timeout_secs(&self) -> u64 {
        self.bucket.refill_secs().saturating_add(1)
    }

    /// The same in milliseconds.
    pub(super) fn timeout_ms(&self) -> u64 {
        self.timeout_secs().saturating_mul(1000)
    }

    /// The name of the table of a rule.
    pub(super) fn name(&self, rule: RuleId, version: u32) -> String {
        let (unit, length) = (self.bucket.measures.name(), self.prefix_length);
        versioned(format!("{rule}_{unit}_{PER}_{length}"), version)
    }

    /// The message that creates it; `id` is unique in the transaction.
    pub(super) fn create(&self, name: &str, label: &Label, id: u32) -> Message {
        let key = self.key();
        let width = u32::try_from(key.width()).expect("an address has at most 16 octets");
        let limit = Attributes::new()
            .string(1, "limit")
            .nested(2, self.bucket.attributes(false));
        let mut userdata = byte_order_userdata(NFT_BIG_ENDIAN);
        userdata.extend(comment_userdata(SET_COMMENT, &label.subject()));
        let attributes = Attributes::of_table()
            .string(2, name)
            .u32(3, TIMEOUT | EVALUATED)
            .u32(4, key.data_type())
            .u32(5, width)
            .nested(9, Attributes::new().u32(1, self.size))
            .u32(10, id)
            .u64(11, self.timeout_ms())
            .bytes(13, &userdata)
            .nested(17, limit);
        Message::new(Kind::NewSet, NLM_F_CREATE, attributes)
    }

    /// As nft shows it, but for its name and comment.
    pub(super) fn write_body(&self, f: &mut String, comment: &str) -> fmt::Result {
        writeln!(f, "\t\t{}", self.key().type_text())?;
        writeln!(f, "\t\tsize {}", self.size)?;
        writeln!(f, "\t\tflags dynamic,timeout")?;
        writeln!(f, "\t\ttimeout {}s", self.timeout_secs())?;
        writeln!(f, "\t\tcomment \"{comment}\"")?;
        writeln!(f, "\t\tlimit rate {}", self.bucket)
    }
}

/// Stands in names of tables before the prefix length.
const PER: &str = "per";
/// `NFTNL_UDATA_SET_COMMENT`.
const SET_COMMENT: u8 = 7;

/// Prefix length that the name of a table tells: `r17_bytes_per_24` or `r17_bytes_per_24_2`.
pub(super) fn prefix_length_in(name: &str) -> Option<u8> {
    let mut words = name.split('_').skip(2);
    let is_table = words.next()? == PER;
    words.next()?.parse().ok().filter(|_| is_table)
}

/// A table of a rule, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceLimiter {
    /// The name of the set, and of the chain that limits packets by it.
    pub(super) name: String,
    /// The version in the name.
    pub(super) version: u32,
    /// What it is.
    pub(super) table: SourceTable,
}

impl SourceLimiter {
    /// The table with this version in its name.
    pub(super) fn new(rule: RuleId, table: SourceTable, version: u32) -> Self {
        Self {
            name: table.name(rule, version),
            version,
            table,
        }
    }

    /// The table, and the limit of sources that find no room in it.
    pub(super) fn objects(&self) -> [NamedObject; 2] {
        [
            NamedObject {
                name: self.name.clone(),
                body: ObjectBody::Sources(self.table),
            },
            NamedObject {
                name: self.others(),
                body: ObjectBody::Allowance(self.table.bucket),
            },
        ]
    }

    /// The name of the limit that further sources share.
    fn others(&self) -> String {
        format!("{}_others", self.name)
    }

    /// The chain that drops packets over the limit of their source, and comes back with others.
    pub(super) fn chain(&self, rule: &Rule) -> Vec<NftRule> {
        // The chain stays as long as the table, also when the rule comes to do something else.
        let comment = rule.label.subject();
        let nft_rule = |statements: Vec<Statement>| NftRule {
            statements,
            comment: Some(comment.as_str().into()),
            rule: Some(rule.id),
        };
        let family = || Statement::Family(self.table.family);
        let (key, set) = (self.table.key(), self.name.clone());
        vec![
            nft_rule(vec![
                family(),
                Statement::Update(key.clone(), set.clone()),
                Statement::Verdict(Verdict::Return),
            ]),
            nft_rule(vec![
                family(),
                Statement::NotIn(key, set),
                Statement::Limit(self.others()),
                Statement::Verdict(Verdict::Return),
            ]),
            nft_rule(vec![Statement::Verdict(Verdict::Drop)]),
        ]
    }
}

/// The message that deletes elements of a table.
pub(super) fn forget_sources(table: &str, keys: &[Vec<u8>]) -> Message {
    let list = keys.iter().fold(Attributes::new(), |list, key| {
        let key = Attributes::new().nested(1, Attributes::new().bytes(1, key));
        list.nested(1, key)
    });
    let attributes = Attributes::of_table().string(2, table).nested(3, list);
    Message::new(Kind::DelSetElem, 0, attributes)
}

/// Those of the rules to be put for whose sources there is no room, and why: the newest.
///
/// `installed`: how many sources the installed rules may have, for each place that has any. `max`: how many all may
/// have. A rule that asks for no more than before keeps its room.
pub(super) fn without_room(
    installed: &BTreeMap<(Family, OrderKey), (RuleId, u64)>,
    changes: &Changes,
    max: u32,
) -> Vec<(RuleId, String)> {
    let wanted = changes.put.iter().map(|rule| (rule.id, sources_of(rule)));
    let mut wanted: Vec<(RuleId, u64)> = wanted.filter(|(_, sources)| *sources > 0).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let before: BTreeMap<RuleId, u64> = installed.values().copied().collect();
    let put = changes.put.iter();
    let places: BTreeSet<_> = put
        .clone()
        .map(|rule| (rule.family, rule.order.clone()))
        .chain(changes.remove.iter().cloned())
        .collect();
    let ids: BTreeSet<RuleId> = put.map(|rule| rule.id).collect();
    let stays = |(place, (id, _)): &(&(Family, OrderKey), &(RuleId, u64))| {
        !places.contains(*place) && !ids.contains(id)
    };
    let staying = installed.iter().filter(stays);
    let mut used: u64 = staying.map(|(_, (_, sources))| *sources).sum();
    let keeps = |(id, sources): &(RuleId, u64)| before.get(id).is_some_and(|had| had >= sources);
    wanted.sort_by_key(|rule| (!keeps(rule), rule.0));
    let mut refused = Vec::new();
    for rule in wanted {
        let (id, sources) = rule;
        let left = u64::from(max).saturating_sub(used);
        if keeps(&rule) || sources <= left {
            used += sources;
        } else {
            let reason = format!(
                "rate-limit for each source: it may have {sources} sources, and {left} of \
                 dataplane.max_sources = {max} are left"
            );
            refused.push((id, reason));
        }
    }
    refused
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;

//! What is read from the kernel: counters, what the table holds, and facts about the ruleset.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::expression::ObjectKind;
use super::installed::KnownObjects;
use super::layout::number_of;
use super::limit::Bucket;
use super::message::{
    Attributes, FAMILY_ANY, FAMILY_INET, Kind, Message, TABLE, attributes_of, find_attribute,
    find_string, find_u32, find_u64,
};
use super::object::{CHAIN_TYPE, Hook, ObjectBody, PRIORITY, USERDATA_MEMO};
use super::sources::{EVALUATED, SourceTable, prefix_length_in};
use super::transport::Transport;
use crate::backend::{BackendError, Counter, Recovered};
use crate::routing::MarksInUse;
use crate::rule::{Family, LimitUnit, RuleId};

/// `NFT_SET_ANONYMOUS`.
const ANONYMOUS: u32 = 1;

/// The counters of rules; those that are not there are left out. Asked for one by one: a dump of all
/// takes time that grows with the square of their number.
pub(super) fn counters(
    transport: &mut Transport,
    rules: &[RuleId],
) -> Result<Vec<(RuleId, Counter)>, BackendError> {
    let request = |rule: &RuleId| {
        let attributes = Attributes::of_table()
            .string(2, &rule.to_string())
            .u32(3, ObjectKind::Counter as u32);
        Message::new(Kind::GetObject, 0, attributes)
    };
    let mut counters = Vec::with_capacity(rules.len());
    transport.get_each(rules.iter().map(request), |index, object| {
        counters.extend(parse_counter(object).map(|counter| (rules[index], counter)));
    })?;
    Ok(counters)
}

/// The value of a counter object; `None` for what is not one.
fn parse_counter(object: &[u8]) -> Option<Counter> {
    let data = find_attribute(object, 4)?;
    Some(Counter {
        bytes: find_u64(data, 1)?,
        packets: find_u64(data, 2)?,
    })
}

/// What a chain is that we have found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChainKind {
    /// Others jump to it.
    Regular,
    /// A base chain as we make them.
    Base(Hook),
    /// A base chain as we do not make them.
    Foreign,
}

impl ChainKind {
    /// What a chain with this hook is.
    pub(super) fn of(hook: Option<&Hook>) -> Self {
        hook.map_or(Self::Regular, |hook| Self::Base(hook.clone()))
    }
}

/// What our table holds, by name.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Chains.
    pub(super) chains: BTreeMap<String, ChainKind>,
    /// Sets and maps that have a name of their own, but for those that packets change.
    pub(super) sets: BTreeSet<String>,
    /// Counters, limits, and sets that packets change; what is neither, or not as we make them, has no body.
    pub(super) objects: BTreeMap<String, FoundObject>,
    /// Pieces of memos by rule, version and number.
    memos: BTreeMap<RuleId, BTreeMap<(u32, usize), Vec<u8>>>,
}

/// The kernel's kind of an object (`None`: a set), and what it is.
pub(super) type FoundObject = (Option<u32>, Option<ObjectBody>);

impl Contents {
    /// The least number that no map has.
    pub(super) fn free_number(&self) -> u64 {
        let numbers = self.sets.iter().filter_map(|set| number_of(set));
        numbers.max().map_or(1, |last| last.saturating_add(1))
    }

    /// The objects that rules may take over.
    pub(super) fn known(&self) -> KnownObjects {
        let body = |(name, (_, body)): (&String, &FoundObject)| Some((name.clone(), (*body)?));
        let newest = |(id, pieces): (&RuleId, &BTreeMap<(u32, usize), Vec<u8>>)| {
            let version = pieces.keys().map(|(version, _)| *version).max()?;
            let of_version = pieces.range((version, 0)..).flat_map(|(_, octets)| octets);
            Some((*id, (version, of_version.copied().collect())))
        };
        KnownObjects {
            bodies: self.objects.iter().filter_map(body).collect(),
            memos: self.memos.iter().filter_map(newest).collect(),
            marks: MarksInUse::default(),
        }
    }
}

/// Reads what our table holds. A table that does not exist holds nothing.
pub(super) fn contents(transport: &mut Transport) -> Result<Contents, BackendError> {
    let ask = |kind| Message::new(kind, 0, Attributes::of_table());
    let of_us = |object: &[u8]| find_string(object, 1) == Some(TABLE);
    let chains = transport.dump(
        &ask(Kind::GetChain),
        |chains: &mut BTreeMap<String, ChainKind>, chain| {
            let name = find_string(chain, 3).filter(|_| of_us(chain));
            chains.extend(name.map(|name| (name.into(), parse_chain(chain))));
        },
    )?;
    type Sets = (BTreeSet<String>, BTreeMap<String, FoundObject>);
    let sets = transport.dump(&ask(Kind::GetSet), |(names, tables): &mut Sets, set| {
        let flags = find_u32(set, 3).unwrap_or(0);
        let Some(name) = find_string(set, 2).filter(|_| of_us(set)) else {
            return;
        };
        if flags & EVALUATED != 0 {
            let body = parse_table(name, set).map(ObjectBody::Sources);
            tables.insert(name.into(), (None, body));
        } else if flags & ANONYMOUS == 0 {
            names.insert(name.into());
        }
    })?;
    let (sets, mut objects) = sets;
    let contents = transport.dump(&ask(Kind::GetObject), |contents: &mut Contents, object| {
        if of_us(object) {
            contents.objects.extend(parse_object(object));
            if let Some((id, version, piece)) = find_string(object, 2).and_then(parse_counter_name)
            {
                let memo = find_attribute(object, 8)
                    .and_then(memo_of)
                    .unwrap_or_default();
                let pieces = contents.memos.entry(id).or_default();
                pieces.insert((version, piece), memo.to_vec());
            }
        }
    })?;
    objects.extend(contents.objects);
    Ok(Contents {
        chains,
        sets,
        objects,
        memos: contents.memos,
    })
}

/// What a chain is.
fn parse_chain(chain: &[u8]) -> ChainKind {
    match find_attribute(chain, 4) {
        None => ChainKind::Regular,
        Some(_) if find_string(chain, 7) != Some(CHAIN_TYPE) => ChainKind::Foreign,
        Some(hook) => parse_hook(hook).map_or(ChainKind::Foreign, ChainKind::Base),
    }
}

/// A hook as our base chains have them.
fn parse_hook(hook: &[u8]) -> Option<Hook> {
    if find_attribute(hook, 2)? != PRIORITY.to_be_bytes() {
        return None;
    }
    let devices = || -> Option<Vec<String>> {
        let names = attributes_of(find_attribute(hook, 4)?).into_iter();
        names
            .map(|name| Some(CStr::from_bytes_with_nul(name).ok()?.to_str().ok()?.into()))
            .collect()
    };
    match find_u32(hook, 1)? {
        0 => Some(Hook::Prerouting),
        5 => Some(Hook::Ingress(devices()?)),
        _ => None,
    }
}

/// Name, kind and body of an object.
fn parse_object(object: &[u8]) -> Option<(String, FoundObject)> {
    let name = find_string(object, 2)?.to_string();
    let kind = find_u32(object, 3)?;
    let data = find_attribute(object, 4);
    let body = if kind == ObjectKind::Counter as u32 {
        match name
            .split_once("_memo_")
            .and_then(|(_, rest)| rest.split_once('_'))
        {
            Some((_, piece)) => piece.parse().ok().map(ObjectBody::Memo),
            None => Some(ObjectBody::Counter),
        }
    } else if kind == ObjectKind::Limit as u32 {
        let over = data.and_then(|data| parse_bucket(data, true));
        let within = data.and_then(|data| parse_bucket(data, false));
        let within = within.map(ObjectBody::Allowance);
        over.map(ObjectBody::Limit).or(within)
    } else {
        None
    };
    Some((name, (Some(kind), body)))
}

/// A table of token buckets as we make them.
fn parse_table(name: &str, set: &[u8]) -> Option<SourceTable> {
    let expression = find_attribute(set, 17)?;
    let limit =
        find_attribute(expression, 2).filter(|_| find_string(expression, 1) == Some("limit"));
    let family = match find_u32(set, 5)? {
        4 => Family::Ipv4,
        16 => Family::Ipv6,
        _ => return None,
    };
    let table = SourceTable {
        family,
        prefix_length: prefix_length_in(name)?,
        size: find_u32(find_attribute(set, 9)?, 1)?,
        bucket: parse_bucket(limit?, false)?,
    };
    (find_u64(set, 11)? == table.timeout_ms()).then_some(table)
}

/// A limit as we make them. `over`: what is over the rate goes on, not what is within.
fn parse_bucket(data: &[u8], over: bool) -> Option<Bucket> {
    let is_over = find_u32(data, 5)? & 1 == 1;
    (is_over == over).then_some(Bucket {
        measures: match find_u32(data, 4)? {
            0 => LimitUnit::Packets,
            _ => LimitUnit::Bytes,
        },
        rate: find_u64(data, 1)?,
        unit_secs: find_u64(data, 2)?,
        burst: find_u32(data, 3)?,
    })
}

/// The rules whose counters our table has, in the order of their ids.
pub(super) fn recovered(transport: &mut Transport) -> Result<Vec<Recovered>, BackendError> {
    let memos = contents(transport)?.known().memos.into_iter();
    Ok(memos
        .map(|(id, (_, memo))| Recovered { id, memo })
        .collect())
}

/// Id, version and piece of what a counter's name says: `r17` or `r17_memo_2_0`.
fn parse_counter_name(name: &str) -> Option<(RuleId, u32, usize)> {
    let (id, rest) = name.strip_prefix('r')?.split_once('_').map_or_else(
        || (name.strip_prefix('r').unwrap_or_default(), None),
        |(id, rest)| (id, Some(rest)),
    );
    let id = RuleId(id.parse().ok()?);
    let Some(rest) = rest else {
        return Some((id, 0, 0));
    };
    let (version, piece) = rest.strip_prefix("memo_")?.split_once('_')?;
    Some((id, version.parse().ok()?, piece.parse().ok()?))
}

/// The memo in an object's user data: a list of kind, length and value.
fn memo_of(userdata: &[u8]) -> Option<&[u8]> {
    let mut rest = userdata;
    while let [kind, length, after @ ..] = rest {
        let (value, next) = after.split_at_checked(usize::from(*length))?;
        if *kind == USERDATA_MEMO {
            return Some(value);
        }
        rest = next;
    }
    None
}

/// A digest of all that packets meet in our table but for named sets and objects: flags of the
/// table, hooks and policies of chains, and rules in their order.
pub(super) fn digest(transport: &mut Transport) -> Result<u64, BackendError> {
    digest_of(transport, FAMILY_INET)
}

/// The same of our table of another family (`NFPROTO_*`).
pub(super) fn digest_of(transport: &mut Transport, family: u8) -> Result<u64, BackendError> {
    let ask = |kind| Message::new(kind, 0, Attributes::of_table()).of_family(family);
    let of_us = |object: &[u8]| find_string(object, 1) == Some(TABLE);
    let mut digest = DefaultHasher::new();
    let table = transport.get(&ask(Kind::GetTable))?;
    table
        .and_then(|table| find_u32(&table, 2))
        .hash(&mut digest);
    let chains = transport.dump(&ask(Kind::GetChain), |chains: &mut Vec<u64>, chain| {
        if of_us(chain) {
            let mut digest = DefaultHasher::new();
            let hook = find_attribute(chain, 4);
            let place = hook.map(|hook| (find_u32(hook, 1), find_u32(hook, 2)));
            (find_string(chain, 3), place, find_u32(chain, 5)).hash(&mut digest);
            chains.push(digest.finish());
        }
    })?;
    let rules = transport.dump(&ask(Kind::GetRule), |rules: &mut Vec<u64>, rule| {
        if of_us(rule) {
            let mut digest = DefaultHasher::new();
            (
                find_string(rule, 2),
                find_attribute(rule, 4),
                find_attribute(rule, 7),
            )
                .hash(&mut digest);
            rules.push(digest.finish());
        }
    })?;
    (chains, rules).hash(&mut digest);
    Ok(digest.finish())
}

/// An element of the kernel: octets of its key, and the name of what it maps to.
type FoundElement = (Vec<u8>, Option<String>);

/// The elements of a named set: octets of the key, and the object or chain that it maps to.
pub(super) fn elements(
    transport: &mut Transport,
    set: &str,
) -> Result<BTreeSet<FoundElement>, BackendError> {
    let request = Message::new(Kind::GetSetElem, 0, Attributes::of_table().string(2, set));
    transport.dump(&request, |elements: &mut BTreeSet<_>, reply| {
        for element in find_attribute(reply, 3).into_iter().flat_map(attributes_of) {
            let key = find_attribute(element, 1).and_then(|key| find_attribute(key, 1));
            let verdict = find_attribute(element, 2).and_then(|data| find_attribute(data, 2));
            let chain = verdict.and_then(|verdict| find_string(verdict, 2));
            let target = find_string(element, 9).or(chain).map(String::from);
            elements.extend(key.map(|key| (key.to_vec(), target)));
        }
    })
}

/// The keys of elements of a table of token buckets that are not as packets add them.
pub(super) fn foreign_sources(
    transport: &mut Transport,
    name: &str,
    table: &SourceTable,
) -> Result<Vec<Vec<u8>>, BackendError> {
    let request = Message::new(Kind::GetSetElem, 0, Attributes::of_table().string(2, name));
    transport.dump(&request, |foreign: &mut Vec<Vec<u8>>, reply| {
        for element in find_attribute(reply, 3).into_iter().flat_map(attributes_of) {
            let limit = find_attribute(element, 7).and_then(|limit| find_attribute(limit, 2));
            let bucket = limit.and_then(|limit| parse_bucket(limit, false));
            // Some kernels tell it also when it is that of the set.
            let timeout = find_u64(element, 4).unwrap_or(table.timeout_ms());
            if bucket != Some(table.bucket) || timeout != table.timeout_ms() {
                let key = find_attribute(element, 1).and_then(|key| find_attribute(key, 1));
                foreign.extend(key.map(<[u8]>::to_vec));
            }
        }
    })
}

/// The elements of a map from values to values in our table of a family (`NFPROTO_*`).
pub(super) fn values(
    transport: &mut Transport,
    family: u8,
    map: &str,
) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, BackendError> {
    let request = Message::new(Kind::GetSetElem, 0, Attributes::of_table().string(2, map));
    let request = request.of_family(family);
    transport.dump(&request, |values: &mut BTreeMap<_, _>, reply| {
        for element in find_attribute(reply, 3).into_iter().flat_map(attributes_of) {
            let value = |kind| find_attribute(find_attribute(element, kind)?, 1);
            values.extend(
                value(1)
                    .zip(value(2))
                    .map(|(k, v)| (k.to_vec(), v.to_vec())),
            );
        }
    })
}

/// Names of the flowtables in all tables of the machine: `table flowtable`.
pub(super) fn flowtables(transport: &mut Transport) -> Result<Vec<String>, BackendError> {
    let request = Message::new(Kind::GetFlowtable, 0, Attributes::new()).of_family(FAMILY_ANY);
    transport.dump(&request, |names: &mut Vec<String>, object| {
        let (table, name) = (find_string(object, 1), find_string(object, 2));
        names.extend(
            table
                .zip(name)
                .map(|(table, name)| format!("{table} {name}")),
        );
    })
}

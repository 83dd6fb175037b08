use std::sync::Arc;

use super::*;
use crate::rule::{Action, Limit, LimitUnit, Match, RareActions};

/// A rule that limits each of so many sources; its place is its id.
fn rule(id: u8, max_sources: u32) -> Arc<Rule> {
    let limit = Limit {
        unit: LimitUnit::Bytes,
        rate_per_sec: 1000.0,
    };
    let of_sources = SourceLimit {
        limit,
        prefix_length: 24,
        max_sources,
    };
    Arc::new(Rule {
        id: RuleId(u64::from(id)),
        family: Family::Ipv4,
        order: [id].into(),
        tier: [id].into(),
        label: "test".into(),
        matches: Match::default(),
        action: Action {
            rare: RareActions {
                source_limits: vec![of_sources; usize::from(max_sources > 0)],
                ..RareActions::default()
            }
            .into(),
            ..Action::default()
        },
    })
}

#[test]
fn names_tell_versions_and_prefix_lengths() {
    let [table] = source_tables(&rule(17, 4096))[..] else {
        panic!("one table")
    };
    let rows = [(1, "r17_bytes_per_24"), (2, "r17_bytes_per_24_2")];
    for (version, name) in rows {
        assert_eq!(table.name(RuleId(17), version), name);
        assert_eq!(prefix_length_in(name), Some(24));
    }
    for name in [
        "r17_bytes",
        "r17_bytes_2",
        "r17_bytes_of_24",
        "r17_bytes_per_x",
    ] {
        assert_eq!(prefix_length_in(name), None, "{name}");
    }
}

#[test]
fn sources_are_remembered_until_their_buckets_are_full() {
    use LimitUnit::{Bytes, Packets};
    let rows = [
        (Bytes, 1000.0, 67),
        (Bytes, 1e6, 2),
        (Bytes, 0.5, 131_071),
        (Packets, 10.0, 2),
        (Packets, 1.0, 6),
        (Packets, 1e5, 2),
        (Packets, 1.0 / 604_800.0, 3_024_001),
    ];
    for (unit, rate_per_sec, secs) in rows {
        let limit = Limit { unit, rate_per_sec };
        let Enforcement::Bucket(bucket) = Enforcement::of(&limit) else {
            panic!("{limit:?}")
        };
        let table = SourceTable {
            family: Family::Ipv6,
            prefix_length: 64,
            size: 4096,
            bucket,
        };
        assert_eq!(table.timeout_secs(), secs, "{limit:?}");
    }
}

#[test]
fn the_newest_rules_find_no_room() {
    // Sources of installed rules, those of rules to be put, rules to be removed, rules refused.
    type Row<'a> = (
        &'a str,
        &'a [(u8, u32)],
        &'a [(u8, u32)],
        &'a [u8],
        &'a [u64],
    );
    let rows: &[Row] = &[
        ("nothing asked for", &[(1, 9000)], &[(2, 0)], &[], &[]),
        ("enough", &[(1, 5000)], &[(2, 5000)], &[], &[]),
        ("one too many", &[(1, 5000)], &[(2, 5001)], &[], &[2]),
        ("too many alone", &[], &[(1, 10_001)], &[], &[1]),
        (
            "the newest of several",
            &[],
            &[(3, 5000), (2, 5000), (4, 1)],
            &[],
            &[4],
        ),
        (
            "a smaller one still fits",
            &[],
            &[(1, 9000), (2, 5000), (3, 1000)],
            &[],
            &[2],
        ),
        (
            "room that becomes free",
            &[(1, 9000)],
            &[(2, 9000)],
            &[1],
            &[],
        ),
        (
            "another in the same place",
            &[(1, 9000)],
            &[(1, 9500)],
            &[],
            &[],
        ),
        (
            "a rule that grows too large",
            &[(1, 5000), (2, 5000)],
            &[(1, 5001)],
            &[],
            &[1],
        ),
        (
            "more than allowed, as before",
            &[(1, 12_000)],
            &[(1, 12_000)],
            &[],
            &[],
        ),
        (
            "but no more",
            &[(1, 12_000)],
            &[(1, 12_000), (2, 1)],
            &[],
            &[2],
        ),
    ];
    for (name, installed, put, remove, refused) in rows {
        let place = |id: &u8| (Family::Ipv4, OrderKey::from([*id]));
        let installed = installed
            .iter()
            .map(|(id, sources)| (place(id), (RuleId(u64::from(*id)), u64::from(*sources))));
        let changes = Changes {
            put: put
                .iter()
                .map(|(id, sources)| rule(*id, *sources))
                .collect(),
            remove: remove.iter().map(place).collect(),
        };
        let found = without_room(&installed.collect(), &changes, 10_000);
        let found: Vec<u64> = found.iter().map(|(id, _)| id.0).collect();
        assert_eq!(found, *refused, "{name}");
    }
}

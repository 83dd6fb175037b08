//! What the packet filter says of the rules of an earlier process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::backend::{Backend, Recovered};
use dataplane::rule::{Background, RuleId};
use dataplane::sim::Sim;
use flowacl::engine::Engine;
use flowacl::engine::memo::{self, Memo};
use flowacl::engine::policy::{ImportPolicy, LocalSpeaker};
use flowacl::rib::Route;

use crate::flows::{check_flow, check_reason};

/// The memo of one rule: read, written again, and taken over.
pub fn memo(octets: &[u8]) {
    let memo = match memo::decode(octets) {
        Ok(memo) => memo,
        Err(error) => return check_reason(&error.to_string()),
    };
    check_flow(&memo.nlri, &memo.actions);
    check_written(&memo);
    take_over(octets, &memo);
}

/// What is written of a memo says the same.
fn check_written(memo: &Memo) {
    let route = Route {
        nlri: memo.nlri.clone(),
        id: memo.id,
        peer: Arc::new(memo.peer),
        attributes: Arc::new(memo.attributes.clone()),
        actions: Arc::new(memo.actions.clone()),
    };
    let written = route.memo();
    let again = memo::decode(&written).unwrap_or_else(|error| panic!("{error}: {memo:?}"));
    assert_eq!(
        (&again.nlri, again.id, &again.peer),
        (&memo.nlri, memo.id, &memo.peer)
    );
    let mut told = memo.actions.clone();
    // What has no effect is not kept.
    told.notes.clear();
    assert_eq!(again.actions, told);
}

/// An engine takes the rule or says why not.
fn take_over(octets: &[u8], memo: &Memo) {
    let local = LocalSpeaker {
        asn: 65140,
        router_id: [192, 0, 2, 2].into(),
    };
    let mut engine = Engine::new(local, Sim::new().capability());
    let recovered = Recovered {
        id: RuleId(7),
        memo: octets.to_vec(),
    };
    let now = Instant::now();
    let until = now + Duration::from_secs(120);
    let recovery = engine.recover(now, until, &[recovered], |_, _| {
        Some(ImportPolicy::default())
    });
    assert!(engine.is_settled());
    match (&recovery.rules[..], &recovery.left_out[..]) {
        ([rule], []) => {
            assert_eq!(rule.id, RuleId(7));
            let discards = rule.action.discard;
            assert_eq!(discards, memo.actions.is_discard());
            assert_eq!(engine.counts().stale, 1);
        }
        ([], [(_, reason)]) => check_reason(reason),
        _ => panic!("one rule became {recovery:?}"),
    }
}

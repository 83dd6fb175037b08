//! Good or malformed, and what follows from it.

use std::collections::BTreeMap;

use flowacl::wire::update::decode;

use crate::{
    MANDATORY, Vector, announcement, context_for, load, message_outcome, open_with, outcome,
    update_body,
};

const CARRIED: &str = "the attribute is carried unread: no RFC about FlowSpec gives it a meaning";
const UNKNOWN: &str = "RFC 4271 §9: an unknown optional attribute is no error";
const NOT_NEGOTIATED: &str = "routes of a family that was not negotiated are skipped unread";
const REPEATED: &str = "the first counts, as the vector says; the log names the other";
const CAPABILITY: &str = "RFC 5492 §3: a capability that is not understood is ignored";
const SUBCODE: &str = "RFC 4271 §6.3 has 3/9 for optional attributes; RFC 7606 names no subcode";
const UNICAST: &str = "RFC 7606 §5.3: its NLRI field holds a prefix of 245 bits";

/// Vectors on whose verdict we differ on purpose: id, what we make of it, why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("frr7606-d-aigp-tlv-unknown-type", "none", CARRIED),
    ("frr7606-d-aigp-tlv-len-not-11", "none", CARRIED),
    ("frr7606-d-aigp-len-0", "none", CARRIED),
    ("frr7606-d-prefix-sid-bad-label-index", "none", CARRIED),
    ("frr7606-d-link-state-tlv-overrun", "none", CARRIED),
    ("frr7606-d-link-state-truncated-tlv", "none", CARRIED),
    ("frr7606-d-nhc-bad-afi-safi", "none", CARRIED),
    ("frr7606-w-pmsi-len-4", "none", CARRIED),
    ("frr7606-w-pmsi-type-8", "none", CARRIED),
    ("frr7606-w-pmsi-ingress-repl-len-10", "none", CARRIED),
    ("frr7606-w-encap-len-3", "none", CARRIED),
    ("frr7606-w-encap-subtlv-overrun", "none", CARRIED),
    ("frr7606-d-unknown-fd-nontransitive", "none", UNKNOWN),
    ("frr7606-d-unknown-fe-transitive", "none", UNKNOWN),
    (
        "frr7606-w-as4path-seg-type-0",
        "attribute-discard",
        "RFC 6793 §4.1: a four-octet AS speaker's AS4_PATH is discarded unread",
    ),
    ("frr7606-r-mp-unreach-truncated", "none", NOT_NEGOTIATED),
    ("ze-MPReachIPv6NextHopInvalid", "none", NOT_NEGOTIATED),
    ("ze-MPReachIPv4NextHopInvalid", "none", NOT_NEGOTIATED),
    ("ze-MPReachVPNv4NextHopInvalid", "none", NOT_NEGOTIATED),
    (
        "gobgp-malformed-update-3",
        "treat-as-withdraw",
        "IPv6 unicast is not negotiated; LOCAL_PREF is missing",
    ),
    (
        "gobgp-malformed-update-4",
        "session-reset 3/1",
        "RFC 7606 §5.2: no reachable route to withdraw",
    ),
    (
        "ze-OriginatorIDIBGPValid",
        "treat-as-withdraw",
        "RFC 7606 §3(d): LOCAL_PREF is missing",
    ),
    ("ze-DuplicateMED", "attribute-discard", REPEATED),
    ("rfc-origin-twice", "attribute-discard", REPEATED),
    ("rfc-ec-twice", "attribute-discard", REPEATED),
    (
        "rfc-open-in-established",
        "none",
        "well-formed: the state machine refuses it",
    ),
    ("m-gobgp-cap-as4-len2", "none", CAPABILITY),
    ("m-gobgp-cap-mp-len2", "none", CAPABILITY),
    ("m-gobgp-cap-gr-len1", "none", CAPABILITY),
    ("gobgp-cap-as4-len2", "none", CAPABILITY),
    ("gobgp-cap-mp-len2", "none", CAPABILITY),
    ("gobgp-cap-gr-len1", "none", CAPABILITY),
    (
        "frr7606-r-mp-reach-nexthop-len-overrun",
        "session-reset 3/9",
        SUBCODE,
    ),
    ("ze-ci-reset", "session-reset 3/9", SUBCODE),
    ("cve-2023-46753", "session-reset 3/10", UNICAST),
    ("m-cve-2023-46753", "session-reset 3/10", UNICAST),
];

/// What a vector should lead to, and what it does lead to.
struct Row {
    id: String,
    wanted: Vec<String>,
    found: String,
}

/// Lists all rows that differ without being in the table, and all in the table that do not differ.
fn check(rows: &[Row]) {
    let ours: BTreeMap<&str, &str> = DIFFERENCES
        .iter()
        .map(|(id, outcome, _)| (*id, *outcome))
        .collect();
    let complaint = |Row { id, wanted, found }: &Row| {
        let agrees = wanted.iter().any(|wanted| found.starts_with(wanted));
        match ours.get(id.as_str()) {
            Some(_) if agrees => Some(format!("{id}: differs no more")),
            Some(ours) if ours != found => Some(format!("{id}: {found}, not {ours}")),
            None if !agrees => Some(format!("{id}: {found}, not {}", wanted.join(" or "))),
            Some(_) | None => None,
        }
    };
    let wrong: Vec<String> = rows.iter().filter_map(complaint).collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

/// What a receiver makes of the vector, in a session that the vector suits.
fn found(vector: &Vector) -> String {
    let octets = vector.octets();
    let context = context_for(vector, true, true);
    let announced = |attribute: &[u8]| {
        let attributes = [attribute, &MANDATORY].concat();
        outcome(&decode(&update_body(&attributes, &[]), &context))
    };
    match vector.kind() {
        "nlri" => {
            let family = vector.family().expect("NLRI have a family");
            outcome(&decode(&announcement(family, &octets), &context))
        }
        "message" => message_outcome(&octets, &context),
        "update" => outcome(&decode(&octets, &context)),
        "attribute" => announced(&octets),
        "attribute-value" => announced(&[&[0x80, 15, octets.len() as u8], &octets[..]].concat()),
        "extcomm" => {
            let (code, length) = match vector.text("family") {
                "ipv6-extcomm" => (25, octets.len() as u8),
                _ => (16, octets.len() as u8),
            };
            announced(&[&[0xc0, code, length], &octets[..]].concat())
        }
        "attributes" => {
            // What surrounds the Path Attributes stands beside them.
            let says = |field: &str| vector.0["source_says"][field] == true;
            let context = context_for(vector, says("iBGP"), says("4octetAS"));
            let unicast: &[u8] = if says("hasNLRI") {
                &[24, 192, 0, 2]
            } else {
                &[]
            };
            outcome(&decode(&update_body(&octets, unicast), &context))
        }
        "capability" => message_outcome(&open_with(&octets), &context),
        kind => panic!("{}: unknown kind {kind}", vector.id()),
    }
}

#[test]
fn every_vector_has_the_verdict_of_the_rfcs() {
    let malformed = load("malformed.jsonl");
    let mut rows = Vec::new();
    for vector in load("vectors.jsonl") {
        // Operator lists are evaluated where operators are; of what stands in both files, the other knows more.
        if vector.kind() == "ops" || malformed.iter().any(|other| other.id() == vector.id()) {
            continue;
        }
        let mut found = found(&vector);
        if vector.kind() == "message" && vector.is_valid() && found != "none" {
            // It does not say what kind of session it was seen in.
            let others = [(true, false), (false, true), (false, false)];
            found = others
                .map(|(ibgp, four)| context_for(&vector, ibgp, four))
                .map(|context| message_outcome(&vector.octets(), &context))
                .into_iter()
                .find(|outcome| outcome == "none")
                .unwrap_or(found);
        }
        let wanted = match (vector.is_valid(), vector.0["error_level"].as_str()) {
            (true, _) => vec!["none"],
            (false, Some("framing")) => vec!["session-reset 3/10"],
            (false, Some(_)) => vec!["treat-as-withdraw"],
            (false, None) => vec!["session-reset", "treat-as-withdraw"],
        };
        rows.push(Row {
            id: vector.id().into(),
            wanted: wanted.into_iter().map(String::from).collect(),
            found,
        });
    }
    assert!(rows.len() > 300, "only {}", rows.len());
    check(&rows);
}

#[test]
fn malformed_input_has_the_outcome_of_rfc_7606() {
    let mut rows = Vec::new();
    for vector in load("malformed.jsonl") {
        // Several codes where the RFC fixes none: `3/10 or 3/1 (…)`.
        let notification = vector.text("notification");
        let codes = notification.split(' ').filter(|word| word.contains('/'));
        let mut wanted: Vec<String> = codes.map(|code| format!("session-reset {code}")).collect();
        if wanted.is_empty() {
            wanted.push(vector.text("outcome").into());
        }
        rows.push(Row {
            id: vector.id().into(),
            wanted,
            found: found(&vector),
        });
    }
    assert!(rows.len() > 200, "only {}", rows.len());
    check(&rows);
}

#[test]
fn every_difference_is_about_a_vector() {
    let vectors = [load("vectors.jsonl"), load("malformed.jsonl")];
    let ids: Vec<&str> = vectors.iter().flatten().map(Vector::id).collect();
    for (id, _, _) in DIFFERENCES {
        assert!(ids.contains(id), "{id} is gone");
    }
}

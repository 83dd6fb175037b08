//! Other people's bytes: every vector is decoded, and its verdict held against the RFCs'.

use std::collections::BTreeMap;

use flowacl::flowspec::action::TrafficFilteringActions;
use flowacl::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity};
use flowacl::wire::cursor::Cursor;
use flowacl::wire::error::{Consequence, WireError};
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::message::{MAX_EXTENDED_MESSAGE_LENGTH, Message, split};
use flowacl::wire::nlri::Nlri;
use flowacl::wire::update::{DecodeContext, Update, decode};
use serde_json::Value;

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
        "session-reset",
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
    (
        "m-cve-2023-46753",
        "session-reset",
        "RFC 7606 §5.3: its NLRI field holds a prefix of 245 bits",
    ),
];

const CARRIED: &str = "the attribute is carried unread: no RFC about FlowSpec gives it a meaning";
const UNKNOWN: &str = "RFC 4271 §9: an unknown optional attribute is no error";
const NOT_NEGOTIATED: &str = "routes of a family that was not negotiated are skipped unread";
const REPEATED: &str = "the first counts, as the vector says; the log names the other";
const CAPABILITY: &str = "RFC 5492 §3: a capability that is not understood is ignored";

fn load(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect()
}

fn text<'v>(vector: &'v Value, field: &str) -> &'v str {
    vector[field].as_str().unwrap_or_default()
}

fn octets(vector: &Value) -> Vec<u8> {
    hex::decode(text(vector, "hex")).expect("vectors are hex")
}

fn context(ibgp: bool, four_octet_as: bool) -> DecodeContext {
    let families = vec![FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow];
    DecodeContext {
        four_octet_as,
        ibgp,
        families,
    }
}

/// What RFC 7606 makes of an UPDATE, in the words of the vectors.
fn outcome(result: &Result<Update, WireError>) -> &'static str {
    let Ok(update) = result else {
        return "session-reset";
    };
    let consequences = || update.errors.iter().map(|error| &error.consequence);
    if consequences().any(|consequence| *consequence == Consequence::TreatAsWithdraw) {
        "treat-as-withdraw"
    } else if consequences().next().is_some() {
        "attribute-discard"
    } else {
        "none"
    }
}

fn message_outcome(octets: &[u8], context: &DecodeContext) -> &'static str {
    match split(&mut octets.to_vec(), MAX_EXTENDED_MESSAGE_LENGTH) {
        Ok(Some(Message::Update(body))) => outcome(&decode(&body, context)),
        Ok(Some(_)) => "none",
        Ok(None) => "incomplete",
        Err(_) => "session-reset",
    }
}

/// All NLRI of a field, or the worst outcome.
fn read_all(family: FlowFamily, octets: &[u8]) -> Result<Vec<Nlri>, &'static str> {
    let mut cursor = Cursor::new(octets, 0);
    let mut routes = Vec::new();
    while !cursor.is_empty() {
        routes.push(Nlri::read(family, &mut cursor).map_err(|_| "session-reset")?);
    }
    routes
        .into_iter()
        .map(|nlri| nlri.map_err(|_| "treat-as-withdraw"))
        .collect()
}

fn nlri_outcome(family: FlowFamily, octets: &[u8]) -> &'static str {
    read_all(family, octets).err().unwrap_or("none")
}

/// Compares outcomes and lists all that differ without being in the table, and all in the table that do not differ.
fn check(rows: Vec<(String, String, &'static str)>) {
    assert!(!rows.is_empty());
    let expected: BTreeMap<&str, &str> = DIFFERENCES
        .iter()
        .map(|(id, outcome, _)| (*id, *outcome))
        .collect();
    let complaint =
        |(id, wanted, found): &(String, String, &'static str)| match expected.get(id.as_str()) {
            Some(_) if wanted == found => Some(format!("{id}: differs no more")),
            Some(ours) if ours != found => Some(format!("{id}: {found}, not {ours}")),
            None if wanted != found => Some(format!("{id}: {found}, not {wanted}")),
            Some(_) | None => None,
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

fn flow_family(vector: &Value) -> Option<FlowFamily> {
    text(vector, "family").parse().ok()
}

#[test]
fn nlri_have_the_verdict_of_the_rfcs() {
    let mut rows = Vec::new();
    for vector in load("vectors.jsonl").iter().filter(|v| v["kind"] == "nlri") {
        let Some(family) = flow_family(vector) else {
            continue;
        };
        if vector["addpath"] == true {
            continue;
        }
        let found = match nlri_outcome(family, &octets(vector)) {
            "none" => "valid",
            _ => "malformed",
        };
        let wanted = if vector["valid"] == true {
            "valid"
        } else {
            "malformed"
        };
        rows.push((text(vector, "id").to_string(), wanted.to_string(), found));
    }
    check(rows);
}

#[test]
fn normalised_nlri_are_those_of_the_vectors() {
    let mut compared = 0;
    for vector in load("vectors.jsonl").iter().filter(|v| v["kind"] == "nlri") {
        let Some(family) = flow_family(vector) else {
            continue;
        };
        let decoded = vector["expected"]["decoded"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        if vector["addpath"] == true || decoded.iter().any(|one| one["ok"] != true) {
            continue;
        }
        let Ok(routes) = read_all(family, &octets(vector)) else {
            continue;
        };
        let id = text(vector, "id");
        assert_eq!(routes.len(), decoded.len(), "{id}");
        for (nlri, expected) in routes.iter().zip(&decoded) {
            // The vectors keep the octets as received; what must be ignored is compared after another round.
            let received = hex::decode(text(expected, "nlri")).unwrap();
            let same = std::slice::from_ref(nlri);
            assert_eq!(read_all(family, &received).unwrap(), same, "{id}");
            assert_eq!(read_all(family, &nlri.encoded()).unwrap(), same, "{id}");
            let again = Nlri::new(family, nlri.route_distinguisher(), &nlri.components());
            assert_eq!(again.as_ref(), Ok(nlri), "{id}");
            compared += 1;
        }
    }
    assert!(compared > 100, "only {compared}");
}

#[test]
fn malformed_input_has_the_outcome_of_rfc_7606() {
    let mut rows = Vec::new();
    for vector in load("malformed.jsonl") {
        let octets = octets(&vector);
        let found = match (text(&vector, "kind"), flow_family(&vector)) {
            ("nlri", Some(family)) => nlri_outcome(family, &octets),
            ("message", family) => {
                let mut context = context(true, true);
                context
                    .families
                    .extend(family.filter(|family| family.is_vpn()));
                message_outcome(&octets, &context)
            }
            ("update", _) => outcome(&decode(&octets, &context(true, true))),
            ("attributes", _) => attributes_outcome(&vector, &octets),
            ("capability", _) => capability_outcome(&octets),
            (kind, family) => panic!("unknown kind {kind} {family:?}"),
        };
        rows.push((
            text(&vector, "id").to_string(),
            text(&vector, "outcome").to_string(),
            found,
        ));
    }
    check(rows);
}

/// The vectors that are only a Path Attributes field say what surrounds it.
fn attributes_outcome(vector: &Value, attributes: &[u8]) -> &'static str {
    let says = |field: &str| vector["source_says"][field] == true;
    let mut body = vec![0, 0];
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    if says("hasNLRI") {
        body.extend([24, 192, 0, 2]);
    }
    outcome(&decode(&body, &context(says("iBGP"), says("4octetAS"))))
}

fn capability_outcome(capability: &[u8]) -> &'static str {
    let length = capability.len() as u8;
    let mut open = vec![4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 1, length + 2, 2, length];
    open.extend(capability);
    let mut message = vec![0xff; 16];
    message.extend((19 + open.len() as u16).to_be_bytes());
    message.push(1);
    message.extend(open);
    message_outcome(&message, &context(true, true))
}

#[test]
fn good_messages_are_taken() {
    let contexts =
        [(true, true), (true, false), (false, true), (false, false)].map(|(i, f)| context(i, f));
    let mut rows = Vec::new();
    for vector in load("vectors.jsonl")
        .iter()
        .filter(|v| v["kind"] == "message")
    {
        if vector["valid"] != true || vector["addpath"] == true {
            continue;
        }
        // The vectors do not say which session they were sent in.
        let octets = octets(vector);
        let found = contexts
            .iter()
            .map(|context| message_outcome(&octets, context));
        let best = found.clone().find(|outcome| *outcome == "none");
        let found = best.unwrap_or_else(|| found.clone().next().unwrap());
        rows.push((text(vector, "id").to_string(), "none".to_string(), found));
    }
    check(rows);
}

#[test]
fn communities_ask_for_what_the_vectors_say() {
    let mut compared = 0;
    for vector in load("vectors.jsonl")
        .iter()
        .filter(|v| v["kind"] == "extcomm")
    {
        let octets = octets(vector);
        let ipv6 = text(vector, "family") == "ipv6-extcomm";
        let (extended, twenty): (Vec<_>, Vec<_>) = if ipv6 {
            (
                vec![],
                octets
                    .as_chunks::<20>()
                    .0
                    .iter()
                    .map(|c| Ipv6ExtendedCommunity(*c))
                    .collect(),
            )
        } else {
            (
                octets
                    .as_chunks::<8>()
                    .0
                    .iter()
                    .map(|c| ExtendedCommunity(*c))
                    .collect(),
                vec![],
            )
        };
        let id = text(vector, "id");
        let actions = TrafficFilteringActions::from_communities(&extended, &twenty);
        let actions = actions.unwrap_or_else(|error| panic!("{id}: {error}"));
        for decoded in vector["expected"]["decoded"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let name = text(decoded, "name");
            let found = if name.contains("rate-bytes") || name.contains("traffic-rate") {
                actions.rate_bytes_per_sec.is_some()
                    || actions.rate_packets_per_sec.is_some()
                    || !actions.notes.is_empty()
            } else if name.contains("redirect-to-ipv") {
                actions.redirect_next_hop.is_some()
            } else if name.contains("marking") {
                actions.mark_dscp.is_some()
            } else {
                continue;
            };
            assert!(found, "{id}: {name} not in {actions:?}");
            compared += 1;
        }
    }
    assert!(compared > 5, "only {compared}");
}

/// All whole messages and NLRI that are valid.
fn good_vectors() -> Vec<(String, Option<FlowFamily>, Vec<u8>)> {
    load("vectors.jsonl")
        .iter()
        .filter(|vector| vector["valid"] == true && vector["addpath"] != true)
        .filter(|vector| vector["kind"] == "nlri" || vector["kind"] == "message")
        .map(|vector| {
            let family = flow_family(vector).filter(|_| vector["kind"] == "nlri");
            (text(vector, "id").to_string(), family, octets(vector))
        })
        .collect()
}

/// Decodes and shows everything that can be shown.
fn survive(family: Option<FlowFamily>, octets: &[u8]) {
    match family {
        Some(family) => {
            for nlri in read_all(family, octets).unwrap_or_default() {
                let shown = flowacl::flowspec::text::format_match(&nlri);
                assert!(!shown.is_empty());
                assert_eq!(read_all(family, &nlri.encoded()), Ok(vec![nlri]));
            }
        }
        None => {
            let mut buffer = octets.to_vec();
            while let Ok(Some(message)) = split(&mut buffer, MAX_EXTENDED_MESSAGE_LENGTH) {
                if let Message::Update(body) = message {
                    for ibgp in [true, false] {
                        let _ = decode(&body, &context(ibgp, ibgp)).map_err(|e| e.to_string());
                    }
                }
            }
        }
    }
}

#[test]
fn every_truncation_is_survived() {
    for (id, family, octets) in good_vectors() {
        for length in 0..octets.len() {
            survive(family, &octets[..length]);
            if let Some(family) = family.filter(|_| length > 0) {
                let found = nlri_outcome(family, &octets[..length]);
                let whole = read_all(family, &octets).unwrap().len();
                assert!(found != "none" || whole > 1, "{id} cut to {length} octets");
            }
        }
    }
}

#[test]
fn every_single_bit_flip_is_survived() {
    for (_, family, octets) in good_vectors() {
        for bit in 0..octets.len() * 8 {
            let mut flipped = octets.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            survive(family, &flipped);
        }
    }
}

#[test]
fn a_component_cut_short_is_never_a_wider_filter() {
    for (id, family, octets) in good_vectors() {
        let Some(family) = family else { continue };
        for nlri in read_all(family, &octets).unwrap() {
            let value = nlri.value();
            for length in 1..value.len() {
                // The length octets agree with the cut: only the components can tell.
                let Ok(cut) = Nlri::decode(family, &value[..length]) else {
                    continue;
                };
                let (cut, whole) = (cut.components(), nlri.components());
                assert_eq!(
                    cut,
                    whole[..cut.len()],
                    "{id} cut to {length} octets: not at an edge"
                );
            }
        }
    }
}

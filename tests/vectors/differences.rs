//! Where we differ from the vectors on purpose.

const CARRIED: &str = "the attribute is carried unread: no RFC about FlowSpec gives it a meaning";
const UNKNOWN: &str = "RFC 4271 §9: an unknown optional attribute is no error";
const NOT_NEGOTIATED: &str = "routes of a family that was not negotiated are skipped unread";
const REPEATED: &str = "the first counts, as the vector says; the log names the other";
const CAPABILITY: &str = "RFC 5492 §3: a capability that is not understood is ignored";
const SUBCODE: &str = "RFC 4271 §6.3 has 3/9 for optional attributes; RFC 7606 names no subcode";
const UNICAST: &str = "RFC 7606 §5.3: its NLRI field holds a prefix of 245 bits";

/// Vectors on whose verdict we differ on purpose: id, what we make of it, why.
pub const DIFFERENCES: &[(&str, &str, &str)] = &[
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
    (
        "rfc-unreach-malformed",
        "nlri-ignored",
        "the same, by the name of what happens: it names no route to withdraw",
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

//! What is wrong with an UPDATE, its place and its consequence (RFC 7606).

use super::*;

#[test]
fn errors_have_their_consequence_and_place() {
    let withdraw = |at| ("treat-as-withdraw", at);
    let discard = |at| ("attribute-discard", at);
    // The attribute in question comes first, so that it begins at offset 4 and its value at 7.
    let rows = [
        ("ORIGIN 3", "400101 03", withdraw(7)),
        ("ORIGIN of two octets", "400102 0000", withdraw(7)),
        ("ORIGIN optional", "c00101 00", withdraw(4)),
        (
            "AS_PATH segment of type 5",
            "400206 0501 00000001",
            withdraw(7),
        ),
        ("AS_PATH segment empty", "400202 0200", withdraw(7)),
        (
            "AS_PATH second segment overruns",
            "400208 0201 00000001 0201",
            withdraw(15),
        ),
        ("AS_PATH with AS 0", "400206 0201 00000000", withdraw(7)),
        ("NEXT_HOP of five octets", "400305 0102030405", withdraw(7)),
        ("MED of three octets", "800403 000000", withdraw(7)),
        ("LOCAL_PREF of two octets", "400502 0000", withdraw(7)),
        ("ATOMIC_AGGREGATE with a value", "400601 00", discard(7)),
        (
            "AGGREGATOR of six octets",
            "c00706 0001c0000201",
            discard(7),
        ),
        ("COMMUNITIES empty", "c00800", withdraw(7)),
        (
            "COMMUNITIES of five octets",
            "c00805 0000000000",
            withdraw(7),
        ),
        (
            "ORIGINATOR_ID of three octets",
            "800903 000000",
            withdraw(7),
        ),
        ("CLUSTER_LIST empty", "800a00", withdraw(7)),
        (
            "EXTENDED COMMUNITIES of seven octets",
            "c01007 80060000000000",
            withdraw(7),
        ),
        (
            "second rate is not a number",
            "c01010 8006000000000000 80060000 7fc00000",
            withdraw(15),
        ),
        (
            "packet rate is not a number",
            "c01008 800c0000 ffffffff",
            withdraw(7),
        ),
        (
            "rate for each source is not a number",
            "c01008 83060018 ff800001",
            withdraw(7),
        ),
        (
            "IPv6 EXTENDED COMMUNITIES of eight octets",
            "c01908 0000000000000000",
            withdraw(7),
        ),
        ("LARGE_COMMUNITY of one octet", "c02001 00", withdraw(7)),
        (
            "ONLY_TO_CUSTOMER of five octets",
            "c02305 0000000000",
            withdraw(7),
        ),
        ("AIGP transitive", "c01a03 010003", discard(4)),
        (
            "AS4_PATH from a four-octet speaker",
            "c01106 0201 00000001",
            discard(7),
        ),
    ];
    for (name, attribute, expected) in rows {
        // All that is mandatory follows, unless it is what is tested.
        let code = attribute[2..4].to_string();
        let rest: Vec<&str> = MANDATORY
            .split("  ")
            .filter(|mandatory| mandatory[2..4] != code)
            .collect();
        let rest = rest.concat();
        let update = decode(&body(&[attribute, REACH, &rest]), &internal()).unwrap();
        assert_eq!(errors(&update), [expected], "{name}: {:?}", update.errors);
        let kept = expected.0 == "attribute-discard";
        assert_eq!(update.announced.len(), usize::from(kept), "{name}");
        assert_eq!(update.withdrawn.len(), usize::from(!kept), "{name}");
    }
}

/// RFC 7606 §3(c): optional and transitive bits of every attribute that we know, with a value that is right.
#[test]
fn wrong_flags_have_their_consequence() {
    let (withdraw, discard) = ("treat-as-withdraw", "attribute-discard");
    let rows = [
        (code::ORIGIN, "00", withdraw),
        (code::AS_PATH, "", withdraw),
        (code::NEXT_HOP, "c0000201", withdraw),
        (code::MULTI_EXIT_DISC, "00000000", withdraw),
        (code::LOCAL_PREF, "00000064", withdraw),
        (code::ATOMIC_AGGREGATE, "", withdraw),
        (code::AGGREGATOR, "0000fde9c0000201", withdraw),
        (code::COMMUNITIES, "00010002", withdraw),
        (code::ORIGINATOR_ID, "c0000201", withdraw),
        (code::CLUSTER_LIST, "c0000201", withdraw),
        (code::MP_REACH_NLRI, "0001850000 03038106", "3/4"),
        (code::MP_UNREACH_NLRI, "000185 03038106", "3/4"),
        (code::EXTENDED_COMMUNITIES, "8006000000000000", withdraw),
        (
            code::IPV6_EXTENDED_COMMUNITIES,
            "000c20010db80000000000000000000000010000",
            withdraw,
        ),
        (code::AIGP, "01000b0000000000000000", discard),
        (code::LINK_STATE, "", discard),
        (code::LARGE_COMMUNITY, "0000000a000000140000001e", withdraw),
        (code::ONLY_TO_CUSTOMER, "0000fde9", withdraw),
        (code::PREFIX_SID, "", discard),
    ];
    for (code, value, expected) in rows {
        let right = code::expected_flags(code).unwrap();
        for wrong in [0x00, 0x40, 0x80, 0xc0]
            .into_iter()
            .filter(|flags| *flags != right)
        {
            // The others that are needed, each unless it is the one in question.
            let mut attributes = MANDATORY
                .split("  ")
                .chain([REACH])
                .filter(|other| other[2..4] != format!("{code:02x}"))
                .collect::<Vec<_>>();
            let length = octets(value).len();
            let attribute = format!("{wrong:02x}{code:02x}{length:02x}{value}");
            attributes.push(&attribute);
            let found = match decode(&body(&attributes), &internal()) {
                Ok(update) => {
                    let kept = usize::from(expected == discard);
                    assert_eq!(
                        update.announced.len(),
                        kept,
                        "{} {wrong:02x}",
                        code::name(code)
                    );
                    assert_eq!(update.announced.len() + update.withdrawn.len(), 1);
                    errors(&update)[0].0.to_owned()
                }
                Err(WireError {
                    consequence: Consequence::SessionReset(reset),
                    ..
                }) => {
                    format!("{}/{}", reset.code, reset.subcode)
                }
                Err(error) => panic!("{error}"),
            };
            assert_eq!(
                found,
                expected,
                "{} with flags {wrong:02x}",
                code::name(code)
            );
        }
    }
}

#[test]
fn errors_that_leave_no_routes_to_find_reset_the_session() {
    let rows = [
        ("withdrawn routes overrun", octets("0005 0000"), 0, 1),
        ("attributes overrun", octets("0000 0001"), 2, 1),
        (
            "unicast prefix of 33 bits",
            octets("0006 21 0000000000 0000"),
            2,
            10,
        ),
        (
            "unicast prefix cut short",
            octets("0000 0000 18 0a00"),
            4,
            10,
        ),
        ("MP_REACH_NLRI twice", body(&[REACH, REACH]), 16, 1),
        ("MP_UNREACH_NLRI twice", body(&[UNREACH, UNREACH]), 14, 1),
        (
            "MP_REACH_NLRI of four octets",
            body(&["800e04 00018500"]),
            11,
            9,
        ),
        (
            "MP_REACH_NLRI's next hop overruns",
            body(&["800e05 00018509 00"]),
            11,
            9,
        ),
        (
            "MP_UNREACH_NLRI of two octets",
            body(&["800f02 0001"]),
            9,
            9,
        ),
        (
            "MP_REACH_NLRI well-known",
            body(&["400e05 0001850000"]),
            4,
            4,
        ),
        ("NLRI overruns", body(&["800e07 0001850000 0303"]), 12, 10),
        (
            "withdrawn NLRI overruns",
            body(&["800f04 000185 f0"]),
            10,
            10,
        ),
        (
            "unknown well-known attribute",
            body(&["406300", REACH]),
            4,
            2,
        ),
        (
            "MP_REACH_NLRI overruns the attributes",
            body(&[MANDATORY, "800e20 0001850000 03038106"]),
            18,
            9,
        ),
        (
            "an attribute overruns where there is no route",
            body(&[UNREACH, "400101"]),
            14,
            1,
        ),
        (
            "ORIGIN 3 where there is no route",
            body(&["400101 03"]),
            7,
            1,
        ),
        (
            "ORIGIN 3 beside a withdrawal",
            body(&[UNREACH, "400101 03"]),
            17,
            1,
        ),
    ];
    for (name, body, offset, subcode) in rows {
        let error = decode(&body, &internal()).unwrap_err();
        assert_eq!(error.offset, offset, "{name}: {error}");
        let Consequence::SessionReset(notification) = error.consequence else {
            panic!("{name}: {error}")
        };
        assert_eq!(
            (notification.code, notification.subcode),
            (3, subcode),
            "{name}"
        );
    }
}

#[test]
fn an_attribute_cut_short_behind_the_routes_withdraws_them() {
    let update = decode(&body(&[REACH, MANDATORY, "c010ff 80"]), &internal()).unwrap();
    assert_eq!(errors(&update), [("treat-as-withdraw", 30)]);
    assert_eq!(update.withdrawn, [protocol(6)]);
    assert!(update.announced.is_empty());
}

#[test]
fn missing_mandatory_attributes_withdraw() {
    let all: Vec<&str> = MANDATORY.split("  ").collect();
    for (missing, name) in [(0, "ORIGIN"), (1, "AS_PATH"), (2, "LOCAL_PREF")] {
        let mut attributes = all.clone();
        attributes[missing] = REACH;
        let body = body(&attributes);
        let update = decode(&body, &internal()).unwrap();
        assert_eq!(update.errors[0].reason, format!("{name} missing"));
        assert_eq!(update.withdrawn, [protocol(6)], "{name}");
        // Between ASes LOCAL_PREF is not mandatory, and not taken either.
        let update = decode(&body, &external()).unwrap();
        assert_eq!(update.announced.is_empty(), name != "LOCAL_PREF", "{name}");
        assert_eq!(update.attributes.local_pref, None);
    }
}

#[test]
fn one_malformed_nlri_withdraws_all_of_the_update() {
    let reach = "800e11 0001850000 03 038106 03 030106 03 038111";
    let update = decode(&body(&[reach, MANDATORY]), &internal()).unwrap();
    // Attribute 3, family and next hop 5, first NLRI 4, length 1, and 3 to the missing pair.
    assert_eq!(
        errors(&update),
        [("treat-as-withdraw", 4 + 3 + 5 + 4 + 1 + 3)]
    );
    assert_eq!(update.withdrawn, [protocol(6), protocol(17)]);
    assert!(update.announced.is_empty());
}

#[test]
fn one_malformed_withdrawal_names_nothing_and_spoils_nothing() {
    let unreach = "800f0b 000185 03 030106 03 038111";
    let update = decode(&body(&[unreach, REACH, MANDATORY]), &internal()).unwrap();
    assert_eq!(errors(&update), [("nlri-ignored", 4 + 3 + 3 + 1 + 3)]);
    assert_eq!(update.withdrawn, [protocol(17)]);
    assert_eq!(update.announced, [protocol(6)]);
}

#[test]
fn errors_behind_path_identifiers_have_their_place() {
    let malformed = "800e14 0001850000 00000001 03 030106 00000002 02 0381";
    let update = decode(&body(&[malformed, MANDATORY]), &several_paths()).unwrap();
    let first = 4 + 3 + 5 + 4 + 1;
    assert_eq!(
        errors(&update),
        [
            ("treat-as-withdraw", first + 3),
            ("treat-as-withdraw", first + 3 + 4 + 1 + 2)
        ]
    );
    let rows = [
        ("no NLRI behind one", "800e09 0001850000 00000001", 12 + 4),
        ("part of one", "800e0c 0001850000 00000001 03 0381", 12 + 4),
        ("half an identifier", "800e08 0001850000 000000", 12),
    ];
    for (name, reach, offset) in rows {
        let error = decode(&body(&[reach, MANDATORY]), &several_paths()).unwrap_err();
        assert_eq!(error.consequence.name(), "session-reset", "{name}");
        assert_eq!(error.offset, offset, "{name}: {error}");
    }
}

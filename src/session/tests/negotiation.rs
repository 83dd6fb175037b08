//! OPEN: ours octet by octet, and every way in which the neighbor's can be wrong.

use super::*;
use crate::wire::capability::Capability;
use crate::wire::iana::UnicastFamily;

#[test]
fn our_open_announces_what_we_can() {
    let (mut driven, id) = Driven::in_state(config(), State::Connect);
    let effects = driven.feed(Input::Connected(id));
    let expected = message(
        1,
        "04 fe74 005a c0000202 28 02 26 \
         0104 00010085  0104 00020085  0200  0600  4002 0000  4104 0000fe74 \
         4508 00018501 00028501  4600",
    );
    assert_eq!(effects[0], Effect::Send(id, expected));
}

#[test]
fn an_as_above_65535_is_announced_by_its_capability() {
    let big = SessionConfig {
        local_as: 4_200_000_000,
        ..config()
    };
    let (mut driven, id) = Driven::in_state(big, State::Connect);
    let Effect::Send(_, open) = driven.feed(Input::Connected(id)).remove(0) else {
        panic!("no OPEN")
    };
    assert_eq!(open[20..22], 23456_u16.to_be_bytes());
    assert!(open.ends_with(&octets("4104 fa56ea00 4508 00018501 00028501 4600")));
}

/// Each wrong OPEN, and the whole NOTIFICATION that answers it.
#[test]
fn a_wrong_open_is_answered_with_the_right_notification() {
    let families = "0104 00010085 0104 00020085";
    let rows: [(&str, Vec<u8>, &str); 12] = [
        (
            "version 3",
            message(1, "03 fe2e 005a c0000201 00"),
            "02 01 0004",
        ),
        (
            "version 5",
            message(1, "05 fe2e 005a c0000201 00"),
            "02 01 0004",
        ),
        (
            "another AS",
            message(1, "04 fe2f 005a c0000201 08 02 06 0104 00010085"),
            "02 02",
        ),
        (
            "AS 0",
            message(1, "04 0000 005a c0000201 08 02 06 0104 00010085"),
            "02 02",
        ),
        (
            "another AS in its capability",
            open_with(&format!("{families} 4104 0001fe2e")),
            "02 02",
        ),
        (
            "identifier 0",
            message(1, "04 fe2e 005a 00000000 08 02 06 0104 00010085"),
            "02 03",
        ),
        (
            "unknown parameter 99",
            message(1, "04 fe2e 005a c0000201 03 63 01 00"),
            "02 04",
        ),
        (
            "hold time 1",
            message(1, "04 fe2e 0001 c0000201 08 02 06 0104 00010085"),
            "02 06",
        ),
        (
            "hold time 2",
            message(1, "04 fe2e 0002 c0000201 08 02 06 0104 00010085"),
            "02 06",
        ),
        (
            "no capabilities at all",
            message(1, "04 fe2e 005a c0000201 00"),
            "02 07 0104 00010085 0104 00020085",
        ),
        (
            "unicast only",
            open_with("0104 00010001 0200"),
            "02 07 0104 00010085 0104 00020085",
        ),
        (
            "VPN families only",
            open_with("0104 00010086"),
            "02 07 0104 00010085 0104 00020085",
        ),
    ];
    for (row, open, notification) in rows {
        let (mut driven, id) = Driven::in_state(config(), State::OpenSent);
        let effects = driven.receive(id, &open);
        let sends: Vec<&Effect> = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Send(..)))
            .collect();
        assert_eq!(
            sends,
            [&Effect::Send(id, message(3, notification))],
            "{row}"
        );
        assert!(effects.contains(&Effect::Close(id)), "{row}");
        assert_eq!(driven.session.state(), State::Idle, "{row}");
        assert_eq!(driven.session.statistics().ups, 0, "{row}");
    }
}

#[test]
fn our_identifier_is_wrong_inside_our_as_and_right_outside() {
    let open = |asn: &str| message(1, &format!("04 {asn} 005a c0000202 08 02 06 0104 00010085"));
    let ibgp = SessionConfig {
        remote_as: 65140,
        ..config()
    };
    let (mut driven, id) = Driven::in_state(ibgp, State::OpenSent);
    assert_eq!(
        summary(&driven.receive(id, &open("fe74"))),
        "2/3; close; rejected"
    );
    let (mut driven, id) = Driven::in_state(config(), State::OpenSent);
    assert_eq!(summary(&driven.receive(id, &open("fe2e"))), "KEEPALIVE");
}

#[test]
fn both_sides_get_what_both_offer() {
    struct Row {
        name: &'static str,
        capabilities: &'static str,
        families: &'static [FlowFamily],
        four_octet_as: bool,
        extended_messages: bool,
        route_refresh: bool,
    }
    let rows = [
        Row {
            name: "everything",
            capabilities: "0104 00020085 0104 00010085 0200 0600 4002 0078 4104 0000fe2e",
            families: &[FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow],
            four_octet_as: true,
            extended_messages: true,
            route_refresh: true,
        },
        Row {
            name: "one family and nothing else",
            capabilities: "0104 00010001 0104 00020085",
            families: &[FlowFamily::Ipv6Flow],
            four_octet_as: false,
            extended_messages: false,
            route_refresh: false,
        },
        Row {
            name: "unknown capabilities, and known ones of a wrong length",
            capabilities: "0104 00010085 0201 00 0601 00 4102 fe2e 7f00",
            families: &[FlowFamily::Ipv4Flow],
            four_octet_as: false,
            extended_messages: false,
            route_refresh: false,
        },
    ];
    for row in rows {
        let (mut driven, id) = Driven::in_state(config(), State::OpenSent);
        driven.receive(id, &open_with(row.capabilities));
        driven.receive(id, &keepalive());
        let negotiated = driven
            .session
            .negotiated()
            .unwrap_or_else(|| panic!("{} is not up", row.name));
        assert_eq!(negotiated.families, row.families, "{}", row.name);
        assert_eq!(negotiated.four_octet_as, row.four_octet_as, "{}", row.name);
        assert_eq!(
            negotiated.extended_messages, row.extended_messages,
            "{}",
            row.name
        );
        assert_eq!(negotiated.route_refresh, row.route_refresh, "{}", row.name);
        assert!(!negotiated.ibgp, "{}", row.name);
        assert_eq!(
            negotiated.remote_open.router_id.octets(),
            [192, 0, 2, 1],
            "{}",
            row.name
        );
    }
}

#[test]
fn unicast_is_taken_beside_flow_specifications_or_alone() {
    let flow = vec![FlowFamily::Ipv4Flow];
    let rows = [
        (
            "both",
            flow.clone(),
            "0104 00010085 0104 00010001",
            Some((1, 1)),
        ),
        ("not offered", flow.clone(), "0104 00010085", Some((1, 0))),
        ("no flows, but wanted", flow, "0104 00010001", None),
        ("alone", Vec::new(), "0104 00010001", Some((0, 1))),
        ("alone, not offered", Vec::new(), "0104 00010085", None),
    ];
    for (name, families, capabilities, expected) in rows {
        let config = SessionConfig {
            families,
            unicast: vec![UnicastFamily::Ipv4Unicast],
            ..config()
        };
        let (mut driven, id) = Driven::in_state(config, State::OpenSent);
        driven.receive(id, &open_with(capabilities));
        driven.receive(id, &keepalive());
        let negotiated = driven.session.negotiated();
        let numbers = negotiated.map(|n| (n.families.len(), n.unicast.len()));
        assert_eq!(numbers, expected, "{name}");
    }
}

#[test]
fn several_paths_come_in_the_families_in_which_the_neighbor_sends_them() {
    let families = "0104 00010085 0104 00020085";
    let (ipv4, ipv6) = (
        FlowFamily::Ipv4Flow.afi_safi(),
        FlowFamily::Ipv6Flow.afi_safi(),
    );
    let receive = Some(Directions::Receive);
    let rows = [
        ("both", receive, "4508 00018502 00028503", vec![ipv4, ipv6]),
        (
            "only received there",
            receive,
            "4508 00018501 00028502",
            vec![ipv6],
        ),
        ("not offered there", receive, "", vec![]),
        ("not offered here", None, "4508 00018502 00028503", vec![]),
        ("of another family", receive, "4504 00010102", vec![]),
        (
            "a direction that nobody knows",
            receive,
            "4508 00018502 00028504",
            vec![],
        ),
        (
            "twice in one: the first counts",
            receive,
            "4508 00018501 00018502",
            vec![],
        ),
        (
            "in two: the first counts",
            receive,
            "4504 00018502 4504 00028502",
            vec![ipv4],
        ),
    ];
    for (name, add_path, capability, expected) in rows {
        let config = SessionConfig {
            add_path,
            ..config()
        };
        let (mut driven, id) = Driven::in_state(config, State::OpenSent);
        driven.receive(id, &open_with(&format!("{families} {capability}")));
        driven.receive(id, &keepalive());
        let negotiated = driven.session.negotiated().expect("up");
        assert_eq!(negotiated.add_path, expected, "{name}");
        assert_eq!(negotiated.add_path_sent, [], "{name}");
    }
}

#[test]
fn capabilities_may_come_in_several_parameters() {
    let open = message(
        1,
        "04 fe2e 005a c0000201 12 02 06 0104 00010085 02 08 0200 0104 00020085",
    );
    let (mut driven, id) = Driven::in_state(config(), State::OpenSent);
    driven.receive(id, &open);
    driven.receive(id, &keepalive());
    let negotiated = driven.session.negotiated().expect("up");
    assert_eq!(negotiated.families.len(), 2);
    assert!(
        negotiated
            .remote_open
            .capabilities
            .contains(&Capability::RouteRefresh)
    );
}

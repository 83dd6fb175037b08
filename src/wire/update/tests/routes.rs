//! Announced and withdrawn routes, several paths, the end of a table.

use super::*;

#[test]
fn each_of_several_paths_has_its_identifier() {
    let path = |id, number| PathOf {
        id,
        route: protocol(number),
    };
    let two = "800e15 0001850000 00000001 03 038106 00000002 03 038106";
    let one_gone = "800f0b 000185 00000003 03 038106";
    let again = "800e15 0001850000 00000001 03 038106 00000001 03 03c106";
    let taken_back = "800f0b 000185 00000001 03 038106";
    let one = "800e0d 0001850000 00000001 03 038106";
    let rows = [
        (
            "two at once",
            vec![two],
            vec![path(1, 6), path(2, 6)],
            vec![],
        ),
        (
            "another one withdrawn",
            vec![one_gone, two],
            vec![path(1, 6), path(2, 6)],
            vec![path(3, 6)],
        ),
        (
            "the same announced and withdrawn",
            vec![taken_back, one],
            vec![path(1, 6)],
            vec![],
        ),
        ("the same twice", vec![again], vec![path(1, 6)], vec![]),
    ];
    for (name, attributes, announced, withdrawn) in rows {
        let attributes = [attributes, vec![MANDATORY]].concat();
        let update = decode(&body(&attributes), &several_paths()).unwrap();
        assert_eq!(update.errors, [], "{name}");
        assert_eq!(update.announced, announced, "{name}");
        assert_eq!(update.withdrawn, withdrawn, "{name}");
    }
    let update = decode(&body(&["800f03 000185"]), &several_paths()).unwrap();
    assert_eq!(update.end_of_rib, Some(FlowFamily::Ipv4Flow.afi_safi()));
}

#[test]
fn path_identifiers_stand_only_where_they_were_negotiated() {
    let ipv6 = "800e09 0002850000 03 038106";
    let update = decode(&body(&[ipv6, MANDATORY]), &several_paths()).unwrap();
    assert_eq!((update.announced[0].id, update.errors.len()), (0, 0));
    // Without them a reader takes the first octet of an identifier for a length.
    let with_id = "800e0d 0001850000 00000001 03 038106";
    assert!(decode(&body(&[with_id, MANDATORY]), &internal()).is_err());
}

#[test]
fn what_is_announced_and_withdrawn_is_announced() {
    let update = decode(&body(&[UNREACH, REACH, MANDATORY]), &internal()).unwrap();
    assert_eq!(
        (update.announced, update.withdrawn),
        (vec![protocol(6).into()], vec![])
    );
    let twice = "800e0d 0001850000 03 038106 03 03c106";
    let update = decode(&body(&[twice, MANDATORY]), &internal()).unwrap();
    assert_eq!(update.announced, [protocol(6)], "equal once normalised");
}

#[test]
fn families_that_were_not_negotiated_are_skipped_unread() {
    let vpn = "800e06 0001 86 0000 ff";
    let update = decode(&body(&[vpn, MANDATORY]), &internal()).unwrap();
    let afi_safi = AfiSafi { afi: 1, safi: 134 };
    assert_eq!(update.not_negotiated, Some(afi_safi));
    assert!(update.announced.is_empty() && update.errors.is_empty());
}

#[test]
fn end_of_rib_is_found_in_all_its_forms() {
    for family in FlowFamily::ALL
        .map(FlowFamily::afi_safi)
        .into_iter()
        .chain([AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST])
    {
        let update = decode(&end_of_rib(family)[HEADER_LENGTH..], &internal()).unwrap();
        assert_eq!(update.end_of_rib, Some(family));
        assert!(update.errors.is_empty(), "{family}");
    }
    let extended = decode(&body(&["900f0003 000185"]), &internal()).unwrap();
    assert_eq!(extended.end_of_rib, Some(FlowFamily::Ipv4Flow.afi_safi()));
    for (name, body) in [
        ("routes", body(&[UNREACH])),
        ("other attributes", body(&["800f03 000185", MANDATORY])),
        ("a malformed route", body(&["800f04 000185 00"])),
    ] {
        let update = decode(&body, &internal()).unwrap();
        assert_eq!(update.end_of_rib, None, "{name}");
    }
}

#[test]
fn routes_are_spread_over_messages_that_fit() {
    let routes: Vec<PathOf<Nlri>> = (0..=255).map(|n| protocol(n).into()).collect();
    let update = Update {
        announced: routes.clone(),
        ..Update::default()
    };
    let smallest = HEADER_LENGTH + 4 + 4 + 5 + 14 + 4;
    for max_length in [smallest, smallest + 1, 100, MAX_MESSAGE_LENGTH] {
        let (messages, left_out) = update.encode(&internal(), max_length);
        assert!(left_out.is_empty(), "{max_length}");
        let announced: Vec<PathOf<Nlri>> = messages
            .iter()
            .inspect(|message| assert!(message.len() <= max_length))
            .flat_map(|message| {
                let update = decode(&message[HEADER_LENGTH..], &internal()).unwrap();
                assert!(update.errors.is_empty());
                update.announced
            })
            .collect();
        assert_eq!(announced, routes, "{max_length}");
    }
    let (messages, left_out) = update.encode(&internal(), smallest - 1);
    assert_eq!((messages.len(), left_out), (0, routes));
}

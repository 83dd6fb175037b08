use super::*;
use crate::flowspec::action::RouteTarget;
use crate::flowspec::testing::{arbitrary_actions, arbitrary_family, arbitrary_nlri};
use crate::wire::iana::FlowFamily;
use proptest::prelude::*;

fn one(text: &str) -> Flow {
    let mut flows = parse_flows(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    assert_eq!(flows.len(), 1, "{text}");
    flows.remove(0)
}

#[test]
fn components_become_octets() {
    // The octets are those that ExaBGP 4.2.21 sends for the same text, where it can.
    let rows = [
        ("destination 192.0.2.0/24", "0118c00002"),
        ("destination 192.0.2.77/24", "0118c00002"),
        (
            "source 10.0.0.1/32; destination 0.0.0.0/0",
            "010002200a000001",
        ),
        ("destination 2001:db8::/32", "01200020010db8"),
        ("source 2001:db8::/32/0", "02200020010db8"),
        ("source ::1/128/120", "02807801"),
        ("protocol tcp", "038106"),
        ("protocol [ tcp udp ]", "0301068111"),
        ("protocol TCP", "038106"),
        ("next-header [ =udp =58 ]", "030111813a"),
        ("port 80", "048150"),
        ("port =80", "048150"),
        ("port 0x0050", "04910050"),
        ("port =0x00000050", "04a100000050"),
        ("port http", "048150"),
        ("port !=80", "048650"),
        ("port true", "048700"),
        ("port true5", "048705"),
        ("port false0x0000", "04900000"),
        ("port 70000", "04a100011170"),
        ("port 18446744073709551615", "04b1ffffffffffffffff"),
        (
            "destination-port [ >8080&<8088 =3128 ]",
            "05121f90541f98910c38",
        ),
        (
            "destination-port [ >8080&<8088 =3128]",
            "05121f90541f98910c38",
        ),
        ("destination-port >=10&<=20", "05030ac514"),
        ("destination-port >=10 &<=20", "05030ac514"),
        ("source-port >1024", "06920400"),
        (
            "icmp-type [ unreachable echo-request echo-reply ]",
            "070103010881 00",
        ),
        ("icmp-type echo-request; next-header 58", "03813a078180"),
        (
            "icmp-code [ host-unreachable network-unreachable ]",
            "0801018100",
        ),
        ("tcp-flags [SYN RST&FIN&!=push]", "090002000440 01c308"),
        ("tcp-flags =syn+ack", "098112"),
        ("tcp-flags [ urgent rst ]", "0900208004"),
        ("tcp-flags 0x20+0x8+0x1", "098029"),
        ("tcp-flags ns", "09900100"),
        ("tcp-flags 0x0002", "09900002"),
        (
            "packet-length [ >200&<300 >400&<500 ]",
            "0a02c854012c120190d401f4",
        ),
        ("dscp [ 10 20 ]", "0b010a8114"),
        ("traffic-class 46", "0b812e"),
        ("fragment [ first-fragment last-fragment ]", "0c00048008"),
        ("fragment !is-fragment", "0c8202"),
        ("fragment =dont-fragment+is-fragment", "0c8103"),
        ("fragment not-a-fragment", "0c8206"),
        ("flow-label 2013", "0d9107dd"),
        ("flow-label >100&<2000", "0d0264d407d0"),
    ];
    for (text, octets) in rows {
        let flow = one(&format!(
            "flow route {{ match {{ {text}; }} then {{ discard; }} }}"
        ));
        assert_eq!(
            hex::encode(flow.nlri.value()),
            octets.replace(' ', ""),
            "{text}"
        );
    }
}

#[test]
fn families_follow_from_what_is_said() {
    let rows = [
        ("match { port 80; }", FlowFamily::Ipv4Flow),
        ("family ipv6-flow; match { port 80; }", FlowFamily::Ipv6Flow),
        ("match { destination ::/0; }", FlowFamily::Ipv6Flow),
        ("match { next-header tcp; }", FlowFamily::Ipv6Flow),
        ("match { protocol tcp; source ::/0; }", FlowFamily::Ipv6Flow),
        (
            "rd 65535:65536; match { port 80; }",
            FlowFamily::Ipv4FlowVpn,
        ),
        (
            "route-distinguisher 192.0.2.1:1; match { destination ::/0; }",
            FlowFamily::Ipv6FlowVpn,
        ),
    ];
    for (text, family) in rows {
        assert_eq!(
            one(&format!("flow route {{ {text} }}")).nlri.family(),
            family,
            "{text}"
        );
    }
}

#[test]
fn actions_become_communities() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("accept", &[], &["accept"]),
        ("discard", &["8006000000000000"], &["discard"]),
        (
            "rate-limit 9600",
            &["8006000046160000"],
            &["rate-limit 9600 bytes/s"],
        ),
        (
            "rate-limit 9600 bytes",
            &["8006000046160000"],
            &["rate-limit 9600 bytes/s"],
        ),
        (
            "rate-limit 1000 packets",
            &["800c0000447a0000"],
            &["rate-limit 1000 packets/s"],
        ),
        (
            "rate-limit 1000 per-source /24",
            &["83060018447a0000"],
            &["rate-limit 1000 bytes/s for each source /24 of 4096"],
        ),
        (
            "rate-limit 1000 packets per-source /32 of 1048576",
            &["830cff20447a0000"],
            &["rate-limit 1000 packets/s for each source /32 of 1048576"],
        ),
        (
            "rate-limit 5000; rate-limit 1000 bytes per-source /64 of 8192",
            &["80060000459c4000", "83060140447a0000"],
            &[
                "rate-limit 1000 bytes/s for each source /64 of 8192",
                "rate-limit 5000 bytes/s",
            ],
        ),
        (
            "rate-limit-packets 1000",
            &["800c0000447a0000"],
            &["rate-limit 1000 packets/s"],
        ),
        ("mark 46", &["800900000000002e"], &["mark 46"]),
        ("action sample", &["8007000000000002"], &["sample"]),
        ("action terminal", &["8007000000000001"], &["continue"]),
        (
            "action sample-terminal",
            &["8007000000000003"],
            &["sample", "continue"],
        ),
        (
            "redirect 65500:12345",
            &["8008ffdc00003039"],
            &["redirect 65500:12345"],
        ),
        (
            "redirect 258:33756718",
            &["800801020203162e"],
            &["redirect 258:33756718"],
        ),
        (
            "redirect 70000:5",
            &["8208000111700005"],
            &["redirect 70000:5"],
        ),
        (
            "redirect 100L:5",
            &["8208000000640005"],
            &["redirect 100L:5"],
        ),
        (
            "redirect 1.2.3.4:5678",
            &["810801020304162e"],
            &["redirect 1.2.3.4:5678"],
        ),
        (
            "redirect [2001:db8::1]:100",
            &["000d20010db80000000000000000000000010064"],
            &["redirect [2001:db8::1]:100"],
        ),
        (
            "redirect 1.2.3.4",
            &["010c010203040000"],
            &["redirect-to-ip 1.2.3.4"],
        ),
        (
            "redirect-to-nexthop-ietf 1.2.3.4",
            &["010c010203040000"],
            &["redirect-to-ip 1.2.3.4"],
        ),
        (
            "redirect-to-nexthop-ietf 2001:db8::1",
            &["000c20010db80000000000000000000000010000"],
            &["redirect-to-ip 2001:db8::1"],
        ),
        (
            "copy 1.2.3.4",
            &["010c010203040001"],
            &["copy-to-ip 1.2.3.4"],
        ),
        (
            "redirect-to-nexthop",
            &["0800000000000000"],
            &["redirect in the form 0x0800"],
        ),
        (
            "extended-community 0x8006000044160000",
            &["8006000044160000"],
            &["rate-limit 600 bytes/s"],
        ),
        (
            "extended-community [ origin:2345:6.7.8.9 origin:2.3.4.5:6789 target:70000:1 65000:9 ]",
            &[
                "0003092906070809",
                "0103020304051a85",
                "0202000111700001",
                "0002fde800000009",
            ],
            &["accept"],
        ),
        (
            "extended-community [ redirect:65500:12345 ]",
            &["8008ffdc00003039"],
            &["redirect 65500:12345"],
        ),
        (
            "rate-limit 5; discard; mark 1",
            &["8006000040a00000", "8006000000000000", "8009000000000001"],
            &["discard", "mark 1"],
        ),
    ];
    for (text, communities, words) in rows {
        let flow = one(&format!(
            "flow route {{ match {{ port 80; }} then {{ {text}; }} }}"
        ));
        let eight = flow
            .extended_communities
            .iter()
            .map(|community| hex::encode(community.0));
        let twenty = flow
            .ipv6_extended_communities
            .iter()
            .map(|community| hex::encode(community.0));
        assert_eq!(
            eight.chain(twenty).collect::<Vec<_>>(),
            *communities,
            "{text}"
        );
        assert_eq!(flow.actions.describe(), *words, "{text}");
    }
    let flow = one(
        "flow route { match { port 80; } then { community [30740:0 no-export 0x10]; large-community 1:2:3; } \
         scope { interface-set [ transitive:input:1234:1234 non-transitive:input-output:1:2 ]; } }",
    );
    assert_eq!(flow.communities, [30740 << 16, 0xffff_ff01, 16]);
    assert_eq!(
        flow.large_communities,
        [LargeCommunity {
            global: 1,
            local1: 2,
            local2: 3
        }]
    );
    assert_eq!(flow.actions.interface_sets.len(), 2);
    assert_eq!(
        hex::encode(flow.extended_communities[0].0),
        "0702000004d244d2"
    );
}

#[test]
fn layouts_of_one_text_mean_the_same() {
    let layouts = [
        "flow route { match { destination 192.0.2.0/24; port [ =80 =443 ]; } then { discard; } }",
        "flow route a-name{match{destination 192.0.2.0/24;port[=80 =443]}then{discard}}",
        "announce flow route { match { destination 192.0.2.0/24; port 80 443; } then { discard; } }",
        "# first\nflow {\n\troute x { # second\n\t\tmatch {\n\t\t\tport [ 80 443 ];\n\n\t\t\tdestination\n192.0.2.0/24;\n\
         \t\t}\n\t\t# third }\n\t\tthen {\n\t\t\tdiscard;\n\t\t}\n\t}\n}\n",
        "route { match { destination 192.0.2.0/24; port [ =80 =443 ]; } then { discard; } };\r\n",
    ];
    let expected = one(layouts[0]);
    for layout in layouts {
        let flow = one(layout);
        assert_eq!(
            (flow.nlri, flow.actions),
            (expected.nlri.clone(), expected.actions.clone()),
            "{layout}"
        );
    }
    let several = parse_flows(
        "flow { route a { match { port 1; } } route b { match { port 2; } } }\nflow route c { match { port 3; } }",
    );
    let names: Vec<_> = several
        .unwrap()
        .into_iter()
        .map(|flow| flow.name.unwrap())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(parse_flows("  # nothing\n"), Ok(vec![]));
}

#[test]
fn errors_name_the_place_and_what_was_expected() {
    let rows = [
        (
            "flow",
            "line 1, column 5: expected \"route\", found the end of the text",
        ),
        (
            "flow {",
            "line 1, column 7: expected \"route\" or \"}\", found the end of the text",
        ),
        (
            "\n  rule {",
            "line 2, column 3: expected \"flow route\", found \"rule\"",
        ),
        (
            "flow route {\n  match {\n    port =x;\n  }\n}",
            "line 3, column 11: expected a number or a known name, found \"x\"",
        ),
        (
            "flow route { match { é 5; } }",
            "line 1, column 22: expected a component (destination, destination-ipv4, destination-ipv6, source, \
             source-ipv4, source-ipv6, protocol, next-header, port, destination-port, source-port, icmp-type, \
             icmp-code, tcp-flags, packet-length, dscp, traffic-class, fragment, flow-label), found \"é\"",
        ),
        (
            "flow route { match { port [ >1& ]; } }",
            "line 1, column 32: expected a term on both sides of '&' in \">1&\"",
        ),
        (
            "flow route { match { port [ 1&&2 ]; } }",
            "line 1, column 31: expected a term on both sides of '&' in \"1&&2\"",
        ),
        (
            "flow route { match { port &1; } }",
            "line 1, column 27: expected a term on both sides of '&' in \"&1\"",
        ),
        (
            "flow route { match { port ; } }",
            "line 1, column 27: expected a term such as =80, found \";\"",
        ),
        (
            "flow route { match { port [ ]; } }",
            "line 1, column 29: expected a term such as =80, found \"]\"",
        ),
        (
            "flow route { match { port 1; port 2; } }",
            "line 1, column 30: port is given twice: a Flow Specification has each component once, with all terms \
             in one list",
        ),
        (
            "flow route { match { destination 10.0.0.0/33; } }",
            "line 1, column 34: expected a prefix length from 0 to 32, found \"10.0.0.0/33\"",
        ),
        (
            "flow route { match { destination ::/32/32; } }",
            "line 1, column 34: expected an offset that is less than the prefix length, found \"::/32/32\"",
        ),
        (
            "flow route { match { source ::/0; destination 10.0.0.0/8; } }",
            "line 1, column 35: destination is IPv4 here, but the flow is IPv6",
        ),
        (
            "flow route { match { traffic-class 101; } }",
            "line 1, column 36: expected a DSCP from 0 to 63 (ECN bits cannot be matched), found \"101\"",
        ),
        (
            "flow route { family ipv4-flow-vpn; match { port 80; } }",
            "line 1, column 12: family ipv4-flow-vpn needs a route distinguisher (rd)",
        ),
        (
            "flow route { rd 1:1; family ipv4-flow; match { port 80; } }",
            "line 1, column 12: family ipv4-flow has no route distinguisher (rd)",
        ),
        (
            "flow route { match { tcp-flags syn+0x1000; } }",
            "line 1, column 32: expected flags within 0xfff in at most 2 octets, found \"syn+0x1000\"",
        ),
        (
            "flow route { match { destination ::/0; fragment dont-fragment; } }",
            "line 1, column 49: expected flags within 0xe in at most 1 octets, found \"dont-fragment\"",
        ),
        (
            "flow route { match { fragment =part; } }",
            "line 1, column 32: expected flags joined by '+', found \"part\"",
        ),
        (
            "flow route { then { discard; } }",
            "line 1, column 12: a Flow Specification needs at least one component in \"match\"",
        ),
        (
            "flow route { match { port 80 } ",
            "line 1, column 32: expected \"match\", \"then\", \"scope\", \"rd\", \
          \"family\", \"next-hop\" or \"}\", found the end of the text",
        ),
        (
            "flow route { match { port 80; } then { mark 64; } }",
            "line 1, column 45: expected a DSCP from 0 to 63, found \"64\"",
        ),
        (
            "flow route { match { port 80; } then { rate-limit nan; } }",
            "line 1, column 51: expected a rate such as 9600 (octets a second) or 50 packets, found \"nan\"",
        ),
        (
            "flow route { match { port 80; } then { rate-limit 9 per-source 24; } }",
            "line 1, column 64: expected the prefix length of a source such as /24, found \"24\"",
        ),
        (
            "flow route { match { port 80; } then { rate-limit 9 per-source /24 of 5000; } }",
            "line 1, column 71: expected how many sources are told apart: a multiple of 4096, \
             at most 1048576, found \"5000\"",
        ),
        (
            "flow route { match { port 80; } then { rate-limit 9 per-source /24 of 0; } }",
            "line 1, column 71: expected how many sources are told apart: a multiple of 4096, \
             at most 1048576, found \"0\"",
        ),
        (
            "flow route { match { port 80; } then { rate-limit 9 per-source /24 of 1052672; } }",
            "line 1, column 71: expected how many sources are told apart: a multiple of 4096, \
             at most 1048576, found \"1052672\"",
        ),
        (
            "flow route { match { port 80; } then { extended-community 0x800600007fc00000; } }",
            "line 1, column 12: traffic-rate-bytes 800600007fc00000 has a rate that is not a number",
        ),
    ];
    for (text, expected) in rows {
        let errors = parse_flows(text).unwrap_err();
        assert_eq!(errors[0].to_string(), expected, "{text}");
    }
}

#[test]
fn reading_goes_on_after_an_error() {
    let text = "flow route { match { port =x; } then { discard; } }\n\
        flow route { match { port 80; } then { discard; } }\n\
        flow { route { match { dscp 99; } } route { nonsense } }\n";
    let places: Vec<_> = parse_flows(text)
        .unwrap_err()
        .into_iter()
        .map(|error| (error.line, error.column))
        .collect();
    assert_eq!(places, [(1, 28), (3, 29), (3, 45)]);
}

#[test]
fn flows_print_as_one_canonical_line() {
    let rows = [
        "flow route { match { destination 192.0.2.0/24; protocol [ =tcp =udp ]; destination-port [ >=1024&<=2048 =80 ]; } \
         then { rate-limit 9600; } }",
        "flow route { match { source 2001:db8::/32; next-header =58; flow-label =7; } then { accept; } }",
        "flow route { match { port =53; } then { rate-limit 9600; rate-limit 50 packets per-source /32; rate-limit 1000 per-source /24 of 8192; } }",
        "flow route { match { destination 0:0:0:1234::/64/48; } then { discard; mark 46; } }",
        "flow route { family ipv6-flow; match { port =0x0050; } then { discard; } }",
        "flow route { family ipv6-flow-vpn; rd 65535:1; match { dscp !=46; } then { action sample-terminal; } }",
        "flow route { rd 0xffff000000000001; match { tcp-flags [ syn&!ack =syn+ack !=0 0x0002 ]; } then { accept; } }",
        "flow route { match { port [ true false7 ]; fragment !is-fragment+first-fragment; } \
         scope { interface-set transitive:input:1:2; } then { rate-limit 50 packets; redirect 100L:5; } }",
        "flow route { match { packet-length >1400; } then { copy-to-nexthop-ietf 192.0.2.1; } }",
    ];
    for text in rows {
        let flow = one(text);
        assert_eq!(format_flow(&flow.nlri, &flow.actions), text);
    }
    let flow = one(rows[0]);
    assert_eq!(
        format_match(&flow.nlri),
        "destination 192.0.2.0/24; protocol [ =tcp =udp ]; destination-port [ >=1024&<=2048 =80 ]"
    );
}

#[test]
fn route_distinguishers_keep_their_format() {
    for text in [
        "65535:4294967295",
        "192.0.2.1:65535",
        "70000:1",
        "100L:5",
        "0x0003000000000000",
    ] {
        let flow = one(&format!("flow route {{ rd {text}; match {{ port 80; }} }}"));
        assert_eq!(
            format_route_distinguisher(flow.nlri.route_distinguisher().unwrap()),
            text
        );
    }
    assert_eq!(RouteTarget::FourOctetAs(70000, 1).to_string(), "70000:1");
}

/// Words, numbers and punctuation of the grammar in no sensible order.
fn arbitrary_tokens() -> impl Strategy<Value = String> {
    let words = [
        "flow",
        "route",
        "announce",
        "{",
        "}",
        "[",
        "]",
        ";",
        "match",
        "then",
        "scope",
        "rd",
        "family",
        "destination",
        "port",
        "tcp-flags",
        "fragment",
        "redirect",
        "rate-limit",
        "community",
        "extended-community",
        "interface-set",
        ">=1&<=2",
        "!=",
        "&",
        "=0x",
        "true",
        "10.0.0.0/8",
        "::/0/0",
        "::1/128/1",
        "1:2",
        "[2001:db8::1]:1",
        "0xffff",
        "99999999999999999999",
        "-1",
        "é",
        "#",
        "\n",
        "+",
        "syn+ack",
        "1e40",
        "inf",
    ];
    proptest::collection::vec(proptest::sample::select(words.to_vec()), 0..40)
        .prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_printed_reads_back_to_the_same(
        nlri in arbitrary_family().prop_flat_map(arbitrary_nlri),
        actions in arbitrary_actions(),
    ) {
        let text = format_flow(&nlri, &actions);
        let flow = one(&text);
        prop_assert_eq!(&flow.nlri, &nlri, "{}", text);
        prop_assert_eq!(&flow.actions, &actions, "{}", text);
        prop_assert!(!text.contains('\n'));
    }

    #[test]
    fn any_text_is_answered(text in prop_oneof![any::<String>(), arbitrary_tokens()]) {
        match parse_flows(&text) {
            Ok(flows) => for flow in flows {
                prop_assert_eq!(one(&format_flow(&flow.nlri, &flow.actions)).nlri, flow.nlri);
            },
            Err(errors) => {
                prop_assert!(!errors.is_empty());
                for error in errors {
                    prop_assert!(error.line >= 1 && error.column >= 1);
                }
            }
        }
    }
}

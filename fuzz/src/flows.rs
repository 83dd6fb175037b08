//! NLRI and Flow Specifications as text.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane::rule::{Route, RuleId};
use flowacl::engine::bindings::Bindings;
use flowacl::engine::lower::lower;
use flowacl::flowspec::action::TrafficFilteringActions;
use flowacl::flowspec::precedence::precedence_key;
use flowacl::flowspec::text::{format_flow, parse_flows};
use flowacl::wire::cursor::Cursor;
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::nlri::Nlri;

/// The family that an octet chooses.
pub fn family(choice: u8) -> FlowFamily {
    FlowFamily::ALL[usize::from(choice) % FlowFamily::ALL.len()]
}

/// The first octet chooses the family, the rest is a field of NLRI.
pub fn nlri(octets: &[u8]) {
    let Some((choice, field)) = octets.split_first() else {
        return;
    };
    let family = family(*choice);
    let mut cursor = Cursor::new(field, 0);
    while !cursor.is_empty() {
        let start = cursor.offset();
        match Nlri::read(family, &mut cursor) {
            Ok(Ok(nlri)) => check_flow(&nlri, &TrafficFilteringActions::default()),
            Ok(Err(error)) => {
                let length = cursor.offset() - start;
                assert!(error.offset <= length, "{error}, of {length} octets");
                check_reason(&error.kind.to_string());
            }
            Err(error) => return check_reason(&error.to_string()),
        }
    }
}

/// Flow Specifications as text.
pub fn flow_text(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else {
        return;
    };
    match parse_flows(text) {
        Ok(flows) => {
            for flow in flows {
                let communities = (flow.extended_communities, flow.ipv6_extended_communities);
                let read =
                    TrafficFilteringActions::from_communities(&communities.0, &communities.1);
                assert_eq!(read.as_ref(), Ok(&flow.actions), "{text}");
                check_flow(&flow.nlri, &flow.actions);
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            for error in errors {
                let lines = text.lines().count().max(1);
                assert!((1..=lines + 1).contains(&error.line), "{error}");
                assert!(error.column >= 1, "{error}");
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

/// Encoding, components and text all lead back to the same; compiling is total, and agrees with itself.
pub fn check_flow(nlri: &Nlri, actions: &TrafficFilteringActions) {
    let encoded = nlri.encoded();
    let mut cursor = Cursor::new(&encoded, 0);
    assert_eq!(Nlri::read(nlri.family(), &mut cursor), Ok(Ok(nlri.clone())));
    assert!(cursor.is_empty());

    let (rd, components) = (nlri.route_distinguisher(), nlri.components());
    let rebuilt = Nlri::new(nlri.family(), rd, &components);
    assert_eq!(rebuilt.as_ref(), Ok(nlri));

    let text = format_flow(nlri, actions);
    let parsed = parse_flows(&text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    let [flow] = &parsed[..] else {
        panic!("{text}: {} flows", parsed.len())
    };
    assert_eq!(flow.nlri, *nlri, "{text}");
    // Bindings in legacy forms and what has no effect are told in words only.
    let mut told = actions.clone();
    told.notes.clear();
    told.legacy_redirect = None;
    assert_eq!(flow.actions, told, "{text}");

    assert!(!precedence_key(nlri).is_empty());
    match lower(
        nlri,
        &actions.clone().into(),
        RuleId(1),
        &Bindings::default(),
    ) {
        Ok(lowered) => {
            assert!(!nlri.family().is_vpn());
            // What would send packets elsewhere, or keep the rule from some of them, is not done by accepting.
            let discards = lowered.rule.action.discard;
            assert_eq!(discards, actions.is_discard());
            assert!(discards || actions.legacy_redirect.is_none());
            let of_sources = lowered.rule.action.source_limits().len();
            assert!(discards || of_sources == actions.rates_per_source.len());
            let goes_to = lowered.rule.action.rare.redirect.as_deref();
            let addresses = actions.redirect_next_hops.iter().copied();
            let of_family = |address: &IpAddr| address.is_ipv6() == nlri.family().is_ipv6();
            let wanted: BTreeSet<_> = addresses.filter(of_family).collect();
            let wanted = (!discards && !wanted.is_empty()).then(|| Route::NextHops(wanted, None));
            assert_eq!(goes_to, wanted.as_ref());
            let copied_to = actions.copy_to.filter(|_| !discards);
            assert_eq!(lowered.rule.action.copy_to(), copied_to);
            assert!(discards || actions.redirect_route_target.is_none());
            assert!(actions.interface_sets.is_empty());
            assert!(!lowered.rule.label.to_string().contains('\n'));
        }
        Err(refused) => assert!(!refused.to_string().is_empty()),
    }
}

/// A reason stands in a log line: something, on one line, with no dot at its end.
pub fn check_reason(reason: &str) {
    assert!(
        !reason.is_empty() && !reason.contains('\n') && !reason.ends_with('.'),
        "{reason:?}"
    );
}

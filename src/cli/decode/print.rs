//! A reading as text: one step of the arrow under the other.

use std::io::{self, Write};
use std::slice;
use std::sync::Arc;

use dataplane::backend::Capability;
use dataplane::desired::{InterfacePattern, Settings};
use dataplane::nft;
use dataplane::rule::{Action, AddressPattern, Family, Match, RareFields, Rule, RuleId};

use super::reading::{Content, Reading, Route};
use crate::engine::bindings::Bindings;
use crate::engine::lower::lower;
use crate::flowspec::text::{format_flow, format_match, format_route_distinguisher};
use crate::wire::attribute::{AsPathSegmentKind, Attributes};
use crate::wire::message::Message;
use crate::wire::nlri::Nlri;
use crate::wire::update::{DecodeContext, Update};

/// Prints the whole way.
pub(super) fn print(output: &mut dyn Write, reading: &Reading) -> io::Result<()> {
    match &reading.content {
        Content::Nlri => {}
        Content::Update(Some(update)) => print_update(output, &update.0, &update.1)?,
        Content::Message(Some(message)) => print_message(output, message)?,
        Content::Update(None) | Content::Message(None) => {}
    }
    for route in &reading.routes {
        print_route(output, route)?;
    }
    for fault in &reading.faults {
        writeln!(output, "malformed   {fault}")?;
        writeln!(output, "outcome     {} (RFC 7606)", fault.outcome)?;
    }
    Ok(())
}

/// Prints a message that is not an UPDATE.
fn print_message(output: &mut dyn Write, message: &Message) -> io::Result<()> {
    match message {
        Message::Open(open) => {
            writeln!(output, "message     OPEN")?;
            writeln!(output, "AS          {}", open.asn)?;
            writeln!(output, "router id   {}", open.router_id)?;
            writeln!(output, "hold time   {} s", open.hold_time_secs)?;
            for capability in &open.capabilities {
                writeln!(output, "capability  {capability:?}")?;
            }
            Ok(())
        }
        Message::Update(body) => writeln!(output, "message     UPDATE, {} octets", body.len()),
        Message::Notification(notification) => {
            writeln!(output, "message     NOTIFICATION {notification}")
        }
        Message::Keepalive => writeln!(output, "message     KEEPALIVE"),
        Message::RouteRefresh { family, subtype } => {
            writeln!(
                output,
                "message     ROUTE-REFRESH {family}, subtype {subtype}"
            )
        }
    }
}

/// Prints what an UPDATE says of all its routes.
fn print_update(
    output: &mut dyn Write,
    update: &Update,
    context: &DecodeContext,
) -> io::Result<()> {
    let session = if context.ibgp { "iBGP" } else { "eBGP" };
    let octets = if context.four_octet_as { "four" } else { "two" };
    writeln!(
        output,
        "message     UPDATE, read as of {session} with AS numbers of {octets} octets"
    )?;
    if let Some(family) = update.end_of_rib {
        writeln!(output, "End-of-RIB  {family}")?;
    }
    print_attributes(output, &update.attributes)
}

/// Prints the attributes that are there.
fn print_attributes(output: &mut dyn Write, attributes: &Attributes) -> io::Result<()> {
    let mut line = |name: &str, value: String| writeln!(output, "attribute   {name} {value}");
    if let Some(origin) = attributes.origin {
        line("ORIGIN", format!("{origin:?}"))?;
    }
    if !attributes.as_path.is_empty() {
        let segments = attributes.as_path.iter().map(|segment| {
            let asns: Vec<_> = segment.asns.iter().map(ToString::to_string).collect();
            match segment.kind {
                AsPathSegmentKind::Sequence => asns.join(" "),
                AsPathSegmentKind::Set => format!("{{{}}}", asns.join(" ")),
                AsPathSegmentKind::ConfedSequence => format!("({})", asns.join(" ")),
                AsPathSegmentKind::ConfedSet => format!("[{}]", asns.join(" ")),
            }
        });
        line("AS_PATH", segments.collect::<Vec<_>>().join(" "))?;
    }
    if let Some(med) = attributes.med {
        line("MULTI_EXIT_DISC", med.to_string())?;
    }
    if let Some(local_pref) = attributes.local_pref {
        line("LOCAL_PREF", local_pref.to_string())?;
    }
    if let Some(originator_id) = attributes.originator_id {
        line("ORIGINATOR_ID", originator_id.to_string())?;
    }
    for router_id in &attributes.cluster_list {
        line("CLUSTER_LIST", router_id.to_string())?;
    }
    for community in &attributes.communities {
        line(
            "COMMUNITIES",
            format!("{}:{}", community >> 16, community & 0xffff),
        )?;
    }
    for community in &attributes.extended_communities {
        line("EXTENDED COMMUNITIES", ::hex::encode(community.0))?;
    }
    for community in &attributes.ipv6_extended_communities {
        line("IPv6 EXTENDED COMMUNITIES", ::hex::encode(community.0))?;
    }
    for community in &attributes.large_communities {
        let (global, local1, local2) = (community.global, community.local1, community.local2);
        line("LARGE_COMMUNITY", format!("{global}:{local1}:{local2}"))?;
    }
    for attribute in &attributes.unknown {
        line(
            &format!("type {}", attribute.code),
            ::hex::encode(&attribute.value),
        )?;
    }
    Ok(())
}

/// Prints one route: components, text, rule, and what the kernel would be given.
fn print_route(output: &mut dyn Write, route: &Route) -> io::Result<()> {
    let Route {
        nlri,
        path_id,
        actions,
        withdrawn,
    } = route;
    writeln!(
        output,
        "NLRI        {} {}",
        nlri.family(),
        ::hex::encode(nlri.encoded())
    )?;
    if *path_id != 0 {
        writeln!(output, "path        {path_id}")?;
    }
    if let Some(distinguisher) = nlri.route_distinguisher() {
        writeln!(
            output,
            "RD          {}",
            format_route_distinguisher(distinguisher)
        )?;
    }
    for component in nlri.components() {
        let alone = Nlri::new(
            nlri.family(),
            nlri.route_distinguisher(),
            slice::from_ref(&component),
        );
        let text = alone.map_or_else(|error| error.to_string(), |alone| format_match(&alone));
        writeln!(output, "component   type {}: {text}", component.code())?;
    }
    if *withdrawn {
        return writeln!(output, "withdraw    {}", format_match(nlri));
    }
    let text = format_flow(nlri, actions);
    writeln!(output, "flow        {text}")?;
    writeln!(output, "actions     {}", actions.describe().join(", "))?;
    let rule = lower(
        nlri,
        &Arc::new(actions.clone()),
        RuleId(1),
        &Bindings::default(),
    )
    .and_then(|lowered| {
        nft::NftablesCapability.check(&lowered.rule)?;
        Ok(lowered)
    });
    match rule {
        Ok(lowered) => {
            print_rule(output, &lowered.rule)?;
            for note in &lowered.notes {
                writeln!(output, "note        {note}")?;
            }
            let rules = [Arc::new(lowered.rule)];
            writeln!(output, "nftables")?;
            for line in nft::render(&Settings::default(), &[], &rules).lines() {
                writeln!(output, "    {line}")?;
            }
            Ok(())
        }
        Err(unsupported) => writeln!(output, "unsupported {unsupported}"),
    }
}

/// Prints a rule field by field.
fn print_rule(output: &mut dyn Write, rule: &Rule) -> io::Result<()> {
    writeln!(
        output,
        "rule        {}, {}",
        rule.family,
        action_text(&rule.action)
    )?;
    for (field, values) in match_texts(rule.family, &rule.matches) {
        writeln!(output, "  {field:<17} {values}")?;
    }
    Ok(())
}

/// What a rule does, in words.
fn action_text(action: &Action) -> String {
    let mut words = Vec::new();
    if action.discard {
        words.push("drop".to_owned());
    }
    for of_source in action.source_limits() {
        words.push(format!(
            "limit each of {} sources /{} to {} {:?}/s",
            of_source.max_sources,
            of_source.prefix_length,
            of_source.limit.rate_per_sec,
            of_source.limit.unit
        ));
    }
    for limit in &action.limits {
        words.push(format!(
            "limit to {} {:?}/s",
            limit.rate_per_sec, limit.unit
        ));
    }
    words.extend(action.mark_dscp.map(|dscp| format!("set DSCP {dscp}")));
    if action.sample {
        words.push("sample".into());
    }
    words.push(
        match (action.discard, action.continue_evaluation) {
            (true, _) => "and stop",
            (false, true) => "and go on",
            (false, false) => "accept and stop",
        }
        .into(),
    );
    words.join(", ")
}

/// The fields that a rule looks at, with the values that match.
fn match_texts(family: Family, matches: &Match) -> Vec<(&'static str, String)> {
    let Match {
        destination,
        source,
        protocol,
        destination_port,
        source_port,
        fragment,
        rare,
    } = matches;
    let RareFields {
        port,
        icmp_type,
        icmp_code,
        tcp_flags,
        packet_length,
        dscp,
        flow_label,
        interfaces,
    } = &**rare;
    let address = |pattern: &AddressPattern| address_text(family, pattern);
    let sets = [
        ("protocol", protocol),
        ("either port", port),
        ("destination port", destination_port),
        ("source port", source_port),
        ("ICMP type", icmp_type),
        ("ICMP code", icmp_code),
        ("packet length", packet_length),
        ("DSCP", dscp),
        ("flow label", flow_label),
    ];
    let sets = sets.into_iter().filter_map(|(field, set)| {
        let set = set.as_ref()?;
        let text = if set.is_empty() {
            "nothing".into()
        } else {
            set.to_string()
        };
        Some((field, text))
    });
    let mut texts = Vec::new();
    texts.extend(
        destination
            .as_ref()
            .map(|pattern| ("destination", address(pattern))),
    );
    texts.extend(source.as_ref().map(|pattern| ("source", address(pattern))));
    texts.extend(sets);
    texts.extend(interfaces.as_ref().map(|patterns| {
        let names: Vec<_> = patterns.iter().map(InterfacePattern::as_str).collect();
        ("interface", names.join(", "))
    }));
    texts.extend(tcp_flags.as_ref().map(|flags| {
        let values: Vec<_> = flags
            .values()
            .iter()
            .map(|value| format!("{value:#05x}"))
            .collect();
        (
            "TCP flags",
            format!("& {:#05x} = {}", flags.mask(), values.join(" or ")),
        )
    }));
    texts.extend(fragment.map(|set| ("fragment", format!("{set:?}"))));
    texts
}

/// An address pattern: a prefix, or value and mask where it does not begin at the first bit.
fn address_text(family: Family, pattern: &AddressPattern) -> String {
    let address = |bits: u128| match family {
        Family::Ipv4 => std::net::Ipv4Addr::from((bits >> 96) as u32).to_string(),
        Family::Ipv6 => std::net::Ipv6Addr::from(bits).to_string(),
    };
    match pattern.prefix_length() {
        Some(length) => format!("{}/{length}", address(pattern.value())),
        None => format!(
            "{} mask {}",
            address(pattern.value()),
            address(pattern.mask())
        ),
    }
}

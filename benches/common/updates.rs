//! Flows as UPDATE messages, packed as a controller packs them.

use std::collections::BTreeMap;

use flowacl::flowspec::text::Flow;
use flowacl::wire::attribute::{AsPathSegment, AsPathSegmentKind, Attributes, Origin};
use flowacl::wire::community::ExtendedCommunity;
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::message::MAX_MESSAGE_LENGTH;
use flowacl::wire::nlri::Nlri;
use flowacl::wire::path::PathOf;
use flowacl::wire::update::{DecodeContext, Update};

/// The AS of the controller, an external neighbor.
pub const CONTROLLER_AS: u32 = 65070;

/// The session of all benches: external, four-octet AS numbers, both families.
pub fn context() -> DecodeContext {
    DecodeContext {
        four_octet_as: true,
        ibgp: false,
        unicast: Vec::new(),
        add_path: Vec::new(),
        families: vec![FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow],
    }
}

/// Messages that announce the flows: those with the same actions together.
pub fn announcements(flows: &[Flow]) -> Vec<Vec<u8>> {
    let mut groups: BTreeMap<&[ExtendedCommunity], Vec<Nlri>> = BTreeMap::new();
    for flow in flows {
        let group = groups.entry(&flow.extended_communities).or_default();
        group.push(flow.nlri.clone());
    }
    let update = |(communities, announced): (&[ExtendedCommunity], Vec<Nlri>)| Update {
        announced: announced.into_iter().map(PathOf::from).collect(),
        attributes: Attributes {
            origin: Some(Origin::Igp),
            as_path: vec![AsPathSegment {
                kind: AsPathSegmentKind::Sequence,
                asns: vec![CONTROLLER_AS],
            }],
            extended_communities: communities.to_vec(),
            ..Attributes::default()
        },
        ..Update::default()
    };
    groups
        .into_iter()
        .map(update)
        .flat_map(|update| encode(&update))
        .collect()
}

/// Messages that withdraw the flows.
pub fn withdrawals(flows: &[Flow]) -> Vec<Vec<u8>> {
    encode(&Update {
        withdrawn: flows.iter().map(|flow| flow.nlri.clone().into()).collect(),
        ..Update::default()
    })
}

/// Messages of usual length.
pub fn encode(update: &Update) -> Vec<Vec<u8>> {
    let (messages, left_out) = update.encode(&context(), MAX_MESSAGE_LENGTH);
    assert!(left_out.is_empty(), "every flow fits a message");
    messages
}

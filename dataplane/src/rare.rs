//! What few rules have: [`Rare`].

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::action::{Route, SourceLimit};
use crate::desired::InterfacePattern;
use crate::interval::IntervalSet;
use crate::rule::MaskedValues;

/// A group of fields of which most rules have none.
pub trait RareGroup: Default + PartialEq + 'static {
    /// The group with nothing in it, as its `Default` is.
    const NONE: &'static Self;
}

/// Fields that few rules look at. Absent ones are not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RareFields {
    /// TCP or UDP source or destination port: either in the set.
    pub port: Option<IntervalSet>,
    /// ICMP or ICMPv6 type, 0 to 255.
    pub icmp_type: Option<IntervalSet>,
    /// ICMP or ICMPv6 code, 0 to 255.
    pub icmp_code: Option<IntervalSet>,
    /// TCP flags: octets 12 and 13 of the TCP header without the data offset, 12 bits.
    pub tcp_flags: Option<MaskedValues>,
    /// Octets of the whole IP packet, header included.
    pub packet_length: Option<IntervalSet>,
    /// DSCP, 0 to 63.
    pub dscp: Option<IntervalSet>,
    /// IPv6 flow label, 20 bits.
    pub flow_label: Option<IntervalSet>,
    /// Interfaces, one of which the packet has come in by.
    pub interfaces: Option<Box<[InterfacePattern]>>,
}

impl RareGroup for RareFields {
    const NONE: &'static Self = &RareFields {
        port: None,
        icmp_type: None,
        icmp_code: None,
        tcp_flags: None,
        packet_length: None,
        dscp: None,
        flow_label: None,
        interfaces: None,
    };
}

/// Actions that few rules ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RareActions {
    /// Packets are routed this way instead of by their destination (RFC 8955 §7.4). By itself it does not end evaluation.
    pub redirect: Option<Arc<Route>>,
    /// A copy of each packet that passes goes to this address, of the family of the packets: a neighbor, or reached by
    /// the machine's own routes.
    pub copy_to: Option<IpAddr>,
    /// Limiters that each source has for itself; a packet over one of them is dropped, and not charged to those of all
    /// packets. At most one of each unit and prefix length.
    pub source_limits: Vec<SourceLimit>,
}

impl RareGroup for RareActions {
    const NONE: &'static Self = &RareActions {
        redirect: None,
        copy_to: None,
        source_limits: Vec::new(),
    };
}

/// A pointer to a group that takes no memory beside itself until something in it is set: rules are many.
#[derive(Clone, Debug)]
pub struct Rare<G = RareFields>(Option<Box<G>>);

impl<G: RareGroup> Rare<G> {
    /// True when nothing in the group is set.
    pub fn is_none(&self) -> bool {
        self.0.as_deref().is_none_or(|group| *group == *G::NONE)
    }
}

impl<G> Default for Rare<G> {
    fn default() -> Self {
        Self(None)
    }
}

impl<G: RareGroup> Deref for Rare<G> {
    type Target = G;

    fn deref(&self) -> &G {
        self.0.as_deref().unwrap_or(G::NONE)
    }
}

/// Takes the memory.
impl<G: RareGroup> DerefMut for Rare<G> {
    fn deref_mut(&mut self) -> &mut G {
        self.0.get_or_insert_default()
    }
}

impl<G: RareGroup> From<G> for Rare<G> {
    fn from(group: G) -> Self {
        Self(Some(group).filter(|group| *group != *G::NONE).map(Box::new))
    }
}

impl<G: RareGroup> PartialEq for Rare<G> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<G: RareGroup + Eq> Eq for Rare<G> {}

impl<G: RareGroup + Hash> Hash for Rare<G> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_whether_memory_is_taken_or_not() {
        assert_eq!(size_of::<Rare>(), size_of::<usize>());
        let mut rare = Rare::from(RareFields {
            dscp: Some(IntervalSet::single(46)),
            ..RareFields::default()
        });
        assert!(rare != Rare::default() && !rare.is_none());
        rare.dscp = None;
        assert!(rare == Rare::default() && rare.is_none());
        rare.dscp = Some(IntervalSet::single(46));
        assert!(!rare.is_none());
        assert!(Rare::from(RareFields::default()).0.is_none());
    }

    #[test]
    fn none_is_what_the_default_is() {
        assert_eq!(*RareFields::NONE, RareFields::default());
        assert_eq!(*RareActions::NONE, RareActions::default());
    }
}

//! The fields of a match that few rules look at: [`Rare`].

use std::hash::{Hash, Hasher};
use std::ops::{Deref, DerefMut};

use crate::interval::IntervalSet;
use crate::rule::MaskedValues;

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
}

/// None of them is looked at.
static NONE: RareFields = RareFields {
    port: None,
    icmp_type: None,
    icmp_code: None,
    tcp_flags: None,
    packet_length: None,
    dscp: None,
    flow_label: None,
};

/// A pointer to [`RareFields`] that takes no memory beside itself until one of them is set: rules are many.
#[derive(Clone, Debug, Default)]
pub struct Rare(Option<Box<RareFields>>);

impl Rare {
    /// True when none of the fields is looked at.
    pub fn is_none(&self) -> bool {
        self.0.as_deref().is_none_or(|fields| *fields == NONE)
    }
}

impl Deref for Rare {
    type Target = RareFields;

    fn deref(&self) -> &RareFields {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

/// Takes the memory.
impl DerefMut for Rare {
    fn deref_mut(&mut self) -> &mut RareFields {
        self.0.get_or_insert_default()
    }
}

impl From<RareFields> for Rare {
    fn from(fields: RareFields) -> Self {
        Self(Some(fields).filter(|fields| *fields != NONE).map(Box::new))
    }
}

impl PartialEq for Rare {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Rare {}

impl Hash for Rare {
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
}

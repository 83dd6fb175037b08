//! `[bgp]`: who we are, and where we listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::reader::{Section, Value};

/// The port of BGP.
pub(super) const BGP_PORT: u16 = 179;

/// `[bgp]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// Our autonomous system.
    pub local_as: u32,
    /// Our BGP identifier: any but 0 (RFC 6286).
    pub router_id: Ipv4Addr,
    /// Where neighbors may connect to; empty: never listen. Default: port 179 of all addresses.
    pub listen: Vec<SocketAddr>,
}

impl Bgp {
    /// Reads the section.
    pub(super) fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let local_as = section.required("local_as", autonomous_system);
        let router_id = section.required("router_id", router_id);
        let listen = section
            .optional("listen", |value| value.list(Value::socket_address))
            .unwrap_or_else(|| {
                vec![
                    (IpAddr::from(Ipv4Addr::UNSPECIFIED), BGP_PORT).into(),
                    (IpAddr::from(Ipv6Addr::UNSPECIFIED), BGP_PORT).into(),
                ]
            });
        section.finish();
        Some(Self {
            local_as: local_as?,
            router_id: router_id?,
            listen,
        })
    }
}

/// An AS number that a BGP speaker can have.
pub(super) fn autonomous_system(value: &Value<'_, '_>) -> Result<u32, String> {
    let asn = value.integer(1..=u64::from(u32::MAX))?;
    match asn {
        23456 => Err("23456 is AS_TRANS, which nobody can be (RFC 6793)".into()),
        65535 | 0xffff_ffff => Err(format!("{asn} is reserved (RFC 7300)")),
        _ => Ok(u32::try_from(asn).expect("the range was checked")),
    }
}

/// A BGP identifier.
fn router_id(value: &Value<'_, '_>) -> Result<Ipv4Addr, String> {
    let text = value.text()?;
    let id: Ipv4Addr = text
        .parse()
        .map_err(|_| format!("{text:?} is not a router id, as in \"192.0.2.1\""))?;
    match id.is_unspecified() {
        true => Err("0.0.0.0 is not a BGP identifier (RFC 6286)".into()),
        false => Ok(id),
    }
}

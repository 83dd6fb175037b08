//! Capabilities (RFC 5492) in OPEN.

use super::cursor::{Cursor, Truncated};
use super::iana::AfiSafi;

/// Capability codes (<https://www.iana.org/assignments/capability-codes>).
const MULTI_PROTOCOL: u8 = 1;
/// See [`MULTI_PROTOCOL`].
const ROUTE_REFRESH: u8 = 2;
/// See [`MULTI_PROTOCOL`].
const EXTENDED_MESSAGE: u8 = 6;
/// See [`MULTI_PROTOCOL`].
const GRACEFUL_RESTART: u8 = 64;
/// See [`MULTI_PROTOCOL`].
const FOUR_OCTET_AS: u8 = 65;

/// Flags before the restart time (RFC 4724 §3, RFC 8538 §2).
const RESTARTING: u16 = 0x8000;
/// See [`RESTARTING`].
const NOTIFICATION: u16 = 0x4000;
/// The restart time beside the flags.
const RESTART_TIME: u16 = 0x0fff;
/// Flag of a family: forwarding state was preserved.
const FORWARDING: u8 = 0x80;

/// One capability.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Code 1 (RFC 4760).
    MultiProtocol(AfiSafi),
    /// Code 2 (RFC 2918).
    RouteRefresh,
    /// Code 6 (RFC 8654).
    ExtendedMessage,
    /// Code 64 (RFC 4724).
    GracefulRestart(GracefulRestart),
    /// Code 65 (RFC 6793).
    FourOctetAs(u32),
    /// Any other, or a known one with a length that is not its own: carried, ignored.
    Unknown {
        /// Capability code.
        code: u8,
        /// Capability value.
        value: Vec<u8>,
    },
}

/// The graceful restart capability (RFC 4724 §3).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct GracefulRestart {
    /// The sender has restarted.
    pub restarting: bool,
    /// The sender supports RFC 8538 (N bit).
    pub notification: bool,
    /// How long its session may take to come back, 0 to 4095.
    pub restart_time_secs: u16,
    /// Family, and whether forwarding state was preserved.
    pub families: Vec<(AfiSafi, bool)>,
}

impl Capability {
    /// The AS number of the four-octet AS capability.
    pub fn four_octet_as(&self) -> Option<u32> {
        match self {
            Capability::FourOctetAs(asn) => Some(*asn),
            Capability::MultiProtocol(_)
            | Capability::RouteRefresh
            | Capability::ExtendedMessage
            | Capability::GracefulRestart(_)
            | Capability::Unknown { .. } => None,
        }
    }

    /// Appends code, length and value. A value over 255 octets cannot be encoded and is cut.
    pub fn encode(&self, octets: &mut Vec<u8>) {
        let (code, mut value) = match self {
            Capability::MultiProtocol(family) => {
                let [high, low] = family.afi.to_be_bytes();
                (MULTI_PROTOCOL, vec![high, low, 0, family.safi])
            }
            Capability::RouteRefresh => (ROUTE_REFRESH, Vec::new()),
            Capability::ExtendedMessage => (EXTENDED_MESSAGE, Vec::new()),
            Capability::GracefulRestart(restart) => (GRACEFUL_RESTART, graceful_restart(restart)),
            Capability::FourOctetAs(asn) => (FOUR_OCTET_AS, asn.to_be_bytes().to_vec()),
            Capability::Unknown { code, value } => (*code, value.clone()),
        };
        value.truncate(usize::from(u8::MAX));
        octets.extend([code, value.len() as u8]);
        octets.extend(value);
    }
}

/// Takes one capability off the cursor. Fails only when its length overruns the parameter.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Capability, Truncated> {
    let code = cursor.u8()?;
    let length = usize::from(cursor.u8()?);
    let octets = cursor.take(length)?;
    let mut value = octets.clone();
    let known = read_known(code, &mut value)
        .ok()
        .flatten()
        .filter(|_| value.is_empty());
    Ok(known.unwrap_or_else(|| Capability::Unknown {
        code,
        value: octets.rest().to_vec(),
    }))
}

/// `None`: not one that we know.
fn read_known(code: u8, value: &mut Cursor<'_>) -> Result<Option<Capability>, Truncated> {
    Ok(Some(match code {
        MULTI_PROTOCOL => {
            let afi = value.u16()?;
            value.u8()?;
            Capability::MultiProtocol(AfiSafi {
                afi,
                safi: value.u8()?,
            })
        }
        ROUTE_REFRESH => Capability::RouteRefresh,
        EXTENDED_MESSAGE => Capability::ExtendedMessage,
        GRACEFUL_RESTART => Capability::GracefulRestart(read_graceful_restart(value)?),
        FOUR_OCTET_AS => Capability::FourOctetAs(value.u32()?),
        _ => return Ok(None),
    }))
}

fn read_graceful_restart(value: &mut Cursor<'_>) -> Result<GracefulRestart, Truncated> {
    let flags = value.u16()?;
    let mut families = Vec::new();
    while !value.is_empty() {
        let family = AfiSafi {
            afi: value.u16()?,
            safi: value.u8()?,
        };
        families.push((family, value.u8()? & FORWARDING != 0));
    }
    Ok(GracefulRestart {
        restarting: flags & RESTARTING != 0,
        notification: flags & NOTIFICATION != 0,
        restart_time_secs: flags & RESTART_TIME,
        families,
    })
}

fn graceful_restart(restart: &GracefulRestart) -> Vec<u8> {
    let flag = |set: bool, bit: u16| if set { bit } else { 0 };
    let flags = flag(restart.restarting, RESTARTING)
        | flag(restart.notification, NOTIFICATION)
        | restart.restart_time_secs & RESTART_TIME;
    let mut value = flags.to_be_bytes().to_vec();
    for (family, forwarding) in &restart.families {
        value.extend(family.afi.to_be_bytes());
        value.extend([family.safi, if *forwarding { FORWARDING } else { 0 }]);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::iana::FlowFamily;

    #[test]
    fn capabilities_are_read_and_those_of_another_length_are_carried() {
        let unknown = |code, value: &[u8]| Capability::Unknown {
            code,
            value: value.to_vec(),
        };
        let restart = |flags: (bool, bool), restart_time_secs, families| {
            Capability::GracefulRestart(GracefulRestart {
                restarting: flags.0,
                notification: flags.1,
                restart_time_secs,
                families,
            })
        };
        let flow = FlowFamily::Ipv4Flow.afi_safi();
        let rows: [(&str, &str, Capability); 15] = [
            (
                "family, its reserved octet set",
                "01040001ff85",
                Capability::MultiProtocol(flow),
            ),
            ("family of two octets", "01020001", unknown(1, &[0, 1])),
            (
                "family of five",
                "01050001008500",
                unknown(1, &[0, 1, 0, 0x85, 0]),
            ),
            ("refresh", "0200", Capability::RouteRefresh),
            ("refresh with a value", "020100", unknown(2, &[0])),
            ("extended message", "0600", Capability::ExtendedMessage),
            ("extended message with a value", "060101", unknown(6, &[1])),
            (
                "four-octet AS",
                "4104fffffffe",
                Capability::FourOctetAs(0xffff_fffe),
            ),
            (
                "four-octet AS of two",
                "4102fde8",
                unknown(65, &[0xfd, 0xe8]),
            ),
            (
                "restart without families",
                "40020078",
                restart((false, false), 120, vec![]),
            ),
            (
                "restart with all flags, reserved ones too",
                "4006ffff000185ff",
                restart((true, true), 4095, vec![(flow, true)]),
            ),
            (
                "restart that keeps nothing",
                "40060000000185 7f",
                restart((false, false), 0, vec![(flow, false)]),
            ),
            (
                "restart with half a family",
                "40040000 0001",
                unknown(64, &[0, 0, 0, 1]),
            ),
            ("restart of one octet", "400180", unknown(64, &[0x80])),
            ("role", "090103", unknown(9, &[3])),
        ];
        for (name, octets, expected) in rows {
            let octets = hex::decode(octets.replace(' ', "")).unwrap();
            let mut cursor = Cursor::new(&octets, 0);
            assert_eq!(read(&mut cursor), Ok(expected.clone()), "{name}");
            assert!(cursor.is_empty(), "{name}");
            let mut encoded = Vec::new();
            expected.encode(&mut encoded);
            assert_eq!(read(&mut Cursor::new(&encoded, 0)), Ok(expected), "{name}");
        }
        assert!(read(&mut Cursor::new(&[1, 4, 0], 0)).is_err());
    }
}

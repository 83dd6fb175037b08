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
/// See [`MULTI_PROTOCOL`].
const ADD_PATH: u8 = 69;
/// See [`MULTI_PROTOCOL`].
const ENHANCED_ROUTE_REFRESH: u8 = 70;
/// See [`MULTI_PROTOCOL`].
const LONG_LIVED_GRACEFUL_RESTART: u8 = 71;

/// Flags before the restart time (RFC 4724 §3, RFC 8538 §2).
const RESTARTING: u16 = 0x8000;
/// See [`RESTARTING`].
const NOTIFICATION: u16 = 0x4000;
/// The restart time beside the flags.
const RESTART_TIME: u16 = 0x0fff;
/// Flag of a family: forwarding state was preserved.
const FORWARDING: u8 = 0x80;
/// The longest stale time that three octets can say (RFC 9494 §3).
pub const MAX_STALE_TIME: u32 = 0x00ff_ffff;

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
    /// Code 69 (RFC 7911): for each family in which directions there are several paths for one NLRI.
    AddPath(Vec<(AfiSafi, Directions)>),
    /// Code 70 (RFC 7313).
    EnhancedRouteRefresh,
    /// Code 71 (RFC 9494): for each family how long its routes are worth keeping.
    LongLivedGracefulRestart(Vec<LongLived>),
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

/// What its sender can do with several paths for one NLRI (RFC 7911 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Directions {
    /// Take them.
    Receive = 1,
    /// Send them.
    Send = 2,
    /// Both.
    Both = 3,
}

impl Directions {
    /// True when its sender takes several paths.
    pub fn receives(self) -> bool {
        match self {
            Directions::Send => false,
            Directions::Receive | Directions::Both => true,
        }
    }

    /// True when its sender can send several paths.
    pub fn sends(self) -> bool {
        match self {
            Directions::Receive => false,
            Directions::Send | Directions::Both => true,
        }
    }
}

/// One family of the long-lived graceful restart capability (RFC 9494 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LongLived {
    /// Which routes.
    pub family: AfiSafi,
    /// Forwarding state was preserved (F bit).
    pub forwarding: bool,
    /// Long-lived Stale Time, below 2^24.
    pub stale_time_secs: u32,
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
            | Capability::AddPath(_)
            | Capability::EnhancedRouteRefresh
            | Capability::LongLivedGracefulRestart(_)
            | Capability::Unknown { .. } => None,
        }
    }

    /// The graceful restart capability's content.
    pub fn graceful_restart(&self) -> Option<&GracefulRestart> {
        if let Capability::GracefulRestart(restart) = self {
            Some(restart)
        } else {
            None
        }
    }

    /// The families of the long-lived graceful restart capability.
    pub fn long_lived_graceful_restart(&self) -> Option<&[LongLived]> {
        if let Capability::LongLivedGracefulRestart(families) = self {
            Some(families)
        } else {
            None
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
            Capability::AddPath(families) => (ADD_PATH, add_path(families)),
            Capability::EnhancedRouteRefresh => (ENHANCED_ROUTE_REFRESH, Vec::new()),
            Capability::LongLivedGracefulRestart(families) => {
                (LONG_LIVED_GRACEFUL_RESTART, long_lived(families))
            }
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
        ADD_PATH => match read_add_path(value)? {
            Some(families) => Capability::AddPath(families),
            None => return Ok(None),
        },
        ENHANCED_ROUTE_REFRESH => Capability::EnhancedRouteRefresh,
        LONG_LIVED_GRACEFUL_RESTART => {
            Capability::LongLivedGracefulRestart(read_long_lived(value)?)
        }
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

fn read_long_lived(value: &mut Cursor<'_>) -> Result<Vec<LongLived>, Truncated> {
    let mut families = Vec::new();
    while !value.is_empty() {
        let (afi, safi) = (value.u16()?, value.u8()?);
        let [flags, time @ ..] = value.u32()?.to_be_bytes();
        families.push(LongLived {
            family: AfiSafi { afi, safi },
            forwarding: flags & FORWARDING != 0,
            stale_time_secs: u32::from_be_bytes([0, time[0], time[1], time[2]]),
        });
    }
    Ok(families)
}

/// `None`: there is a direction that nobody knows, and the capability is to be ignored (RFC 7911 §4).
fn read_add_path(value: &mut Cursor<'_>) -> Result<Option<Vec<(AfiSafi, Directions)>>, Truncated> {
    let mut families = Vec::new();
    while !value.is_empty() {
        let (afi, safi) = (value.u16()?, value.u8()?);
        let directions = match value.u8()? {
            1 => Directions::Receive,
            2 => Directions::Send,
            3 => Directions::Both,
            _ => return Ok(None),
        };
        families.push((AfiSafi { afi, safi }, directions));
    }
    Ok(Some(families))
}

fn add_path(families: &[(AfiSafi, Directions)]) -> Vec<u8> {
    let mut value = Vec::new();
    for (family, directions) in families {
        value.extend(family.afi.to_be_bytes());
        value.extend([family.safi, *directions as u8]);
    }
    value
}

fn long_lived(families: &[LongLived]) -> Vec<u8> {
    let mut value = Vec::new();
    for entry in families {
        value.extend(entry.family.afi.to_be_bytes());
        value.push(entry.family.safi);
        let [_, time @ ..] = entry.stale_time_secs.min(MAX_STALE_TIME).to_be_bytes();
        value.push(if entry.forwarding { FORWARDING } else { 0 });
        value.extend(time);
    }
    value
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
        let long_lived = |family, forwarding, stale_time_secs| LongLived {
            family,
            forwarding,
            stale_time_secs,
        };
        let rows: [(&str, &str, Capability); 27] = [
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
            (
                "several paths, in each direction",
                "450c 00018501 00028502 00010103",
                Capability::AddPath(vec![
                    (flow, Directions::Receive),
                    (FlowFamily::Ipv6Flow.afi_safi(), Directions::Send),
                    (AfiSafi::IPV4_UNICAST, Directions::Both),
                ]),
            ),
            (
                "several paths of no family",
                "4500",
                Capability::AddPath(vec![]),
            ),
            (
                "several paths in a direction that nobody knows",
                "4508 00018503 00028504",
                unknown(69, &[0, 1, 0x85, 3, 0, 2, 0x85, 4]),
            ),
            (
                "several paths in no direction",
                "4504 00018500",
                unknown(69, &[0, 1, 0x85, 0]),
            ),
            (
                "several paths of half a family",
                "4506 00018503 0002",
                unknown(69, &[0, 1, 0x85, 3, 0, 2]),
            ),
            (
                "several paths, cut before the direction",
                "4503 000185",
                unknown(69, &[0, 1, 0x85]),
            ),
            ("enhanced refresh", "4600", Capability::EnhancedRouteRefresh),
            ("enhanced refresh with a value", "460100", unknown(70, &[0])),
            (
                "long-lived without families",
                "4700",
                Capability::LongLivedGracefulRestart(vec![]),
            ),
            (
                "long-lived, with and without its flag",
                "470e00018580 015180 000285 00 ffffff",
                Capability::LongLivedGracefulRestart(vec![
                    long_lived(flow, true, 86_400),
                    long_lived(FlowFamily::Ipv6Flow.afi_safi(), false, MAX_STALE_TIME),
                ]),
            ),
            (
                "long-lived, other flags",
                "4707000185 7f 000001",
                Capability::LongLivedGracefulRestart(vec![long_lived(flow, false, 1)]),
            ),
            (
                "long-lived with half a family",
                "47060001858000 01",
                unknown(71, &[0, 1, 0x85, 0x80, 0, 1]),
            ),
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

//! OPEN (RFC 4271 §4.2).

use std::net::Ipv4Addr;

use super::capability::{self, Capability};
use super::cursor::{Cursor, Truncated};
use super::error::{WireError, open_error};

/// The only version there is.
const VERSION: u8 = 4;
/// Optional parameter: capabilities (RFC 5492 §4).
const PARAMETER_CAPABILITIES: u8 = 2;
/// In the place of the first parameter type: two-octet lengths follow (RFC 9072).
const PARAMETER_EXTENDED_LENGTH: u8 = 255;
/// Stands in the two-octet field for an AS that does not fit (RFC 6793 §9).
const AS_TRANS: u16 = 23456;

/// An OPEN message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS: from the four-octet AS capability where present.
    pub asn: u32,
    /// Proposed hold time: 0 or at least 3.
    pub hold_time_secs: u16,
    /// BGP identifier: not 0.
    pub router_id: Ipv4Addr,
    /// All capabilities in the order received.
    pub capabilities: Vec<Capability>,
}

/// Decodes the body of an OPEN and checks what needs no configuration (RFC 4271 §6.2).
pub fn decode(body: &[u8]) -> Result<Open, WireError> {
    let unspecific = |error: Truncated| {
        let reason = format!("OPEN cut short: {error}");
        WireError::open_reset(error.offset, open_error::UNSPECIFIC, &[], reason)
    };
    let mut cursor = Cursor::new(body, 0);
    let version = cursor.u8().map_err(unspecific)?;
    if version != VERSION {
        let data = [0, VERSION];
        let reason = format!("version {version}");
        return Err(WireError::open_reset(0, open_error::VERSION, &data, reason));
    }
    let two_octet_as = cursor.u16().map_err(unspecific)?;
    let hold_time_secs = cursor.u16().map_err(unspecific)?;
    if matches!(hold_time_secs, 1 | 2) {
        let reason = format!("hold time {hold_time_secs}");
        return Err(WireError::open_reset(3, open_error::HOLD_TIME, &[], reason));
    }
    let router_id = cursor.array::<4>().map_err(unspecific)?;
    if router_id == [0; 4] {
        // RFC 6286 §2.1: any other value is valid.
        return Err(WireError::open_reset(
            5,
            open_error::IDENTIFIER,
            &[],
            "BGP identifier 0",
        ));
    }
    let mut capabilities = Vec::new();
    let parameters = parameters(&mut cursor).map_err(unspecific)?;
    if !cursor.is_empty() {
        let reason = format!("{} octets behind the optional parameters", cursor.len());
        let (offset, subcode) = (cursor.offset(), open_error::UNSPECIFIC);
        return Err(WireError::open_reset(offset, subcode, &[], reason));
    }
    for (parameter_type, mut value) in parameters {
        if parameter_type != PARAMETER_CAPABILITIES {
            let reason = format!("optional parameter of type {parameter_type}");
            let subcode = open_error::OPTIONAL_PARAMETER;
            return Err(WireError::open_reset(value.offset(), subcode, &[], reason));
        }
        while !value.is_empty() {
            capabilities.push(capability::read(&mut value).map_err(unspecific)?);
        }
    }
    let four_octet_as = capabilities.iter().find_map(Capability::four_octet_as);
    let asn = four_octet_as.unwrap_or(u32::from(two_octet_as));
    if asn == 0 {
        // RFC 7607 §2.
        return Err(WireError::open_reset(1, open_error::PEER_AS, &[], "AS 0"));
    }
    Ok(Open {
        asn,
        hold_time_secs,
        router_id: router_id.into(),
        capabilities,
    })
}

/// Types and values of the optional parameters, in either of their two forms.
fn parameters<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<(u8, Cursor<'a>)>, Truncated> {
    let length = usize::from(cursor.u8()?);
    let extended = length != 0 && cursor.rest().first() == Some(&PARAMETER_EXTENDED_LENGTH);
    let mut octets = if extended {
        cursor.u8()?;
        let length = usize::from(cursor.u16()?);
        cursor.take(length)?
    } else {
        cursor.take(length)?
    };
    let mut parameters = Vec::new();
    while !octets.is_empty() {
        let parameter_type = octets.u8()?;
        let length = if extended {
            octets.u16()?
        } else {
            octets.u8()?.into()
        };
        parameters.push((parameter_type, octets.take(length.into())?));
    }
    Ok(parameters)
}

impl Open {
    /// The body after the header. All capabilities stand in one parameter; RFC 9072's form is used when they need it.
    pub fn encode(&self) -> Vec<u8> {
        let two_octet_as = u16::try_from(self.asn).unwrap_or(AS_TRANS);
        let mut body = vec![VERSION];
        body.extend(two_octet_as.to_be_bytes());
        body.extend(self.hold_time_secs.to_be_bytes());
        body.extend(self.router_id.octets());
        let mut capabilities = Vec::new();
        for capability in &self.capabilities {
            capability.encode(&mut capabilities);
        }
        match u8::try_from(capabilities.len()) {
            Ok(0) => body.push(0),
            Ok(length @ ..=253) => {
                body.extend([length + 2, PARAMETER_CAPABILITIES, length]);
            }
            Ok(_) | Err(_) => {
                let length = capabilities.len() as u16;
                body.extend([u8::MAX, PARAMETER_EXTENDED_LENGTH]);
                body.extend((length + 3).to_be_bytes());
                body.push(PARAMETER_CAPABILITIES);
                body.extend(length.to_be_bytes());
            }
        }
        body.extend(capabilities);
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::capability::GracefulRestart;
    use crate::wire::error::Consequence;
    use crate::wire::iana::FlowFamily;

    fn open(capabilities: Vec<Capability>) -> Open {
        let router_id = Ipv4Addr::new(192, 0, 2, 1);
        Open {
            asn: 4_200_000_000,
            hold_time_secs: 90,
            router_id,
            capabilities,
        }
    }

    #[test]
    fn every_capability_survives_the_wire() {
        let restart = GracefulRestart {
            restarting: true,
            notification: true,
            restart_time_secs: 4095,
            families: vec![(FlowFamily::Ipv4Flow.afi_safi(), true)],
        };
        let mut capabilities = vec![
            Capability::MultiProtocol(FlowFamily::Ipv6Flow.afi_safi()),
            Capability::RouteRefresh,
            Capability::ExtendedMessage,
            Capability::GracefulRestart(restart),
            Capability::FourOctetAs(4_200_000_000),
            Capability::Unknown {
                code: 73,
                value: b"\x01a\x00".to_vec(),
            },
        ];
        let short = open(capabilities.clone());
        assert_eq!(decode(&short.encode()), Ok(short));

        capabilities.extend((0..3).map(|code| Capability::Unknown {
            code: 200 + code,
            value: vec![7; 200],
        }));
        let long = open(capabilities);
        assert_eq!(decode(&long.encode()), Ok(long), "RFC 9072's form");
    }

    #[test]
    fn parameters_are_read_in_all_their_forms() {
        let fixed = "04fde9005ac0000201";
        let forms = [
            ("one each", "08 0202 0200 0202 0600"),
            ("both in one", "06 0204 0200 0600"),
            ("RFC 9072", "ff ff0007 020004 0200 0600"),
            (
                "RFC 9072 behind any length",
                "01 ff000a 020002 0200 020002 0600",
            ),
            ("an empty one", "08 0200 0204 0200 0600"),
        ];
        let read = |parameters: &str| {
            let hex = format!("{fixed}{}", parameters.replace(' ', ""));
            decode(&hex::decode(hex).unwrap())
        };
        for (name, parameters) in forms {
            let capabilities = read(parameters).map(|open| open.capabilities);
            let expected = vec![Capability::RouteRefresh, Capability::ExtendedMessage];
            assert_eq!(capabilities, Ok(expected), "{name}");
        }
        assert_eq!(read("00").map(|open| open.asn), Ok(65001));
        for (name, parameters) in [
            (
                "lengths that contradict each other",
                "ff ff0008 020004 0200 0600",
            ),
            ("octets behind them", "04 0202 0200 00"),
            ("RFC 9072 without a length", "01 ff"),
            ("a parameter without a length", "01 02"),
            ("255 octets that are not there", "ff 0202"),
        ] {
            let error = read(parameters).unwrap_err();
            assert_eq!(error.consequence.name(), "session-reset", "{name}");
            assert!(error.offset >= 10, "{name}: {error}");
        }
    }

    #[test]
    fn errors_reset_with_their_subcode() {
        let good = open(vec![Capability::FourOctetAs(65001)]).encode();
        let with = |at: usize, octets: &[u8]| {
            let mut body = good.clone();
            body[at..at + octets.len()].copy_from_slice(octets);
            body
        };
        let rows = [
            ("version 3", with(0, &[3]), (1, vec![0, 4])),
            ("AS 0", with(14, &[0, 0, 0, 0]), (2, vec![])),
            ("identifier 0", with(5, &[0, 0, 0, 0]), (3, vec![])),
            ("parameter 99", with(10, &[99]), (4, vec![])),
            ("hold time 1", with(3, &[0, 1]), (6, vec![])),
            ("hold time 2", with(3, &[0, 2]), (6, vec![])),
            ("parameters overrun", with(9, &[200]), (0, vec![])),
            ("parameters underrun", with(9, &[4]), (0, vec![])),
            ("capability overruns", with(13, &[5]), (0, vec![])),
        ];
        for (name, body, expected) in rows {
            let Consequence::SessionReset(n) = decode(&body).unwrap_err().consequence else {
                panic!("{name}")
            };
            assert_eq!((n.code, (n.subcode, n.data)), (2, expected), "{name}");
        }
        assert!(
            decode(&with(5, &[255; 4])).is_ok(),
            "RFC 6286 allows any identifier but 0"
        );
        assert!(
            decode(&with(3, &[0, 0])).is_ok(),
            "hold time 0 means no keepalives"
        );
    }
}

//! Unicast prefixes (RFC 4271 §4.3, RFC 4760 §5).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use crate::wire::cursor::Cursor;
use crate::wire::error::{WireError, update_error};
use crate::wire::iana::UnicastFamily;
use crate::wire::path::PathOf;

/// Reads all prefixes of a field or MP attribute.
///
/// Bits beyond a prefix's length are cleared. A length that is too great or runs past the end resets the session
/// (RFC 7606 §5.3): nobody knows which routes follow. `path_ids`: each prefix has a Path Identifier before it.
pub(super) fn read_prefixes(
    family: UnicastFamily,
    path_ids: bool,
    prefixes: &mut Cursor<'_>,
) -> Result<Vec<PathOf<IpNetwork>>, WireError> {
    let mut read = Vec::new();
    while !prefixes.is_empty() {
        let offset = prefixes.offset();
        let error = |reason: String| {
            WireError::update_reset(offset, update_error::NETWORK_FIELD, &[], reason)
        };
        let id = if path_ids { prefixes.u32() } else { Ok(0) };
        let id = id.map_err(|truncated| error(format!("Path Identifier: {truncated}")))?;
        let length = prefixes
            .u8()
            .map_err(|truncated| error(truncated.to_string()))?;
        let octets = prefixes
            .bytes(usize::from(length).div_ceil(8))
            .map_err(|truncated| error(truncated.to_string()))?;
        let route = prefix(family, length, octets)
            .ok_or_else(|| error(format!("{family} prefix of {length} bits")))?;
        read.push(PathOf { id, route });
    }
    Ok(read)
}

/// The prefix of `length` bits that begins with `octets`; `None` when no address is that long.
fn prefix(family: UnicastFamily, length: u8, octets: &[u8]) -> Option<IpNetwork> {
    Some(match family {
        UnicastFamily::Ipv4Unicast => {
            let network = Ipv4Network::new(Ipv4Addr::from(padded(octets)?), length).ok()?;
            IpNetwork::V4(Ipv4Network::new(network.network(), length).ok()?)
        }
        UnicastFamily::Ipv6Unicast => {
            let network = Ipv6Network::new(Ipv6Addr::from(padded(octets)?), length).ok()?;
            IpNetwork::V6(Ipv6Network::new(network.network(), length).ok()?)
        }
    })
}

/// The octets of an address that begins with `octets`.
fn padded<const N: usize>(octets: &[u8]) -> Option<[u8; N]> {
    let mut address = [0; N];
    address.get_mut(..octets.len())?.copy_from_slice(octets);
    Some(address)
}

/// True for next hops that a unicast route can have: an IPv4 address, or one or two IPv6 addresses (RFC 2545 §3, also
/// for IPv4 routes, RFC 8950). What they are is not looked at.
pub(super) fn is_next_hop_length(family: UnicastFamily, octets: usize) -> bool {
    match family {
        UnicastFamily::Ipv4Unicast => matches!(octets, 4 | 16 | 32),
        UnicastFamily::Ipv6Unicast => matches!(octets, 16 | 32),
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::error::WireError;
    use crate::wire::iana::{AfiSafi, FlowFamily, UnicastFamily};
    use crate::wire::path::PathOf;
    use crate::wire::update::{DecodeContext, Update, decode};

    /// ORIGIN IGP, AS_PATH of AS 65070.
    const PATH: &str = "400101 00  400206 0201 0000fe2e";
    /// NEXT_HOP.
    const NEXT_HOP: &str = "400304 c0000201";
    /// 10.0.0.0/8 and 203.0.113.0/25, with bits beyond their lengths.
    const PREFIXES: &str = "080a 19cb00717f";

    fn read(
        unicast: &[UnicastFamily],
        withdrawn: &str,
        attributes: &str,
        announced: &str,
    ) -> Result<Update, WireError> {
        read_paths(unicast, &[], (withdrawn, attributes, announced))
    }

    fn read_paths(
        unicast: &[UnicastFamily],
        add_path: &[AfiSafi],
        (withdrawn, attributes, announced): (&str, &str, &str),
    ) -> Result<Update, WireError> {
        let octets = |hex: &str| hex::decode(hex.replace(' ', "")).unwrap();
        let (withdrawn, attributes) = (octets(withdrawn), octets(attributes));
        let length = |octets: &[u8]| u16::try_from(octets.len()).unwrap().to_be_bytes();
        let mut body = length(&withdrawn).to_vec();
        body.extend(&withdrawn);
        body.extend(length(&attributes));
        body.extend(&attributes);
        body.extend(octets(announced));
        let context = DecodeContext {
            four_octet_as: true,
            ibgp: false,
            families: vec![FlowFamily::Ipv4Flow],
            unicast: unicast.to_vec(),
            add_path: add_path.to_vec(),
        };
        decode(&body, &context)
    }

    fn words(update: &Update) -> (String, String) {
        let words = |prefixes: &[PathOf<ipnetwork::IpNetwork>]| {
            let words: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            words.join(" ")
        };
        (
            words(&update.unicast.announced),
            words(&update.unicast.withdrawn),
        )
    }

    #[test]
    fn prefixes_are_taken_where_they_were_negotiated() {
        let ipv4 = &[UnicastFamily::Ipv4Unicast][..];
        let both = &UnicastFamily::ALL[..];
        let with_next_hop = format!("{PATH}{NEXT_HOP}");
        let ipv6 = "800e1a 0002 01 10 20010db8000000000000000000000001 00 20 20010db8";
        let ipv6 = format!("{PATH}{ipv6}");
        let reach = format!("{PATH} 800e0e 0001 01 04 c0000201 00 18cb0071 00");
        let announced = "10.0.0.0/8 203.0.113.0/25";
        let rows = [
            ("taken", ipv4, "", &with_next_hop, PREFIXES, (announced, "")),
            (
                "not negotiated",
                &[],
                "",
                &with_next_hop,
                PREFIXES,
                ("", ""),
            ),
            (
                "withdrawn",
                ipv4,
                PREFIXES,
                &String::new(),
                "",
                ("", announced),
            ),
            (
                "announced and withdrawn",
                ipv4,
                "080a",
                &with_next_hop,
                PREFIXES,
                (announced, ""),
            ),
            (
                "without NEXT_HOP",
                ipv4,
                "",
                &PATH.into(),
                PREFIXES,
                ("", announced),
            ),
            (
                "with an error",
                ipv4,
                "",
                &format!("400101 07 {with_next_hop}"),
                PREFIXES,
                ("", announced),
            ),
            (
                "MP_REACH_NLRI",
                both,
                "",
                &reach,
                "",
                ("203.0.113.0/24 0.0.0.0/0", ""),
            ),
            ("IPv6", both, "", &ipv6, "", ("2001:db8::/32", "")),
            ("IPv6, not negotiated", ipv4, "", &ipv6, "", ("", "")),
            (
                "MP_UNREACH_NLRI",
                both,
                "",
                &"800f08 0002 01 20 20010db8".into(),
                "",
                ("", "2001:db8::/32"),
            ),
        ];
        for (name, families, withdrawn, attributes, prefixes, (reachable, gone)) in rows {
            let update = read(families, withdrawn, attributes, prefixes)
                .unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(words(&update), (reachable.into(), gone.into()), "{name}");
        }
    }

    #[test]
    fn each_of_several_paths_has_its_identifier() {
        let attributes = format!("{PATH}{NEXT_HOP}");
        let paths = "00000001 080a 00000002 080a";
        let both = [AfiSafi::IPV4_UNICAST, AfiSafi::IPV6_UNICAST];
        let read = |withdrawn, attributes, announced| {
            read_paths(
                &UnicastFamily::ALL,
                &both,
                (withdrawn, attributes, announced),
            )
        };
        let update = read("00000003 080a 00000002 080a", &attributes, paths).unwrap();
        let expected = ("10.0.0.0/8 path 1 10.0.0.0/8 path 2", "10.0.0.0/8 path 3");
        assert_eq!(words(&update), (expected.0.into(), expected.1.into()));
        let ipv6 = format!(
            "{PATH} 800e1e 0002 01 10 20010db8000000000000000000000001 00 ffffffff 20 20010db8"
        );
        let update = read("", &ipv6, "").unwrap();
        assert_eq!(words(&update).0, "2001:db8::/32 path 4294967295");
        for cut in ["000000", "00000001", "00000001 180a"] {
            let error = read("", &attributes, cut).unwrap_err();
            assert_eq!(error.consequence.name(), "session-reset", "{cut}");
        }
        // Without ADD-PATH the same octets are something else.
        assert!(super::tests::read(&UnicastFamily::ALL, "", &attributes, paths).is_err());
    }

    #[test]
    fn what_nobody_can_read_resets_the_session() {
        let ipv4 = [UnicastFamily::Ipv4Unicast];
        let attributes = format!("{PATH}{NEXT_HOP}");
        let bad_next_hop = format!("{PATH} 800e0c 0001 01 05 c000020100 00 080a");
        let rows = [
            ("33 bits", &attributes, "21cb00710000"),
            ("cut short", &attributes, "18cb00"),
            ("next hop of 5 octets", &bad_next_hop, ""),
        ];
        for (name, attributes, prefixes) in rows {
            let error = read(&ipv4, "", attributes, prefixes).unwrap_err();
            assert_eq!(error.consequence.name(), "session-reset", "{name}");
        }
    }

    #[test]
    fn flows_and_prefixes_share_an_update() {
        let flow = "800e09 0001 85 00 00 03 038106";
        let attributes = format!("{flow}{PATH}{NEXT_HOP}");
        let update = read(&[UnicastFamily::Ipv4Unicast], "", &attributes, "080a").unwrap();
        assert_eq!(update.announced.len(), 1);
        assert_eq!(words(&update).0, "10.0.0.0/8");
        let end = read(&UnicastFamily::ALL, "", "800f03 000201", "").unwrap();
        assert_eq!(end.end_of_rib, Some(AfiSafi::IPV6_UNICAST));
    }
}

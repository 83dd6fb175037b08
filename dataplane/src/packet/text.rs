//! From a line that a person writes to a packet: `udp 198.51.100.7:123 > 203.0.113.5:4444 len 468`.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use super::Packet;
use super::parse::protocol;
use crate::rule::{Family, FragmentKind, left_aligned};

/// Names of the TCP flags from the least significant bit.
const TCP_FLAGS: [&str; 9] = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];

/// Hop limit of a packet that nobody says it of.
const HOP_LIMIT: u8 = 64;

/// The grammar, for messages that have nothing better to say.
const EXPECTED: &str = "expected `PROTOCOL SOURCE > DESTINATION [len OCTETS] [frag first|middle|last|df] \
    [flags syn,ack] [type N] [code N] [dscp N] [label N] [hops N] \
    [on INTERFACE]` with PROTOCOL one of tcp, udp, icmp, icmp6 or `proto N`";

impl Packet {
    /// Reads a packet from one line of text.
    ///
    /// ```text
    /// udp 198.51.100.7:123 > 203.0.113.5:4444 len 468
    /// tcp [2001:db8::1]:1024 > [2001:db8::5]:443 flags syn,ack dscp 46 label 7
    /// icmp 192.0.2.1 > 203.0.113.5 type 8 code 0
    /// proto 47 192.0.2.1 > 203.0.113.5 frag last
    /// ```
    ///
    /// TCP and UDP need ports, ICMP needs a type, unless the packet is a later fragment: those have neither. What is
    /// not said is 0: flags, code, DSCP, label; the length is that of the headers alone, the hop limit 64; the interface
    /// that it comes in by is not known. The error says what was expected.
    pub fn from_text(text: &str) -> Result<Packet, String> {
        let mut words = text.split_whitespace();
        let mut next = |what: &str| {
            words
                .next()
                .ok_or_else(|| format!("{what} is missing: {EXPECTED}"))
        };
        let name = next("the protocol")?;
        let number = match name {
            "tcp" => protocol::TCP,
            "udp" => protocol::UDP,
            "icmp" => protocol::ICMP,
            "icmp6" | "icmpv6" => protocol::ICMPV6,
            "proto" => number("proto", next("the protocol number")?, u8::MAX)?,
            other => return Err(format!("unknown protocol {other:?}: {EXPECTED}")),
        };
        let source = Endpoint::from_str(next("the source address")?)?;
        let arrow = next("`>`")?;
        if arrow != ">" {
            return Err(format!(
                "expected `>` between source and destination, found {arrow:?}"
            ));
        }
        let destination = Endpoint::from_str(next("the destination address")?)?;
        let options = Options::read(words)?;
        let family = match (source.address, destination.address) {
            (IpAddr::V4(_), IpAddr::V4(_)) => Family::Ipv4,
            (IpAddr::V6(_), IpAddr::V6(_)) => Family::Ipv6,
            _ => return Err("source and destination are of different families".into()),
        };
        match (name, family) {
            ("icmp", Family::Ipv6) => return Err("icmp is for IPv4; IPv6 has icmp6".into()),
            ("icmp6" | "icmpv6", Family::Ipv4) => {
                return Err("icmp6 is for IPv6; IPv4 has icmp".into());
            }
            _ => {}
        }
        let mut packet = Packet {
            family,
            destination: left_aligned(destination.address).1,
            source: left_aligned(source.address).1,
            protocol: Some(number),
            source_port: None,
            destination_port: None,
            icmp_type: None,
            icmp_code: None,
            tcp_flags: None,
            packet_length: None,
            hop_limit: options.hop_limit.unwrap_or(HOP_LIMIT),
            dscp: options.dscp.unwrap_or(0),
            fragment: options.fragment,
            dont_fragment: options.dont_fragment,
            flow_label: None,
            interface: options.interface.clone(),
        };
        packet.set_family_fields(&options)?;
        packet.set_transport_fields(name, source.port, destination.port, &options)?;
        Ok(packet)
    }

    /// Fields that only one family has, and the length.
    fn set_family_fields(&mut self, options: &Options) -> Result<(), String> {
        match self.family {
            Family::Ipv4 if options.label.is_some() => {
                return Err("IPv4 packets have no flow label".into());
            }
            Family::Ipv6 if options.dont_fragment => {
                return Err("IPv6 packets have no Don't Fragment bit".into());
            }
            Family::Ipv4 => {}
            Family::Ipv6 => self.flow_label = Some(options.label.unwrap_or(0)),
        }
        let (ip_header, greatest) = match self.family {
            Family::Ipv4 => (20, 65_535),
            Family::Ipv6 if self.fragment == FragmentKind::Whole => (40, 65_575),
            Family::Ipv6 => (48, 65_575),
        };
        let transport_header = match self.protocol {
            _ if self.fragment.is_later() => 0,
            Some(protocol::TCP) => 20,
            Some(protocol::UDP | protocol::ICMP | protocol::ICMPV6) => 8,
            _ => 0,
        };
        let length = options.length.unwrap_or(ip_header + transport_header);
        if !(ip_header..=greatest).contains(&length) {
            return Err(format!(
                "len {length} is not the length of such a packet: {ip_header} to {greatest} octets"
            ));
        }
        self.packet_length = Some(length);
        Ok(())
    }

    /// Fields of the transport header, which later fragments do not have.
    fn set_transport_fields(
        &mut self,
        name: &str,
        source_port: Option<u16>,
        destination_port: Option<u16>,
        options: &Options,
    ) -> Result<(), String> {
        let is_later = self.fragment.is_later();
        let has_ports = !is_later && matches!(self.protocol, Some(protocol::TCP | protocol::UDP));
        let has_flags = !is_later && self.protocol == Some(protocol::TCP);
        let has_icmp = !is_later
            && match self.family {
                Family::Ipv4 => self.protocol == Some(protocol::ICMP),
                Family::Ipv6 => self.protocol == Some(protocol::ICMPV6),
            };
        let bearer = if is_later {
            "a later fragment".to_string()
        } else {
            format!("a packet of {name}")
        };
        let given = source_port.is_some() || destination_port.is_some();
        match (source_port, destination_port) {
            _ if !has_ports && given => return Err(format!("{bearer} has no ports")),
            (Some(_), Some(_)) => {}
            _ if has_ports => {
                return Err(format!(
                    "{bearer} needs ports: write ADDRESS:PORT or [ADDRESS]:PORT on both sides"
                ));
            }
            _ => {}
        }
        self.source_port = source_port;
        self.destination_port = destination_port;
        if options.flags.is_some() && !has_flags {
            return Err(format!("{bearer} has no TCP flags"));
        }
        self.tcp_flags = has_flags.then(|| options.flags.unwrap_or(0));
        let (icmp_type, icmp_code) = (options.icmp_type, options.icmp_code);
        if !has_icmp && (icmp_type.is_some() || icmp_code.is_some()) {
            return Err(format!("{bearer} has no ICMP type and code"));
        }
        if has_icmp {
            if icmp_type.is_none() {
                return Err(format!("{bearer} needs a type: write `type N`"));
            }
            self.icmp_type = icmp_type;
            self.icmp_code = Some(icmp_code.unwrap_or(0));
        }
        Ok(())
    }
}

/// An address with or without a port.
struct Endpoint {
    address: IpAddr,
    port: Option<u16>,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(address) = bare.parse() {
            return Ok(Self {
                address,
                port: None,
            });
        }
        let with_port: SocketAddr = text.parse().map_err(|_| {
            format!("{text:?} is not an address, ADDRESS:PORT or [IPV6-ADDRESS]:PORT")
        })?;
        Ok(Self {
            address: with_port.ip(),
            port: Some(with_port.port()),
        })
    }
}

/// What may follow the addresses.
#[derive(Default)]
struct Options {
    length: Option<u32>,
    fragment: FragmentKind,
    dont_fragment: bool,
    flags: Option<u16>,
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    hop_limit: Option<u8>,
    dscp: Option<u8>,
    label: Option<u32>,
    interface: Option<Arc<str>>,
}

impl Options {
    /// Reads pairs of a key and a value up to the end of the line.
    fn read<'a>(mut words: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut options = Options::default();
        let mut seen = Vec::new();
        while let Some(key) = words.next() {
            if seen.contains(&key) {
                return Err(format!("{key} is given twice"));
            }
            seen.push(key);
            let mut value = || {
                words
                    .next()
                    .ok_or_else(|| format!("{key} needs a value: {EXPECTED}"))
            };
            match key {
                "len" => options.length = Some(number(key, value()?, 65_575)?),
                "frag" => options.read_fragment(value()?)?,
                "flags" => options.flags = Some(tcp_flags(value()?)?),
                "type" => options.icmp_type = Some(number(key, value()?, u8::MAX)?),
                "code" => options.icmp_code = Some(number(key, value()?, u8::MAX)?),
                "hops" => options.hop_limit = Some(number(key, value()?, u8::MAX)?),
                "dscp" => options.dscp = Some(number(key, value()?, 63)?),
                "on" => options.interface = Some(value()?.into()),
                "label" => options.label = Some(number(key, value()?, 0xf_ffff)?),
                other => return Err(format!("unknown word {other:?}: {EXPECTED}")),
            }
        }
        Ok(options)
    }

    /// Reads `first`, `middle`, `last`, `df` or one of them with `df`: `df,first`.
    fn read_fragment(&mut self, text: &str) -> Result<(), String> {
        for word in text.split(',') {
            self.fragment = match word {
                "first" => FragmentKind::First,
                "middle" => FragmentKind::Middle,
                "last" => FragmentKind::Last,
                "df" => {
                    self.dont_fragment = true;
                    continue;
                }
                other => {
                    return Err(format!(
                        "frag {other:?} is not one of first, middle, last, df"
                    ));
                }
            };
        }
        Ok(())
    }
}

/// Reads a comma separated list of TCP flags; `none` is the empty list.
fn tcp_flags(text: &str) -> Result<u16, String> {
    if text == "none" {
        return Ok(0);
    }
    text.split(',').try_fold(0, |flags, name| {
        let bit = TCP_FLAGS.iter().position(|flag| *flag == name);
        let bit = bit.ok_or_else(|| {
            let known = TCP_FLAGS.join(", ");
            format!("{name:?} is not a TCP flag: expected some of {known}, or none")
        })?;
        Ok(flags | 1 << bit)
    })
}

/// Reads a decimal number from 0 to `greatest`.
fn number<T>(what: &str, text: &str, greatest: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    text.parse()
        .ok()
        .filter(|value| *value <= greatest)
        .ok_or_else(|| format!("{what} {text:?} is not a number from 0 to {greatest}"))
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;

//! The rtnetlink socket: reads and changes policy rules and routes, and asks how addresses are reached.
//!
//! The kernel carries out a request inside the `send`, and a dump goes on inside each receive: reading never waits.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_MULTIPART,
    NLM_F_REPLACE, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourState};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::entries::{Entries, Hop, PolicyRule, Verdict, family_of};
use super::marks::Mark;
use super::messages::{
    address_family, encapsulates, gateway_of, is_kept_by_others, neighbor_message, oif_of,
    parse_default, parse_rule, set_hops, table_of,
};
use crate::rule::Family;

/// Receive buffer: the first part of a dump, and answers of one request.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Datagrams from the kernel are at most this long.
const REPLY_MAX: usize = 1 << 16;
/// How often an interrupted dump is begun anew.
const DUMP_ATTEMPTS: usize = 20;

/// A socket to the routing of the network namespace in which it was opened.
pub(super) struct Kernel {
    socket: Socket,
    sequence: u32,
    protocol: u8,
}

/// What was found in one table, or in all.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    /// Our default routes.
    pub(super) own: BTreeMap<(Family, u32), BTreeSet<Hop>>,
    /// There are routes of others.
    pub(super) foreign: bool,
}

/// What a routing lookup has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// A way: the link, and the neighbor on it unless the address itself is there.
    Found(Hop),
    /// The address is this machine's.
    Local,
    /// There is a way, on which packets are put into others, or behind a label.
    Encapsulated,
    /// There is no way, or none for a single host.
    None,
}

/// What the kernel knows of a neighbor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbor {
    /// Whether it answers, as far as is known.
    pub(super) state: NeighbourState,
    /// It is static, or a program keeps it: the kernel does not look for it, or does so without us.
    pub(super) is_kept_by_others: bool,
}

impl Kernel {
    /// Opens a socket in the network namespace of this thread. `protocol`: the number of all that is ours.
    pub(super) fn open(protocol: u8) -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Without it, before Linux 4.20, dumps are not filtered by the kernel: we look at all that we get, too.
        let _ = socket.set_netlink_get_strict_chk(true);
        let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
        Ok(Self {
            socket,
            sequence: 0,
            protocol,
        })
    }

    /// Everything of ours.
    pub(super) fn entries(&mut self) -> io::Result<Entries> {
        let mut entries = Entries {
            rules: self.rules()?,
            ..Entries::default()
        };
        for family in Family::ALL {
            entries.defaults.extend(self.defaults(family, None)?.own);
        }
        Ok(entries)
    }

    /// Our policy rules.
    pub(super) fn rules(&mut self) -> io::Result<BTreeSet<PolicyRule>> {
        let mut rules = BTreeSet::new();
        for family in Family::ALL {
            let mut request = RuleMessage::default();
            request.header.family = address_family(family);
            let protocol = self.protocol;
            rules.extend(self.dump(
                RouteNetlinkMessage::GetRule(request),
                |message| match message {
                    RouteNetlinkMessage::NewRule(rule) => parse_rule(&rule, family, protocol),
                    _ => None,
                },
            )?);
        }
        Ok(rules)
    }

    /// Our default routes, of all tables or one.
    pub(super) fn defaults(&mut self, family: Family, table: Option<u32>) -> io::Result<Defaults> {
        let mut request = RouteMessage::default();
        request.header.address_family = address_family(family);
        match table {
            Some(table) => request.attributes.push(RouteAttribute::Table(table)),
            None => request.header.protocol = self.protocol.into(),
        }
        let protocol = RouteProtocol::from(self.protocol);
        let found = self.dump(
            RouteNetlinkMessage::GetRoute(request),
            |message| match message {
                RouteNetlinkMessage::NewRoute(route) => {
                    let own = route.header.protocol == protocol;
                    let here = table.is_none_or(|table| table_of(&route) == table);
                    here.then(|| own.then(|| parse_default(&route, family)).flatten())
                }
                _ => None,
            },
        )?;
        let foreign = found.iter().any(Option::is_none);
        Ok(Defaults {
            own: found.into_iter().flatten().collect(),
            foreign,
        })
    }

    /// Adds a policy rule; one that is there already stays.
    pub(super) fn add_rule(&mut self, rule: &PolicyRule) -> io::Result<()> {
        let message = RouteNetlinkMessage::NewRule(self.rule_message(rule));
        ignoring(
            self.change(message, NLM_F_CREATE | NLM_F_EXCL),
            &[Errno::EEXIST],
        )
    }

    /// Deletes a policy rule, if it is there.
    pub(super) fn delete_rule(&mut self, rule: &PolicyRule) -> io::Result<()> {
        let message = RouteNetlinkMessage::DelRule(self.rule_message(rule));
        ignoring(self.change(message, 0), &[Errno::ENOENT])
    }

    /// Puts a default route into one of our tables, in the place of the one that is there.
    pub(super) fn set_default(
        &mut self,
        family: Family,
        table: u32,
        hops: &BTreeSet<Hop>,
    ) -> io::Result<()> {
        let mut message = self.default_message(family, table);
        message.header.kind = RouteType::Unicast;
        set_hops(&mut message, family, hops);
        self.change(
            RouteNetlinkMessage::NewRoute(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        )
    }

    /// Deletes our default route of a table, if it is there.
    pub(super) fn delete_default(&mut self, family: Family, table: u32) -> io::Result<()> {
        let message = self.default_message(family, table);
        ignoring(
            self.change(RouteNetlinkMessage::DelRoute(message), 0),
            &[Errno::ESRCH, Errno::ENOENT, Errno::ENODEV],
        )
    }

    /// How the machine reaches an address, with a packet of this mark or of none.
    pub(super) fn lookup(&mut self, address: IpAddr, mark: Option<Mark>) -> io::Result<Lookup> {
        let family = family_of(address);
        let mut request = RouteMessage::default();
        request.header.address_family = address_family(family);
        request.header.destination_prefix_length = family.address_bits();
        request
            .attributes
            .push(RouteAttribute::Destination(address.into()));
        let mark = mark.map(|mark| RouteAttribute::Mark(mark.value));
        request.attributes.extend(mark);
        let route = match self.get(RouteNetlinkMessage::GetRoute(request)) {
            Ok(Some(RouteNetlinkMessage::NewRoute(route))) => route,
            Ok(_) => return Ok(Lookup::None),
            Err(error) => {
                let no_way = [
                    Errno::ENETUNREACH,
                    Errno::EHOSTUNREACH,
                    Errno::EINVAL,
                    Errno::EACCES,
                    Errno::EAGAIN,
                ];
                ignoring(Err(error), &no_way)?;
                return Ok(Lookup::None);
            }
        };
        Ok(match route.header.kind {
            RouteType::Unicast if encapsulates(&route) => Lookup::Encapsulated,
            RouteType::Unicast => {
                let gateway = gateway_of(&route).unwrap_or(address);
                oif_of(&route).map_or(Lookup::None, |link| Lookup::Found(Hop { gateway, link }))
            }
            RouteType::Local => Lookup::Local,
            _ => Lookup::None,
        })
    }

    /// Name and flags of a link; `None` when it is gone.
    pub(super) fn link(&mut self, index: u32) -> io::Result<Option<(String, LinkFlags)>> {
        let mut request = LinkMessage::default();
        request.header.index = index;
        let Some(link) = self.get_link(request)? else {
            return Ok(None);
        };
        let name = link
            .attributes
            .iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name.clone()),
                _ => None,
            });
        Ok(Some((name.unwrap_or_default(), link.header.flags)))
    }

    /// The routing table of a VRF; `None` when no VRF has this name.
    pub(super) fn vrf_table(&mut self, name: &str) -> io::Result<Option<u32>> {
        let mut request = LinkMessage::default();
        request.attributes.push(LinkAttribute::IfName(name.into()));
        let Some(link) = self.get_link(request)? else {
            return Ok(None);
        };
        let infos = link
            .attributes
            .into_iter()
            .filter_map(|attribute| match attribute {
                LinkAttribute::LinkInfo(infos) => Some(infos),
                _ => None,
            });
        Ok(infos.flatten().find_map(|info| match info {
            LinkInfo::Data(InfoData::Vrf(data)) => data.into_iter().find_map(|data| match data {
                InfoVrf::TableId(table) => Some(table),
                _ => None,
            }),
            _ => None,
        }))
    }

    /// Asks for a link; `None` when there is none.
    fn get_link(&mut self, request: LinkMessage) -> io::Result<Option<LinkMessage>> {
        match self.get(RouteNetlinkMessage::GetLink(request)) {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link)),
            Ok(_) => Ok(None),
            Err(error) => ignoring(Err(error), &[Errno::ENODEV, Errno::EINVAL]).map(|()| None),
        }
    }

    /// What is known of a neighbor; `None`: nothing.
    pub(super) fn neighbor(&mut self, hop: &Hop) -> io::Result<Option<Neighbor>> {
        match self.get(RouteNetlinkMessage::GetNeighbour(neighbor_message(hop))) {
            Ok(Some(RouteNetlinkMessage::NewNeighbour(neighbor))) => Ok(Some(Neighbor {
                state: neighbor.header.state,
                is_kept_by_others: is_kept_by_others(&neighbor),
            })),
            Ok(_) => Ok(None),
            Err(error) => ignoring(Err(error), &[Errno::ENOENT, Errno::EOPNOTSUPP]).map(|()| None),
        }
    }

    /// Has the kernel look for a neighbor as if there was a packet for it. One that others keep would be theirs no more.
    pub(super) fn probe(&mut self, hop: &Hop) -> io::Result<()> {
        let mut message = neighbor_message(hop);
        message.header.flags = NeighbourFlags::Use;
        self.change(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE)
    }

    /// The message that names a policy rule.
    fn rule_message(&self, rule: &PolicyRule) -> RuleMessage {
        let mut message = RuleMessage::default();
        message.header.family = address_family(rule.family);
        message.attributes = vec![
            RuleAttribute::Priority(rule.priority),
            RuleAttribute::FwMark(rule.mark.value),
            RuleAttribute::FwMask(rule.mark.mask),
            RuleAttribute::Protocol(self.protocol.into()),
        ];
        match rule.verdict {
            Verdict::Lookup(table) => {
                message.header.action = RuleAction::ToTable;
                message.attributes.push(RuleAttribute::Table(table));
            }
            Verdict::Discard => message.header.action = RuleAction::Blackhole,
        }
        message
    }

    /// The message that names the default route of a table.
    fn default_message(&self, family: Family, table: u32) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            address_family: address_family(family),
            protocol: self.protocol.into(),
            ..RouteHeader::default()
        };
        message.attributes.push(RouteAttribute::Table(table));
        message
    }

    /// Sends a request that changes something, and waits for the acknowledgement.
    fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.send(message, NLM_F_ACK | flags)?;
        self.answer().map(drop)
    }

    /// Asks for one object.
    fn get(&mut self, request: RouteNetlinkMessage) -> io::Result<Option<RouteNetlinkMessage>> {
        self.send(request, 0)?;
        self.answer()
    }

    /// The answer to the request sent last: an object, or `None` for an acknowledgement.
    fn answer(&mut self) -> io::Result<Option<RouteNetlinkMessage>> {
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                return match message.payload {
                    NetlinkPayload::InnerMessage(object) => Ok(Some(object)),
                    NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
                    _ => Ok(None),
                };
            }
        }
    }

    /// Collects what a dump lists and `each` finds worth it.
    fn dump<T>(
        &mut self,
        request: RouteNetlinkMessage,
        mut each: impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(found) = self.dump_once(request.clone(), &mut each)? {
                return Ok(found);
            }
        }
        Err(io::Error::other(
            "the routing changed during every attempt to read it",
        ))
    }

    /// One attempt; `None` when something changed meanwhile.
    fn dump_once<T>(
        &mut self,
        request: RouteNetlinkMessage,
        each: &mut impl FnMut(RouteNetlinkMessage) -> Option<T>,
    ) -> io::Result<Option<Vec<T>>> {
        self.send(request, NLM_F_DUMP)?;
        let mut found = Vec::new();
        let mut interrupted = false;
        loop {
            for message in self.receive()? {
                let header = message.header;
                if header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(object) => found.extend(each(object)),
                    NetlinkPayload::Done(_) => return Ok((!interrupted).then_some(found)),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        // A table that has never had a route is not there.
                        return ignoring(Err(error.to_io()), &[Errno::ENOENT])
                            .map(|()| Some(found));
                    }
                    _ if header.flags & NLM_F_MULTIPART == 0 => return Ok(Some(found)),
                    _ => {}
                }
            }
        }
    }

    /// Sends a request.
    fn send(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut message = NetlinkMessage::from(message);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send(&octets, 0).map(drop)
    }

    /// The messages of the next datagram. What this library cannot read is left out: none of it is ours.
    fn receive(&mut self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        let mut datagram: Vec<u8> = Vec::with_capacity(REPLY_MAX);
        self.socket.recv(&mut datagram, nix::libc::MSG_DONTWAIT)?;
        let mut messages = Vec::new();
        let mut rest = &datagram[..];
        while let Ok(buffer) = NetlinkBuffer::new_checked(rest) {
            let length = buffer.length() as usize;
            messages.extend(NetlinkMessage::deserialize(&rest[..length]));
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(messages)
    }
}

/// No error when it is one of these.
fn ignoring(result: io::Result<()>, harmless: &[Errno]) -> io::Result<()> {
    let is_harmless = |error: &io::Error| {
        harmless
            .iter()
            .any(|errno| error.raw_os_error() == Some(*errno as i32))
    };
    match result {
        Err(error) if is_harmless(&error) => Ok(()),
        result => result,
    }
}

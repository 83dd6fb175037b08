//! Netlink framing of nf_tables requests: attributes, messages, batches, and reading them back.
//!
//! Numbers in nf_tables attributes are big-endian, the netlink header is in host order. The
//! constants are those of `linux/netfilter/nf_tables.h`, named as there without the `NFT_`/`NFTA_`
//! prefix.

use netlink_packet_core::{
    Emitable, NLA_F_NESTED, NLA_HEADER_SIZE, NLM_F_ACK, NLM_F_ECHO, NLM_F_REQUEST, NetlinkHeader,
    NlaBuffer, NlasIterator,
};

use crate::rule::RuleId;

/// The table that this backend owns.
pub(super) const TABLE: &str = "flowacl";

/// `NFTA_TABLE_FLAGS`.
pub(super) const TABLE_FLAGS: u16 = 2;

/// `NFNL_SUBSYS_NFTABLES`: the high octet of every message type.
pub(super) const SUBSYSTEM: u8 = 10;
/// `NFNL_MSG_BATCH_BEGIN`.
const BATCH_BEGIN: u16 = 16;
/// `NFNL_MSG_BATCH_END`.
const BATCH_END: u16 = 17;
/// `NFNL_BATCH_GENID`: the generation that a batch builds on.
const BATCH_GENERATION: u16 = 1;
/// `NFT_MSG_NEWGEN` with its subsystem: what a transaction reports last.
pub(super) const NEW_GENERATION: u16 = u16::from_be_bytes([SUBSYSTEM, 15]);
/// `NFPROTO_INET`, the family of our table.
pub(super) const FAMILY_INET: u8 = 1;
/// `NFPROTO_IPV4`.
pub(super) const FAMILY_IPV4: u8 = 2;
/// `NFPROTO_IPV6`.
pub(super) const FAMILY_IPV6: u8 = 10;
/// `NFPROTO_UNSPEC`: tables of all families.
pub(super) const FAMILY_ANY: u8 = 0;
/// Octets of a netlink header and the netfilter header behind it.
pub(super) const HEADERS_LEN: usize = 16 + 4;

/// Kinds of nf_tables messages (`NFT_MSG_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Creates a table.
    NewTable = 0,
    /// Asks for a table.
    GetTable = 1,
    /// Deletes a table and all in it.
    DelTable = 2,
    /// Creates a chain.
    NewChain = 3,
    /// Asks for chains.
    GetChain = 4,
    /// Deletes an empty chain that nothing jumps to.
    DelChain = 5,
    /// Appends a rule.
    NewRule = 6,
    /// Asks for rules.
    GetRule = 7,
    /// Without a handle: deletes all rules of a chain.
    DelRule = 8,
    /// Creates a set.
    NewSet = 9,
    /// Asks for sets.
    GetSet = 10,
    /// Deletes a set that nothing refers to.
    DelSet = 11,
    /// Adds elements to a set.
    NewSetElem = 12,
    /// Asks for the elements of a set.
    GetSetElem = 13,
    /// Deletes elements of a set; without any named, all.
    DelSetElem = 14,
    /// Asks for the generation of the ruleset.
    GetGeneration = 16,
    /// Creates a named counter or limit.
    NewObject = 18,
    /// Asks for named objects.
    GetObject = 19,
    /// Deletes a named object that nothing refers to.
    DelObject = 20,
    /// Asks for flowtables.
    GetFlowtable = 23,
}

/// A growing list of netlink attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// An empty list.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The list that begins with the name of our table, as most messages do.
    pub(super) fn of_table() -> Self {
        Self::new().string(1, TABLE)
    }

    /// Appends an attribute with these octets and pads it to four.
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(NLA_HEADER_SIZE + value.len())
            .expect("callers split what could exceed 65535 octets");
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Appends a big-endian 16-bit number.
    pub(super) fn u16(self, kind: u16, value: u16) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends a big-endian 32-bit number.
    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends a big-endian 64-bit number.
    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Appends a NUL-terminated string.
    pub(super) fn string(self, kind: u16, value: &str) -> Self {
        let mut octets = value.as_bytes().to_vec();
        octets.push(0);
        self.bytes(kind, &octets)
    }

    /// Appends a list inside an attribute.
    pub(super) fn nested(self, kind: u16, inner: Attributes) -> Self {
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }

    /// Octets so far, padding included.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// What is asked for.
    pub(super) kind: Kind,
    /// Netlink flags beside `NLM_F_REQUEST`.
    pub(super) flags: u16,
    /// `NFPROTO_*` of the table.
    pub(super) family: u8,
    /// The request's arguments.
    pub(super) attributes: Attributes,
    /// The rule that is to blame when the kernel refuses the message.
    pub(super) rule: Option<RuleId>,
}

impl Message {
    /// A request about our table for which no rule is to blame.
    pub(super) fn new(kind: Kind, flags: u16, attributes: Attributes) -> Self {
        Self {
            kind,
            flags,
            family: FAMILY_INET,
            attributes,
            rule: None,
        }
    }

    /// The same request about tables of another family (`NFPROTO_*`).
    pub(super) fn of_family(mut self, family: u8) -> Self {
        self.family = family;
        self
    }

    /// The same message, blamed on `rule`.
    pub(super) fn blame(mut self, rule: RuleId) -> Self {
        self.rule = Some(rule);
        self
    }

    /// Whether its effect can be echoed in a few messages: that of deleting a table, which always
    /// has one, would be all there is in the table.
    pub(super) fn may_echo(&self) -> bool {
        self.kind != Kind::DelTable
    }

    /// Octets on the wire.
    pub(super) fn encoded_len(&self) -> usize {
        HEADERS_LEN + self.attributes.len()
    }

    /// Appends the message to `out`.
    pub(super) fn encode(&self, sequence: u32, extra_flags: u16, out: &mut Vec<u8>) {
        let kind = u16::from_be_bytes([SUBSYSTEM, self.kind as u8]);
        let flags = self.flags | extra_flags;
        frame(
            kind,
            flags,
            sequence,
            self.family,
            0,
            &self.attributes.0,
            out,
        );
    }
}

/// Octets of a transaction with these messages, at most.
pub(super) fn batch_len(messages: &[Message]) -> usize {
    let markers = 2 * HEADERS_LEN + NLA_HEADER_SIZE + size_of::<u32>();
    messages.iter().map(Message::encoded_len).sum::<usize>() + markers
}

/// Encodes messages as one transaction. Message `i` has sequence number `first_sequence + 1 + i`;
/// the begin marker `first_sequence` itself, which errors of the transaction as a whole name.
///
/// With `expected` the kernel answers `ERESTART` unless the ruleset has that generation. Only the
/// last message asks for an acknowledgement: errors come back for all of them, and thousands of
/// acknowledgements would overrun the receive buffer. The first asks for an echo, since that is
/// where the kernel looks whether to report the generation that the transaction made.
pub(super) fn encode_batch(
    messages: &[Message],
    first_sequence: u32,
    expected: Option<u32>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch_len(messages));
    let generation = expected.map_or_else(Attributes::new, |generation| {
        Attributes::new().u32(BATCH_GENERATION, generation)
    });
    let marker = |kind, sequence, attributes: &Attributes, out: &mut Vec<u8>| {
        let subsystem = u16::from(SUBSYSTEM);
        frame(kind, 0, sequence, 0, subsystem, &attributes.0, out);
    };
    marker(BATCH_BEGIN, first_sequence, &generation, &mut out);
    let mut sequence = first_sequence;
    for (index, message) in messages.iter().enumerate() {
        sequence = sequence.wrapping_add(1);
        let mut flags = 0;
        if index == 0 && message.may_echo() {
            flags |= NLM_F_ECHO;
        }
        if index + 1 == messages.len() {
            flags |= NLM_F_ACK;
        }
        message.encode(sequence, flags, &mut out);
    }
    marker(
        BATCH_END,
        sequence.wrapping_add(1),
        &Attributes::new(),
        &mut out,
    );
    out
}

/// Appends a netlink header, a netfilter header and a payload.
fn frame(
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    resource: u16,
    payload: &[u8],
    out: &mut Vec<u8>,
) {
    let length = HEADERS_LEN + payload.len();
    let mut header = NetlinkHeader::default();
    header.length = u32::try_from(length).expect("attributes are shorter than 64 KiB each");
    header.message_type = kind;
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    let start = out.len();
    out.resize(start + header.buffer_len(), 0);
    header.emit(&mut out[start..]);
    out.extend_from_slice(&[family, 0]);
    out.extend_from_slice(&resource.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The value of the first attribute of this kind; `None` when it is absent or the list is broken
/// off before it.
pub(super) fn find_attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    for attribute in NlasIterator::new(attributes) {
        let attribute: NlaBuffer<&[u8]> = attribute.ok()?;
        if attribute.kind() == kind {
            let end = usize::from(attribute.length());
            return attribute.into_inner().get(NLA_HEADER_SIZE..end);
        }
    }
    None
}

/// The values of all attributes of a list, up to where it is broken off.
pub(super) fn attributes_of(list: &[u8]) -> Vec<&[u8]> {
    let mut values = Vec::new();
    for attribute in NlasIterator::new(list) {
        let Ok(attribute): Result<NlaBuffer<&[u8]>, _> = attribute else {
            break;
        };
        let end = usize::from(attribute.length());
        values.extend(attribute.into_inner().get(NLA_HEADER_SIZE..end));
    }
    values
}

/// The text of a NUL-terminated string attribute.
pub(super) fn find_string(attributes: &[u8], kind: u16) -> Option<&str> {
    let value = find_attribute(attributes, kind)?;
    std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
}

/// The value of a big-endian 64-bit attribute.
pub(super) fn find_u64(attributes: &[u8], kind: u16) -> Option<u64> {
    find_attribute(attributes, kind)?
        .try_into()
        .ok()
        .map(u64::from_be_bytes)
}

/// The value of a big-endian 32-bit attribute.
pub(super) fn find_u32(attributes: &[u8], kind: u16) -> Option<u32> {
    find_attribute(attributes, kind)?
        .try_into()
        .ok()
        .map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_found_again() {
        let list = Attributes::new()
            .string(1, "ab")
            .u64(2, 7)
            .nested(4, Attributes::new().u16(1, 9));
        assert_eq!(list.len(), 8 + 12 + 12);
        assert_eq!(find_string(&list.0, 1), Some("ab"));
        assert_eq!(find_u64(&list.0, 2), Some(7));
        let inner = find_attribute(&list.0, 4).unwrap();
        assert_eq!(find_attribute(inner, 1), Some(&[0, 9][..]));
        assert_eq!(find_attribute(&list.0, 3), None);
    }

    #[test]
    fn broken_attribute_lists_end_the_search() {
        let list = Attributes::new().string(1, "ab").u64(2, 7);
        for cut in 0..list.len() {
            assert_eq!(find_u64(&list.0[..cut], 2), None, "cut at {cut}");
        }
        assert_eq!(
            find_attribute(&[0, 0, 1, 0, 4, 0, 2, 0], 2),
            None,
            "length 0"
        );
    }

    /// Type, flags, sequence number and attributes of each message.
    fn messages(batch: &[u8]) -> Vec<(u16, u16, u32, Vec<u8>)> {
        let mut messages = Vec::new();
        let mut rest = batch;
        while !rest.is_empty() {
            let header = netlink_packet_core::NetlinkBuffer::new(rest);
            let attributes = header.payload()[4..].to_vec();
            messages.push((
                header.message_type(),
                header.flags(),
                header.sequence_number(),
                attributes,
            ));
            rest = &rest[header.length() as usize..];
        }
        messages
    }

    #[test]
    fn batch_asks_for_an_echo_at_the_start_and_an_acknowledgement_at_the_end() {
        const REQUEST: u16 = 1;
        const ACK: u16 = 4;
        const ECHO: u16 = 8;
        let (new, delete) = (0x0a00, 0x0a02);
        let rows = [
            ("one", vec![Kind::NewTable], vec![(new, ECHO | ACK)]),
            (
                "two",
                vec![Kind::NewTable, Kind::DelTable],
                vec![(new, ECHO), (delete, ACK)],
            ),
            (
                "no echo of a table",
                vec![Kind::DelTable, Kind::NewTable],
                vec![(delete, 0), (new, ACK)],
            ),
        ];
        for (name, kinds, expected) in rows {
            let batch: Vec<Message> = kinds
                .iter()
                .map(|kind| Message::new(*kind, 0, Attributes::of_table()))
                .collect();
            let generations = [
                (None, Attributes::new()),
                (Some(0x0102), Attributes::new().bytes(1, &[0, 0, 1, 2])),
            ];
            for (generation, marker) in generations {
                let octets = encode_batch(&batch, u32::MAX, generation);
                assert!(octets.len() <= batch_len(&batch), "{name}");
                let found = messages(&octets);
                let (first, last) = (&found[0], &found[found.len() - 1]);
                assert_eq!(
                    (first.0, first.1, first.2),
                    (16, REQUEST, u32::MAX),
                    "{name}"
                );
                assert_eq!(first.3, marker.0, "{name}");
                assert_eq!(
                    (last.0, last.1, last.2),
                    (17, REQUEST, kinds.len() as u32),
                    "{name}"
                );
                let between: Vec<(u16, u16)> = found[1..found.len() - 1]
                    .iter()
                    .map(|message| (message.0, message.1 & !REQUEST))
                    .collect();
                assert_eq!(between, expected, "{name}");
            }
        }
    }
}

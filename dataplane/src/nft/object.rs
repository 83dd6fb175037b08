//! What the table contains, as values: rules, chains, counters and limits, and the messages that
//! create them.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};

use super::expression::{
    Base, Expression, ObjectKind, SetDefinition, SetReference, Verdict, anonymous_set_name,
};
use super::field::{PORT_PROTOCOLS, data_type};
use super::key::{Key, KeyValue};
use super::limit::Bucket;
use super::message::{Attributes, Kind, Message};
use super::sources::SourceTable;
use super::statement::{Statement, write_statements};
use crate::label::Label;
use crate::rule::{Rule, RuleId};

/// Octets of a comment that `nft` accepts, without the final NUL.
const COMMENT_MAX: usize = 127;

/// One nft rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NftRule {
    /// What it does.
    pub(super) statements: Vec<Statement>,
    /// What an operator reads beside it.
    pub(super) comment: Option<Arc<str>>,
    /// The rule of the upper half that it is part of.
    pub(super) rule: Option<RuleId>,
}

impl NftRule {
    /// A rule of the table's frame, not of the upper half.
    pub(super) fn of_frame(statements: Vec<Statement>, comment: &str) -> Self {
        let comment = (!comment.is_empty()).then(|| comment.into());
        Self {
            statements,
            comment,
            rule: None,
        }
    }

    /// A rule of the frame that sends every packet to a chain and back.
    pub(super) fn jump(chain: String) -> Self {
        Self::of_frame(vec![Statement::Verdict(Verdict::Jump(chain))], "")
    }

    /// Appends the messages that append this rule to a chain. `last_set` is the number of the last
    /// anonymous set, unique in the table.
    pub(super) fn create(&self, chain: &str, last_set: &mut u32, out: &mut Vec<Message>) {
        let first = out.len();
        let mut list = Attributes::new();
        for expression in self.statements.iter().flat_map(Statement::expressions) {
            if let Expression::Lookup(SetReference::Anonymous(set)) = &expression {
                *last_set += 1;
                let name = anonymous_set_name(*last_set);
                create_set(&name, ANONYMOUS | CONSTANT, set, *last_set, out);
            }
            list = expression.encode(*last_set, list);
        }
        let mut attributes = Attributes::of_table().string(2, chain).nested(4, list);
        if let Some(comment) = &self.comment {
            attributes = attributes.bytes(7, &comment_userdata(0, comment));
        }
        out.push(Message::new(
            Kind::NewRule,
            NLM_F_CREATE | NLM_F_APPEND,
            attributes,
        ));
        if let Some(rule) = self.rule {
            for message in &mut out[first..] {
                message.rule = Some(rule);
            }
        }
    }
}

impl fmt::Display for NftRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_statements(&self.statements, f)?;
        match &self.comment {
            Some(comment) => write!(f, " comment \"{}\"", comment_text(comment)),
            None => Ok(()),
        }
    }
}

/// `NFT_SET_ANONYMOUS`.
const ANONYMOUS: u32 = 1;
/// `NFT_SET_CONSTANT`.
const CONSTANT: u32 = 2;
/// `NFT_SET_INTERVAL`.
const INTERVAL: u32 = 4;
/// Elements in one message: far below what fits the 64 KiB of an attribute.
const ELEMENTS_PER_MESSAGE: usize = 1000;
/// `BYTEORDER_HOST_ENDIAN` of nft, in which it takes text.
const NFT_HOST_ENDIAN: u32 = 1;
/// `BYTEORDER_BIG_ENDIAN` of nft.
pub(super) const NFT_BIG_ENDIAN: u32 = 2;

/// Appends the messages that create a set and fill it.
fn create_set(name: &str, flags: u32, set: &SetDefinition, id: u32, out: &mut Vec<Message>) {
    let flags = if set.intervals {
        flags | INTERVAL
    } else {
        flags
    };
    let width = u32::try_from(set.width).expect("an element has at most 16 octets");
    let size = u32::try_from(set.elements.len()).expect("fields have at most 2^20 values");
    let is_text = set.data_type == data_type::INTERFACE_NAME;
    let order = if is_text {
        NFT_HOST_ENDIAN
    } else {
        NFT_BIG_ENDIAN
    };
    let attributes = Attributes::of_table()
        .string(2, name)
        .u32(3, flags)
        .u32(4, set.data_type)
        .u32(5, width)
        .u32(10, id)
        .nested(9, Attributes::new().u32(1, size))
        .bytes(13, &byte_order_userdata(order));
    out.push(Message::new(Kind::NewSet, NLM_F_CREATE, attributes));
    for elements in set.elements.chunks(ELEMENTS_PER_MESSAGE) {
        let mut list = Attributes::new();
        for element in elements {
            let key = Attributes::new().bytes(1, &element.key);
            let mut attributes = Attributes::new();
            if element.interval_end {
                attributes = attributes.u32(3, 1);
            }
            list = list.nested(1, attributes.nested(1, key));
        }
        let attributes = Attributes::of_table()
            .string(2, name)
            .u32(4, id)
            .nested(3, list);
        out.push(Message::new(Kind::NewSetElem, NLM_F_CREATE, attributes));
    }
}

/// Appends the messages that create the set of protocols that have ports.
pub(super) fn create_port_protocols(last_set: &mut u32, out: &mut Vec<Message>) {
    *last_set += 1;
    let element = |protocol| super::expression::SetElement {
        key: vec![protocol],
        interval_end: false,
    };
    let set = SetDefinition {
        data_type: data_type::PROTOCOL,
        width: 1,
        intervals: false,
        elements: vec![element(6), element(17)],
    };
    create_set(PORT_PROTOCOLS, CONSTANT, &set, *last_set, out);
}

/// Where in the kernel a base chain is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Once for every packet that comes in by a device the IP stack listens to.
    Prerouting,
    /// For every packet that these devices receive, before a bridge takes it.
    Ingress(Vec<String>),
}

/// The priority of our base chains: before defragmentation (-400), so that fragments are seen as
/// they came.
pub(super) const PRIORITY: i32 = -450;

/// The type of our base chains.
pub(super) const CHAIN_TYPE: &str = "filter";

/// The message that creates a chain, or does nothing when it exists. Base chains accept what they
/// do not decide.
pub(super) fn create_chain(name: &str, hook: Option<&Hook>, comment: &str) -> Message {
    let mut attributes = Attributes::of_table().string(3, name);
    if let Some(hook) = hook {
        let (number, devices) = match hook {
            Hook::Prerouting => (0, None),
            Hook::Ingress(devices) => (5, Some(devices)),
        };
        let mut list = Attributes::new()
            .u32(1, number)
            .bytes(2, &PRIORITY.to_be_bytes());
        if let Some(devices) = devices {
            let names = devices
                .iter()
                .fold(Attributes::new(), |list, name| list.string(1, name));
            list = list.nested(4, names);
        }
        attributes = attributes.nested(4, list).u32(5, 1).string(7, CHAIN_TYPE);
    }
    if !comment.is_empty() {
        attributes = attributes.bytes(12, &comment_userdata(0, comment));
    }
    Message::new(Kind::NewChain, NLM_F_CREATE, attributes)
}

/// The message that deletes all rules of a chain.
pub(super) fn flush_chain(name: &str) -> Message {
    Message::new(Kind::DelRule, 0, Attributes::of_table().string(2, name))
}

/// The message that deletes an empty chain.
pub(super) fn delete_chain(name: &str) -> Message {
    Message::new(Kind::DelChain, 0, Attributes::of_table().string(3, name))
}

/// What is a rule's own, and stays while the rule does: a named counter or limit, or a table of limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedObject {
    /// Its name in the table.
    pub(super) name: String,
    /// What it is.
    pub(super) body: ObjectBody,
}

/// A name that tells which version of a thing has it; the first does without.
pub(super) fn versioned(name: String, version: u32) -> String {
    match version {
        1 => name,
        version => format!("{name}_{version}"),
    }
}

/// What a named object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectBody {
    /// A counter, beginning at zero.
    Counter,
    /// A token bucket, beginning full: what is over the rate goes on.
    Limit(Bucket),
    /// The same: what is within the rate goes on.
    Allowance(Bucket),
    /// A counter that never counts: it holds this piece of the rule's memo, for which there is no
    /// other place that could be changed.
    Memo(usize),
    /// A table of token buckets, beginning empty. To the kernel it is a set.
    Sources(SourceTable),
}

/// The longest memo that stands beside a counter; longer ones are kept in pieces.
pub(super) const MEMO_IN_COUNTER: usize = 120;
/// Octets of a piece.
pub(super) const MEMO_PIECE: usize = 240;
/// The kind of user data that holds a memo. nft knows 0, the comment, and ignores others.
pub(super) const USERDATA_MEMO: u8 = 0x6d;

impl ObjectBody {
    /// The kernel's kind of the object; `None` for a set.
    pub(super) fn kind(self) -> Option<ObjectKind> {
        match self {
            Self::Counter | Self::Memo(_) => Some(ObjectKind::Counter),
            Self::Limit(_) | Self::Allowance(_) => Some(ObjectKind::Limit),
            Self::Sources(_) => None,
        }
    }
}

impl NamedObject {
    /// The message that creates the object for a rule; `id` is unique in the transaction.
    pub(super) fn create(&self, rule: &Rule, id: u32) -> Message {
        let whole = rule.memo();
        // The kernel keeps it as long as the object, also when the rule comes to do something else.
        let comment = || comment_userdata(0, &rule.label.subject());
        let counter = || Attributes::new().u64(1, 0).u64(2, 0);
        let (kind, data, mut userdata, memo) = match self.body {
            ObjectBody::Counter => {
                let memo = Some(&whole[..]).filter(|whole| whole.len() <= MEMO_IN_COUNTER);
                (ObjectKind::Counter, counter(), comment(), memo)
            }
            ObjectBody::Memo(piece) => {
                let memo = whole.chunks(MEMO_PIECE).nth(piece);
                (ObjectKind::Counter, counter(), Vec::new(), memo)
            }
            ObjectBody::Limit(bucket) => {
                (ObjectKind::Limit, bucket.attributes(true), comment(), None)
            }
            ObjectBody::Allowance(bucket) => {
                (ObjectKind::Limit, bucket.attributes(false), comment(), None)
            }
            ObjectBody::Sources(table) => {
                return table.create(&self.name, &rule.label, id).blame(rule.id);
            }
        };
        if let Some(memo) = memo.filter(|memo| !memo.is_empty()) {
            userdata.push(USERDATA_MEMO);
            userdata.push(u8::try_from(memo.len()).expect("a piece is shorter"));
            userdata.extend_from_slice(memo);
        }
        let mut attributes = Attributes::of_table()
            .string(2, &self.name)
            .u32(3, kind as u32)
            .nested(4, data);
        if !userdata.is_empty() {
            attributes = attributes.bytes(8, &userdata);
        }
        Message::new(Kind::NewObject, NLM_F_CREATE, attributes).blame(rule.id)
    }

    /// The message that deletes the object.
    pub(super) fn delete(&self) -> Message {
        delete_object(&self.name, self.body.kind().map(|kind| kind as u32))
    }
}

/// The message that deletes an object of one of the kernel's kinds, or a set.
pub(super) fn delete_object(name: &str, kind: Option<u32>) -> Message {
    match kind {
        Some(kind) => {
            let attributes = Attributes::of_table().string(2, name).u32(3, kind);
            Message::new(Kind::DelObject, 0, attributes)
        }
        None => delete_set(name),
    }
}

/// A named set, or a map to named objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NamedSet {
    /// Its name in the table.
    pub(super) name: String,
    /// What is looked up in it.
    pub(super) key: Key,
    /// What it maps to; `None` for a set.
    pub(super) values: Option<Values>,
    /// The most elements that it can have; `None`: any number. The kernel finds elements faster where it knows.
    pub(super) size: Option<u32>,
}

/// What a map maps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Values {
    /// Named objects.
    Objects(ObjectKind),
    /// Chains to go on with.
    Chains,
}

/// `NFT_SET_MAP`.
pub(super) const MAP: u32 = 8;
/// `NFT_DATA_VERDICT`.
const VERDICT: u32 = 0xffff_ff00;

/// `NFT_SET_OBJECT`.
const OBJECT: u32 = 0x40;
/// Named elements in one message: with their comments far below what fits the 64 KiB of an attribute.
const NAMED_ELEMENTS_PER_MESSAGE: usize = 128;

impl NamedSet {
    /// The message that creates it; `id` is unique in the transaction.
    pub(super) fn create(&self, id: u32) -> Message {
        let width = u32::try_from(self.key.width()).expect("a key has at most 64 octets");
        let flags = match self.values {
            None => 0,
            Some(Values::Objects(_)) => OBJECT,
            Some(Values::Chains) => MAP,
        };
        let mut userdata = byte_order_userdata(NFT_BIG_ENDIAN);
        if let Some((base, offset, length)) = self.key.raw() {
            userdata.extend(typeof_userdata(base, offset, length));
        }
        let mut attributes = Attributes::of_table()
            .string(2, &self.name)
            .u32(3, flags)
            .u32(4, self.key.data_type())
            .u32(5, width)
            .u32(10, id)
            .bytes(13, &userdata);
        if let Some(size) = self.size {
            attributes = attributes.nested(9, Attributes::new().u32(1, size));
        }
        attributes = match self.values {
            None => attributes,
            Some(Values::Objects(kind)) => attributes.u32(15, kind as u32),
            Some(Values::Chains) => attributes.u32(6, VERDICT),
        };
        Message::new(Kind::NewSet, NLM_F_CREATE, attributes)
    }
}

/// The message that deletes a set to which no rule refers any more.
pub(super) fn delete_set(name: &str) -> Message {
    Message::new(Kind::DelSet, 0, Attributes::of_table().string(2, name))
}

/// One element of a named set or map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Element {
    /// The key.
    pub(super) value: KeyValue,
    /// What it maps to.
    pub(super) target: Option<Target>,
    /// What an operator reads beside it.
    pub(super) comment: Option<Label>,
    /// The rule of the upper half that it is for.
    pub(super) rule: Option<RuleId>,
}

impl Element {
    /// The same in a set whose key says the same, see [`KeyValue::under`].
    pub(super) fn under(&self, key: &Key) -> Cow<'_, Self> {
        match self.value.under(key) {
            None => Cow::Borrowed(self),
            Some(value) => Cow::Owned(Self {
                value,
                ..self.clone()
            }),
        }
    }
}

/// What an element maps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The named object.
    Object(String),
    /// The chain to go on with, without coming back.
    Goto(String),
    /// The chain to go on with first.
    Jump(String),
}

impl Target {
    /// The name of the object or chain.
    pub(super) fn name(&self) -> &str {
        let (Self::Object(name) | Self::Goto(name) | Self::Jump(name)) = self;
        name
    }

    /// The verdict that it is, if it is one.
    fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Object(_) => None,
            Self::Goto(chain) => Some(Verdict::Goto(chain.clone())),
            Self::Jump(chain) => Some(Verdict::Jump(chain.clone())),
        }
    }
}

impl Element {
    fn key(&self) -> Attributes {
        Attributes::new().nested(1, Attributes::new().bytes(1, &self.value.octets()))
    }
}

/// Appends the messages that add elements to a set.
pub(super) fn add_elements(set: &str, elements: &[Element], out: &mut Vec<Message>) {
    let whole = |element: &Element| {
        let mut attributes = element.key();
        if let Some(Target::Object(object)) = &element.target {
            attributes = attributes.string(9, object);
        }
        if let Some(verdict) = element.target.as_ref().and_then(Target::verdict) {
            attributes = attributes.nested(2, Attributes::new().nested(2, verdict.encode()));
        }
        if let Some(comment) = &element.comment {
            attributes = attributes.bytes(6, &comment_userdata(0, &comment.to_string()));
        }
        attributes
    };
    element_messages(Kind::NewSetElem, NLM_F_CREATE, set, elements, whole, out);
}

/// Appends the messages that delete elements of a set.
pub(super) fn delete_elements(set: &str, elements: &[Element], out: &mut Vec<Message>) {
    element_messages(Kind::DelSetElem, 0, set, elements, Element::key, out);
}

/// Appends messages about elements, each of as many as fit.
fn element_messages(
    kind: Kind,
    flags: u16,
    set: &str,
    elements: &[Element],
    encode: impl Fn(&Element) -> Attributes,
    out: &mut Vec<Message>,
) {
    for elements in elements.chunks(NAMED_ELEMENTS_PER_MESSAGE) {
        let list = elements.iter().fold(Attributes::new(), |list, element| {
            list.nested(1, encode(element))
        });
        let attributes = Attributes::of_table().string(2, set).nested(3, list);
        let mut message = Message::new(kind, flags, attributes);
        if let [element] = elements {
            message.rule = element.rule;
        }
        out.push(message);
    }
}

/// The byte order of a set's elements: tag 0, length, number. It tells nft how to print them; without it they come out
/// reversed.
pub(super) fn byte_order_userdata(order: u32) -> Vec<u8> {
    let mut octets = vec![0, 4];
    octets.extend_from_slice(&order.to_ne_bytes());
    octets
}

/// The type of a key that is octets of a header as nft stores it (`typeof @nh,96,16`), without which it could not read back
/// what it lists: tags, lengths and numbers of this machine's byte order.
fn typeof_userdata(base: Base, offset: u32, length: u32) -> Vec<u8> {
    const KEY_TYPEOF: u8 = 3;
    const EXPRESSION: u8 = 0;
    const PAYLOAD: u32 = 7;
    const DATA: u8 = 1;
    let entry = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).expect("there are few");
        [&[tag, length], content].concat()
    };
    let number = |tag: u8, value: u32| entry(tag, &value.to_ne_bytes());
    // No protocol and no field of one; nft counts bases from 1 where the kernel counts from 0.
    let place = [0, 0, base as u32 + 1, offset, length];
    let data: Vec<u8> = (0..)
        .zip(place)
        .flat_map(|(tag, value)| number(tag, value))
        .collect();
    entry(
        KEY_TYPEOF,
        &[number(EXPRESSION, PAYLOAD), entry(DATA, &data)].concat(),
    )
}

/// A comment as nft stores it: tag, length, text, NUL. The tag is 0 but for sets.
pub(super) fn comment_userdata(tag: u8, comment: &str) -> Vec<u8> {
    let text = comment_text(comment);
    let length = u8::try_from(text.len() + 1).expect("comments are cut to 127 octets");
    let mut octets = vec![tag, length];
    octets.extend_from_slice(text.as_bytes());
    octets.push(0);
    octets
}

/// A comment that nft can print and read back: no quotes or control characters, cut with `…` to 127
/// octets.
pub(super) fn comment_text(comment: &str) -> String {
    let clean = |c: char| match c {
        '"' => '\'',
        c if c.is_control() => ' ',
        c => c,
    };
    let mut text: String = comment.chars().map(clean).collect();
    if text.len() > COMMENT_MAX {
        let ellipsis = "…";
        let mut end = COMMENT_MAX - ellipsis.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(ellipsis);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_cut_at_a_character() {
        let rows = [
            ("short", "a \"b\"\n".to_string(), "a 'b' ".to_string()),
            ("fits", "x".repeat(127), "x".repeat(127)),
            ("cut", "x".repeat(128), format!("{}…", "x".repeat(124))),
            (
                "cut inside a character",
                format!("x{}", "é".repeat(70)),
                format!("x{}…", "é".repeat(61)),
            ),
        ];
        for (name, input, expected) in rows {
            assert_eq!(comment_text(&input), expected, "{name}");
        }
    }
}

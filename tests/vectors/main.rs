//! Other people's bytes: what they mean, which verdict they get, and that nothing close to them does harm.

mod meaning;
mod survival;
mod verdicts;

use flowacl::wire::cursor::Cursor;
use flowacl::wire::error::{Consequence, WireError};
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::message::{MAX_EXTENDED_MESSAGE_LENGTH, Message, split};
use flowacl::wire::nlri::Nlri;
use flowacl::wire::update::{DecodeContext, Update, decode};
use serde_json::Value;

/// Octets of a path identifier (RFC 7911 §3), which we do not negotiate.
const PATH_IDENTIFIER_LENGTH: usize = 4;
/// ORIGIN, AS_PATH and LOCAL_PREF, to make an UPDATE complete.
const MANDATORY: [u8; 14] = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 5, 4, 0, 0, 0, 100];

/// One line of a file.
struct Vector(Value);

impl Vector {
    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    fn id(&self) -> &str {
        self.text("id")
    }

    fn kind(&self) -> &str {
        self.text("kind")
    }

    /// The FlowSpec family, for those that have one.
    fn family(&self) -> Option<FlowFamily> {
        self.text("family").parse().ok()
    }

    fn is_valid(&self) -> bool {
        self.0["valid"] == true
    }

    /// The octets, without the path identifier that stands before some NLRI.
    fn octets(&self) -> Vec<u8> {
        let octets = hex::decode(self.text("hex")).expect("vectors are hex");
        match self.0["addpath"] == true {
            true => octets[PATH_IDENTIFIER_LENGTH..].to_vec(),
            false => octets,
        }
    }

    /// The parts of `expected.decoded`, where it is a list.
    fn decoded(&self) -> &[Value] {
        let decoded = self.0["expected"]["decoded"].as_array();
        decoded.map(Vec::as_slice).unwrap_or_default()
    }

    /// The attributes in `expected.decoded`, where it is a message.
    fn decoded_attributes(&self) -> &[Value] {
        let attributes = self.0["expected"]["decoded"]["attrs"].as_array();
        attributes.map(Vec::as_slice).unwrap_or_default()
    }
}

fn load(file: &str) -> Vec<Vector> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .map(|line| Vector(serde_json::from_str(line).expect(line)))
        .collect()
}

/// A session in which every FlowSpec family was negotiated that the vectors need.
fn context(ibgp: bool, four_octet_as: bool) -> DecodeContext {
    DecodeContext {
        four_octet_as,
        ibgp,
        unicast: Vec::new(),
        families: vec![FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow],
    }
}

/// As [`context`], with the vector's own family.
fn context_for(vector: &Vector, ibgp: bool, four_octet_as: bool) -> DecodeContext {
    let mut context = context(ibgp, four_octet_as);
    context
        .families
        .extend(vector.family().filter(|family| family.is_vpn()));
    context
}

/// What RFC 7606 makes of an UPDATE, in the words of the vectors; a reset with its code and subcode.
fn outcome(result: &Result<Update, WireError>) -> String {
    let consequences: Vec<&Consequence> = match result {
        Ok(update) => update.errors.iter().map(|e| &e.consequence).collect(),
        Err(error) => vec![&error.consequence],
    };
    let mut worst = "none".to_string();
    for consequence in consequences {
        match consequence {
            Consequence::SessionReset(n) => {
                return format!("session-reset {}/{}", n.code, n.subcode);
            }
            Consequence::TreatAsWithdraw => worst = consequence.name().into(),
            Consequence::AttributeDiscard if worst == "none" => worst = consequence.name().into(),
            Consequence::AttributeDiscard => {}
        }
    }
    worst
}

fn message_outcome(octets: &[u8], context: &DecodeContext) -> String {
    match split(&mut octets.to_vec(), MAX_EXTENDED_MESSAGE_LENGTH) {
        Ok(Some(Message::Update(body))) => outcome(&decode(&body, context)),
        Ok(Some(_)) => "none".into(),
        Ok(None) => "incomplete".into(),
        Err(error) => outcome(&Err(error)),
    }
}

/// The body of an UPDATE with these attributes and these IPv4 unicast routes.
fn update_body(attributes: &[u8], unicast: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend(unicast);
    body
}

/// The body of an UPDATE that announces a field of NLRI.
fn announcement(family: FlowFamily, nlri: &[u8]) -> Vec<u8> {
    let afi_safi = family.afi_safi();
    let mut attributes = vec![0x90, 14];
    attributes.extend((nlri.len() as u16 + 5).to_be_bytes());
    attributes.extend(afi_safi.afi.to_be_bytes());
    attributes.extend([afi_safi.safi, 0, 0]);
    attributes.extend(nlri);
    attributes.extend(MANDATORY);
    update_body(&attributes, &[])
}

/// An OPEN with one capability.
fn open_with(capability: &[u8]) -> Vec<u8> {
    let length = capability.len() as u8;
    let mut body = vec![4, 0xfd, 0xe9, 0, 90, 192, 0, 2, 1, length + 2, 2, length];
    body.extend(capability);
    let mut message = vec![0xff; 16];
    message.extend((19 + body.len() as u16).to_be_bytes());
    message.push(1);
    message.extend(body);
    message
}

/// All NLRI of a field; `None` when one of them is malformed or overruns the field.
fn read_all(family: FlowFamily, octets: &[u8]) -> Option<Vec<Nlri>> {
    let mut cursor = Cursor::new(octets, 0);
    let mut routes = Vec::new();
    while !cursor.is_empty() {
        routes.push(Nlri::read(family, &mut cursor).ok()?.ok()?);
    }
    Some(routes)
}

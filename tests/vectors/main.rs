//! Other people's bytes: what they mean, which verdict they get, and that nothing close to them does harm.

mod differences;
mod file;
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

use file::{Vector, announcement, load};

impl Vector {
    fn is_valid(&self) -> bool {
        self.0["valid"] == true
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

/// A session in which every FlowSpec family was negotiated that the vectors need.
fn context(ibgp: bool, four_octet_as: bool) -> DecodeContext {
    DecodeContext {
        four_octet_as,
        ibgp,
        unicast: Vec::new(),
        add_path: Vec::new(),
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
            Consequence::NlriIgnored if worst == "none" => worst = consequence.name().into(),
            Consequence::AttributeDiscard | Consequence::NlriIgnored => {}
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

/// All NLRI of a field; `None` when one of them is malformed or overruns the field.
fn read_all(family: FlowFamily, octets: &[u8]) -> Option<Vec<Nlri>> {
    let mut cursor = Cursor::new(octets, 0);
    let mut routes = Vec::new();
    while !cursor.is_empty() {
        routes.push(Nlri::read(family, &mut cursor).ok()?.ok()?);
    }
    Some(routes)
}

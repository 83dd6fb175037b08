//! The vectors, and how a neighbor says each of them.

use flowacl::wire::iana::FlowFamily;
use serde_json::Value;

/// Octets of a path identifier (RFC 7911 §3), which we do not negotiate.
pub const PATH_IDENTIFIER_LENGTH: usize = 4;
/// ORIGIN, AS_PATH and LOCAL_PREF, to make an UPDATE complete.
const MANDATORY: [u8; 14] = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 5, 4, 0, 0, 0, 100];
/// Message types (RFC 4271 §4.1).
const OPEN: u8 = 1;
const UPDATE: u8 = 2;

/// One line of a file.
pub struct Vector(pub Value);

/// A whole message, and the session that it is for.
pub struct Said {
    /// Both sides are of one AS.
    pub ibgp: bool,
    /// Both sides know AS numbers of four octets.
    pub four_octet_as: bool,
    /// The message with its header.
    pub octets: Vec<u8>,
}

impl Vector {
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    pub fn id(&self) -> &str {
        self.text("id")
    }

    pub fn kind(&self) -> &str {
        self.text("kind")
    }

    /// The FlowSpec family, for those that have one.
    pub fn family(&self) -> Option<FlowFamily> {
        self.text("family").parse().ok()
    }

    /// The octets, without the path identifier that stands before some NLRI.
    pub fn octets(&self) -> Vec<u8> {
        let octets = hex::decode(self.text("hex")).expect("vectors are hex");
        match self.0["addpath"] == true {
            true => octets[PATH_IDENTIFIER_LENGTH..].to_vec(),
            false => octets,
        }
    }

    /// What a malformed vector should lead to; several where the RFC fixes no code.
    pub fn wanted(&self) -> Vec<String> {
        // `3/10 or 3/1 (…)`
        let codes = self.text("notification").split(' ');
        let codes = codes.filter(|word| word.contains('/'));
        let wanted: Vec<String> = codes.map(|code| format!("session-reset {code}")).collect();
        match wanted.is_empty() {
            true => vec![self.text("outcome").into()],
            false => wanted,
        }
    }

    /// The message that carries it.
    pub fn said(&self) -> Said {
        let octets = self.octets();
        let announced = |attribute: &[u8]| {
            let attributes = [attribute, &MANDATORY].concat();
            message(UPDATE, &update_body(&attributes, &[]))
        };
        // What surrounds the Path Attributes stands beside them.
        let says = |field: &str| self.0["source_says"][field] == true;
        let of_attributes = self.kind() == "attributes";
        let octets = match self.kind() {
            "nlri" => {
                let family = self.family().expect("NLRI have a family");
                message(UPDATE, &announcement(family, &octets))
            }
            "message" => octets,
            "update" => message(UPDATE, &octets),
            "attribute" => announced(&octets),
            "attribute-value" => {
                announced(&[&[0x80, 15, octets.len() as u8], &octets[..]].concat())
            }
            "extcomm" => {
                let code = match self.text("family") {
                    "ipv6-extcomm" => 25,
                    _ => 16,
                };
                announced(&[&[0xc0, code, octets.len() as u8], &octets[..]].concat())
            }
            "attributes" => {
                let unicast: &[u8] = match says("hasNLRI") {
                    true => &[24, 192, 0, 2],
                    false => &[],
                };
                message(UPDATE, &update_body(&octets, unicast))
            }
            "capability" => open_with(&octets),
            kind => panic!("{}: unknown kind {kind}", self.id()),
        };
        Said {
            ibgp: !of_attributes || says("iBGP"),
            four_octet_as: !of_attributes || says("4octetAS"),
            octets,
        }
    }
}

/// All vectors of a file.
pub fn load(file: &str) -> Vec<Vector> {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.lines()
        .map(|line| Vector(serde_json::from_str(line).expect(line)))
        .collect()
}

/// The body of an UPDATE that announces a field of NLRI.
pub fn announcement(family: FlowFamily, nlri: &[u8]) -> Vec<u8> {
    let afi_safi = family.afi_safi();
    let mut attributes = vec![0x90, 14];
    attributes.extend((nlri.len() as u16 + 5).to_be_bytes());
    attributes.extend(afi_safi.afi.to_be_bytes());
    attributes.extend([afi_safi.safi, 0, 0]);
    attributes.extend(nlri);
    attributes.extend(MANDATORY);
    update_body(&attributes, &[])
}

/// The body of an UPDATE with these attributes and these IPv4 unicast routes.
fn update_body(attributes: &[u8], unicast: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0];
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend(unicast);
    body
}

/// An OPEN of AS 65000 with one capability.
fn open_with(capability: &[u8]) -> Vec<u8> {
    let length = capability.len() as u8;
    let mut body = vec![4, 0xfd, 0xe8, 0, 90, 192, 0, 2, 1, length + 2, 2, length];
    body.extend(capability);
    message(OPEN, &body)
}

/// A message with its header.
fn message(message_type: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend((19 + body.len() as u16).to_be_bytes());
    message.push(message_type);
    message.extend(body);
    message
}

//! `flowacl decode`: octets to meaning, all the way to the packet filter.

mod print;
mod reading;

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::hex;
use crate::flowspec::text::format_flow;
use crate::wire::iana::FlowFamily;
use reading::{Content, Fault, Reading, Route};

/// Decode a FlowSpec NLRI, an UPDATE, or any BGP message
///
/// Prints every step of the way: message, attributes, components, text form, rule, and what the kernel would be given. With
/// --family the octets are bare NLRI with their length octets; without it they are a whole BGP message when they begin with
/// its marker, and otherwise the body of an UPDATE.
///
/// Exits with 0 when the octets are well-formed, and with 1 when they are malformed: then the outcome is that of RFC 7606.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowacl decode --family ipv4-flow 0b0120cb00710503811105817b
  flowacl decode --family ipv6-flow --json '0x07 01 20 00 20 01 0d b8'
  tshark -r bgp.pcap -T fields -e tcp.payload | head -1 | flowacl decode -")]
pub(super) struct Arguments {
    /// The octets are NLRI of this family: ipv4-flow, ipv6-flow, ipv4-flow-vpn or ipv6-flow-vpn
    #[arg(long, value_name = "FAMILY")]
    family: Option<FlowFamily>,
    /// Path Identifiers stand before NLRI, as in a session with ADD-PATH (RFC 7911)
    #[arg(long)]
    add_path: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The octets in hex, in one argument or several; spaces, colons and 0x are ignored; - is stdin
    #[arg(required = true, value_name = "HEX")]
    octets: Vec<String>,
}

/// Carries out the command.
pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let mut text = arguments.octets.join(" ");
    if text == "-" {
        text.clear();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read stdin")?;
    }
    let octets = hex::parse(&text).map_err(|error| anyhow!(error))?;
    let reading = reading::read(&octets, arguments.family, arguments.add_path);
    if arguments.json {
        super::print_json(output, &json(&reading))?;
    } else {
        print::print(output, &reading)?;
    }
    Ok(if reading.faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What `--json` prints.
#[derive(Serialize)]
#[serde(untagged)]
enum Json {
    /// Well-formed.
    Right {
        ok: bool,
        /// The first route's; absent from a message without routes.
        #[serde(skip_serializing_if = "Option::is_none")]
        nlri: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        flow: Option<String>,
        /// All routes, where there is more than one to tell.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        routes: Vec<JsonRoute>,
    },
    /// Malformed.
    Wrong {
        ok: bool,
        outcome: &'static str,
        error: String,
    },
}

/// One route of an UPDATE.
#[derive(Serialize)]
struct JsonRoute {
    family: &'static str,
    nlri: String,
    flow: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_id: Option<u32>,
    withdrawn: bool,
}

/// The reading as JSON.
fn json(reading: &Reading) -> Json {
    if let Some(strongest) = reading.faults.iter().max_by_key(|fault| fault.severity()) {
        let errors: Vec<_> = reading.faults.iter().map(ToString::to_string).collect();
        return Json::Wrong {
            ok: false,
            outcome: strongest.outcome,
            error: errors.join("; "),
        };
    }
    let routes: Vec<JsonRoute> = reading.routes.iter().map(JsonRoute::from).collect();
    let first = routes.first();
    Json::Right {
        ok: true,
        nlri: first.map(|route| route.nlri.clone()),
        flow: first.map(|route| route.flow.clone()),
        routes: match &reading.content {
            Content::Nlri if routes.len() < 2 => Vec::new(),
            Content::Nlri | Content::Update(_) | Content::Message(_) => routes,
        },
    }
}

impl From<&Route> for JsonRoute {
    fn from(route: &Route) -> Self {
        Self {
            family: route.nlri.family().name(),
            nlri: ::hex::encode(route.nlri.encoded()),
            flow: format_flow(&route.nlri, &route.actions),
            path_id: Some(route.path_id).filter(|id| *id != 0),
            withdrawn: route.withdrawn,
        }
    }
}

impl Fault {
    /// Greater for what does more harm.
    fn severity(&self) -> u8 {
        match self.outcome {
            "session-reset" => 2,
            "treat-as-withdraw" => 1,
            _ => 0,
        }
    }
}

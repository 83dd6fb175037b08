//! Reads flows as people write them: the text form of ExaBGP, or lines of a family and an NLRI in hex.

use std::fs;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};

use super::hex;
use crate::flowspec::text::{Flow, TextError, parse_flows};
use crate::wire::attribute::Attributes;
use crate::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};
use crate::wire::cursor::Cursor;
use crate::wire::iana::FlowFamily;
use crate::wire::nlri::Nlri;

/// A route as it is to be announced.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Route {
    /// What it matches.
    pub(super) nlri: Nlri,
    /// Attribute 16.
    pub(super) extended_communities: Vec<ExtendedCommunity>,
    /// Attribute 25.
    pub(super) ipv6_extended_communities: Vec<Ipv6ExtendedCommunity>,
    /// Attribute 8.
    pub(super) communities: Vec<u32>,
    /// Attribute 32.
    pub(super) large_communities: Vec<LargeCommunity>,
}

impl Route {
    /// The communities as attributes of an UPDATE.
    pub(super) fn attributes(&self) -> Attributes {
        Attributes {
            communities: self.communities.clone(),
            extended_communities: self.extended_communities.clone(),
            ipv6_extended_communities: self.ipv6_extended_communities.clone(),
            large_communities: self.large_communities.clone(),
            ..Attributes::default()
        }
    }
}

impl From<Flow> for Route {
    fn from(flow: Flow) -> Self {
        Self {
            nlri: flow.nlri,
            extended_communities: flow.extended_communities,
            ipv6_extended_communities: flow.ipv6_extended_communities,
            communities: flow.communities,
            large_communities: flow.large_communities,
        }
    }
}

/// Reads a file, or stdin when it is called `-`.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Route>> {
    let mut text = String::new();
    let name = if path == Path::new("-") {
        std::io::stdin()
            .read_to_string(&mut text)
            .context("cannot read stdin")?;
        "stdin".to_owned()
    } else {
        text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        path.display().to_string()
    };
    parse(&text, &name)
}

/// Reads a text; on failure all errors are told, each as `name:line:column: reason`.
///
/// Routes come in the order of their kinds: flows in text form first, lines of hex after them.
pub(super) fn parse(text: &str, name: &str) -> anyhow::Result<Vec<Route>> {
    let mut errors = Vec::new();
    let mut bare = Vec::new();
    let mut flows = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        match bare_nlri(line) {
            // The text parser sees an empty line, so that its places stay right.
            Some(Ok(nlri)) => bare.push(nlri),
            Some(Err(message)) => errors.push(TextError {
                line: index + 1,
                column: 1,
                message,
            }),
            None => flows.push_str(line),
        }
        flows.push('\n');
    }
    let flows = parse_flows(&flows).unwrap_or_else(|found| {
        errors.extend(found);
        Vec::new()
    });
    if !errors.is_empty() {
        errors.sort_by_key(|error| (error.line, error.column));
        let lines = errors.iter().map(
            |TextError {
                 line,
                 column,
                 message,
             }| { format!("{name}:{line}:{column}: {message}") },
        );
        bail!(
            "nothing done, because of errors in the flows\n{}",
            lines.collect::<Vec<_>>().join("\n")
        );
    }
    let bare = bare.into_iter().map(|nlri| Route {
        nlri,
        extended_communities: Vec::new(),
        ipv6_extended_communities: Vec::new(),
        communities: Vec::new(),
        large_communities: Vec::new(),
    });
    Ok(flows.into_iter().map(Route::from).chain(bare).collect())
}

/// The NLRI of a line that begins with the name of a family; `None` for any other line.
fn bare_nlri(line: &str) -> Option<Result<Nlri, String>> {
    let (family, rest) = line.trim_start().split_once(char::is_whitespace)?;
    let family: FlowFamily = family.parse().ok()?;
    let rest = rest
        .split_once('#')
        .map_or(rest, |(octets, _comment)| octets);
    Some(one_nlri(family, rest))
}

/// One NLRI with its length octets, in hex.
fn one_nlri(family: FlowFamily, text: &str) -> Result<Nlri, String> {
    let octets = hex::parse(text)?;
    let mut cursor = Cursor::new(&octets, 0);
    let nlri = Nlri::read(family, &mut cursor)
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())?;
    match cursor.len() {
        0 => Ok(nlri),
        left => Err(format!("{left} octets behind the end of the NLRI")),
    }
}

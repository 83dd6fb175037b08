//! The text form of Flow Specifications: the grammar of ExaBGP's configuration, read and written.
//!
//! ```text
//! file      = { ["announce"] "flow" ( route | "{" { route } "}" ) }
//! route     = "route" [name] "{" { statement | match | scope | then } "}"
//! statement = "rd" RD ";" | "family" FAMILY ";" | "next-hop" ADDRESS ";"
//! match     = "match" "{" { component ";" } "}"
//! scope     = "scope" "{" { "interface-set" SET ";" } "}"
//! then      = "then" "{" { action ";" } "}"
//!
//! # a comment runs to the end of its line
//! flow route {
//!     match { destination 192.0.2.0/24; destination-port [ >=1024&<=2048 =80 ]; }
//!     then { rate-limit 9600; }
//! }
//! ```
//!
//! Terms of a list stand side by side for OR; `&` joins them with AND. Numeric terms compare with
//! `=` (may be left out), `!=`, `<`, `<=`, `>`, `>=`, or are `true` or `false`. Bitmask terms hold
//! when *any* of their bits is set; with `=` when *all* are; `!` and `!=` negate. Bits are added
//! with `+`.
//!
//! What ExaBGP 4 cannot say is an addition here:
//! - A value whose width on the wire is not the least possible is written in hexadecimal with all
//!   its digits: `=80` is one octet, `=0x0050` is two. The width is part of a route's identity (RFC
//!   8955 §5.1).
//! - `true` and `false` have a value on the wire, which stands behind them unless it is one octet
//!   of 0: `true5`.
//! - `family ipv6-flow;` where nothing in the match says so.
//! - `rate-limit 50 packets;`, as ExaBGP 5 has it.
//! - `rate-limit 50 packets per-source /24 of 8192;` limits each source prefix of this length by itself and tells so many
//!   apart; without `of` 4096.
//! - `L` behind an AS number asks for the four-octet format: `redirect 100L:5`.
//!
//! And some words mean something else than to ExaBGP 4: `not-a-fragment` is what it says (ExaBGP
//! sends a term that never holds); `redirect ADDRESS` and `copy ADDRESS` are the standard action
//! (ExaBGP sends a legacy form); ICMP type names mean ICMPv6 types in IPv6; `traffic-class` takes
//! the six bits of DSCP, which are all that component type 11 compares.

mod words;
mod lexer;
mod administrators;
mod terms;
mod then;
mod parser;
mod print;

use std::fmt;

use crate::flowspec::action::TrafficFilteringActions;
use crate::wire::community::{ExtendedCommunity, Ipv6ExtendedCommunity, LargeCommunity};
use crate::wire::nlri::Nlri;

pub use parser::parse_flows;
pub use print::{format_flow, format_match, format_prefix, format_route_distinguisher};

/// One `flow route { … }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// The name behind `route`, if there is one.
    pub name: Option<String>,
    /// What it matches.
    pub nlri: Nlri,
    /// What its communities ask for.
    pub actions: TrafficFilteringActions,
    /// Attribute 16, in the order written: actions and whatever else `extended-community` gave.
    pub extended_communities: Vec<ExtendedCommunity>,
    /// Attribute 25, in the order written.
    pub ipv6_extended_communities: Vec<Ipv6ExtendedCommunity>,
    /// Attribute 8, in the order written.
    pub communities: Vec<u32>,
    /// Attribute 32, in the order written.
    pub large_communities: Vec<LargeCommunity>,
}

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was expected and what was found: lower case, no final dot.
    pub message: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )
    }
}

impl std::error::Error for TextError {}

#[cfg(test)]
mod tests;

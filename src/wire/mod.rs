//! BGP messages, attributes, capabilities, communities and FlowSpec NLRI: bytes to types and back, nothing else.
//!
//! Hostile bytes stop here: no other module re-parses what this one returns.

pub mod cursor;
pub mod iana;
pub mod error;
mod notification;
pub mod nlri;
pub mod community;
pub mod attribute;
pub mod capability;
pub mod open;
pub mod path;
pub mod update;
pub mod message;

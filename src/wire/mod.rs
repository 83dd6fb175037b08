//! BGP messages, attributes, capabilities, communities and FlowSpec NLRI: bytes to types and back, nothing else.
//!
//! Hostile bytes stop here: no other module re-parses what this one returns.

pub mod attribute;
pub mod capability;
pub mod community;
pub mod cursor;
pub mod error;
pub mod iana;
pub mod message;
pub mod nlri;
pub mod open;
pub mod update;

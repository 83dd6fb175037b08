//! The lower half of flowacl: packet filter rules and the backends that install them.
//!
//! This crate knows packets and filters. It knows nothing of BGP and depends on nothing of the upper half.
//!
//! The data flow, in module order: a [`rule::Rule`] says what to match and what to do;
//! [`desired::Changes`] say which rules come, change and go in one commit; a
//! [`backend::Backend`] makes its packet filter equal to the sum of all changes, all or nothing.
//! [`sim`] is the backend that forwards packets in memory: the oracle for all others.

pub mod interval;
mod action;
mod label;
mod order;
mod rare;
pub mod rule;
pub mod packet;
pub mod routing;
mod overlap;
pub mod guard;
pub mod desired;
pub mod backend;
pub mod sim;
pub mod layered;
pub mod tcam;
pub mod nft;
pub mod cumulus;
pub mod sonic;

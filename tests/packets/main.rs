//! Packets through the kernel: what each component and action does, held against the words of the RFCs.
//!
//! Every row is checked twice: with the nftables backend in the router of a network of namespaces, and with the sim
//! backend.

#[path = "../network/mod.rs"]
mod network;
mod corpus;
mod flows;
mod baseline;
mod components;
mod actions;
mod traps;
mod guards;
mod interfaces;
mod older;
mod rates;
mod sampling;
mod sources;

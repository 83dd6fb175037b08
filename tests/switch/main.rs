//! The Cumulus backend against a strict stand-in for `cl-acltool`, which checks files as its documentation says, and against the
//! kernel that the stand-in programs with the same files.

#[allow(dead_code, reason = "the tests of faults use the rest")]
#[path = "../faults/controller.rs"]
mod controller;
#[allow(dead_code, reason = "the differential test uses the rest")]
#[path = "../differential/kinds.rs"]
mod kinds;
#[path = "../differential/lists.rs"]
mod lists;
#[allow(
    dead_code,
    unused_imports,
    reason = "the differential test uses the rest"
)]
#[path = "../network/mod.rs"]
mod network;
#[path = "../program/mod.rs"]
mod program;
#[allow(dead_code, reason = "the differential test uses the rest")]
#[path = "../differential/populations.rs"]
mod populations;
#[allow(dead_code, reason = "the differential test uses the rest")]
#[path = "../differential/specifications.rs"]
mod specifications;
#[allow(dead_code, reason = "the differential test uses the rest")]
#[path = "../differential/traffic.rs"]
mod traffic;

mod differential;
mod faults;
mod grammar;
mod interfaces;
mod layered;
mod reader;
mod room;
mod scene;
#[path = "../waiting/mod.rs"]
mod waiting;

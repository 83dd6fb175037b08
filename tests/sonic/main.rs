//! The SONiC backend against a real redis-server, a strict stand-in for orchagent, and SONiC's own YANG models.
//!
//! `FLOWACL_SEED` repeats a run of the differential test, `FLOWACL_STEPS` sets its length. `FLOWACL_SONIC_YANG` names the folder of
//! the YANG models, which has a folder for each release.

mod asic;
mod changes;
mod daemon;
mod facts;
mod faults;
mod flows;
mod layered;
mod orchagent;
#[path = "../program/mod.rs"]
mod program;
mod scene;
mod server;
mod yang;
#[path = "../waiting/mod.rs"]
mod waiting;

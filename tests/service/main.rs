//! flowacl as a service: the unit, the package on a real Debian, the service under a real systemd, and every example.

#[path = "../machine/mod.rs"]
mod machine;
mod package;
mod programs;
mod unit;

//! The language of switch hardware: what entries of an ACL table can say, and what they cost. Pure.
//!
//! A switch compares packets with entries that are conjunctions of simple tests, in order, and carries out the first that
//! holds. [`profile`] says what entries of a platform can test and how many there may be. [`expand`](expand()) makes a
//! [`Match`](crate::rule::Match) into entries whose union is exactly the match, or says which component has no such entries.
//! Ranges of ports take hardware of their own, which [`ports`] shares out over all rules, and [`budget`] counts what is left of a
//! table.

pub mod budget;
mod cubes;
mod entry;
mod expand;
pub mod ports;
pub mod profile;
#[cfg(test)]
mod tests;

pub use cubes::{Cube, cover};
pub use entry::{Entry, Ports};
pub use expand::expand;

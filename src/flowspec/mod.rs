//! What a Flow Specification means: precedence, Traffic Filtering Actions, the reference evaluator,
//! the text form.

pub mod action;
pub mod matches;
pub mod operator;
pub mod precedence;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;

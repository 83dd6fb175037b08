//! From routes to rules: import policy, desired state, the state and reason of every route. Sans-IO.
//!
//! Every input enters [`Engine::step`]; every change to the data plane leaves as one [`Changes`] from
//! [`Engine::poll_commit`], at most one at a time: what arrives while a commit is in flight is collected for the next.

pub mod lower;
pub mod status;

//! Bounded reading of hostile octets.

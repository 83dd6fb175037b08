//! Precedence

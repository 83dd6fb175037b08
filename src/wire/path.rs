//! Several paths for one NLRI from one neighbor (RFC 7911).

use std::fmt;

use crate::wire::nlri::Nlri;

/// Tells the paths apart that one neighbor announces for one NLRI (RFC 7911 §3); the neighbor chooses it. 0 where none is
/// sent.
pub type PathId = u32;

/// A path as it is announced or withdrawn: what it leads to, and which of several it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathOf<R> {
    /// Path Identifier.
    pub id: PathId,
    /// NLRI.
    pub route: R,
}

/// The only path: of a neighbor that sends no Path Identifiers.
impl<R> From<R> for PathOf<R> {
    fn from(route: R) -> Self {
        Self { id: 0, route }
    }
}

/// True for the only path for the NLRI.
impl PartialEq<Nlri> for PathOf<Nlri> {
    fn eq(&self, nlri: &Nlri) -> bool {
        self.id == 0 && self.route == *nlri
    }
}

/// The route, and behind it its identifier, if it has one.
impl<R: fmt::Display> fmt::Display for PathOf<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            0 => self.route.fmt(f),
            id => write!(f, "{} path {id}", self.route),
        }
    }
}

//! decode
/// Why an NLRI is malformed and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NlriError {
    /// Octets from the start of the NLRI value (after its length octets).
    pub offset: usize,
    /// What is wrong.
    pub kind: NlriErrorKind,
}
/// What is wrong with an NLRI.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NlriErrorKind {
    /// No component.
    Empty,
}

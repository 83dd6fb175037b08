//! The numbers of rules that a bench is told to measure with.

/// The numbers on the command line, or `default`.
pub fn counts(default: &[usize]) -> Vec<usize> {
    let given: Vec<usize> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    if given.is_empty() {
        default.to_vec()
    } else {
        given
    }
}

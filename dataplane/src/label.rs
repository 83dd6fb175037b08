//! What operators read beside a rule.

use std::fmt;
use std::sync::Arc;

/// A line of text that is made when it is read: rules are many, and most are never read.
///
/// Equal when the text is.
#[derive(Clone)]
pub struct Label(Arc<dyn fmt::Display + Send + Sync>);

impl Label {
    /// The text that `source` displays.
    pub fn new(source: impl fmt::Display + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.to_string() == other.to_string()
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl From<String> for Label {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_equal_when_their_text_is() {
        let made = Label::new(format_args!("{}", "discard").to_string());
        assert_eq!(made, Label::from("discard"));
        assert_ne!(made, Label::from("accept"));
        assert_eq!(Label::new(7), Label::from("7"));
        assert_eq!(format!("{made} {made:?}"), "discard \"discard\"");
    }
}

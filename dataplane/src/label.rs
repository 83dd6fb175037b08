//! What operators read beside a rule.

use std::fmt;
use std::sync::Arc;

/// What the upper half knows of a rule and the data plane does not: it displays the line that operators read.
pub trait Background: fmt::Display + Send + Sync {
    /// The part of the line that holds as long as the rule is there, whatever it comes to do: what it is about.
    fn subject(&self) -> String {
        self.to_string()
    }

    /// What a later process wants to be told of the rule, see [`Rule::memo`](crate::rule::Rule::memo).
    fn memo(&self) -> Vec<u8> {
        Vec::new()
    }
}

/// Mere text.
impl Background for String {}

/// A line of text and a memo that are made when they are read: rules are many, and most are read once.
///
/// Equal when both are.
#[derive(Clone)]
pub struct Label(Arc<dyn Background>);

impl Label {
    /// What `background` says.
    pub fn new(background: impl Background + 'static) -> Self {
        Self(Arc::new(background))
    }

    /// What `background` says, which others hold, too.
    pub fn shared(background: Arc<impl Background + 'static>) -> Self {
        Self(background)
    }

    /// What operators read beside something that outlives a change of what the rule does.
    pub fn subject(&self) -> String {
        self.0.subject()
    }

    /// The memo.
    pub fn memo(&self) -> Vec<u8> {
        self.0.memo()
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
        Arc::ptr_eq(&self.0, &other.0)
            || (self.memo() == other.memo() && self.to_string() == other.to_string())
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
    fn labels_are_equal_when_what_they_say_is() {
        let made = Label::from("discard".to_owned());
        assert_eq!(made, Label::from("discard"));
        assert_ne!(made, Label::from("accept"));
        assert!(made.memo().is_empty());
        assert_eq!(format!("{made} {made:?}"), "discard \"discard\"");
    }
}

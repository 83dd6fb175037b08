//! Text to tokens: words, braces, brackets and semicolons, each with its place.

use super::TextError;

/// Where something stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// The place `characters` further to the right.
    pub fn right(self, characters: usize) -> Self {
        Self {
            column: self.column.saturating_add(characters),
            ..self
        }
    }

    /// An error at this place.
    pub fn error(self, message: impl Into<String>) -> TextError {
        TextError {
            line: self.line,
            column: self.column,
            message: message.into(),
        }
    }
}

/// A word, or one of `{ } [ ] ;`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'t> {
    /// The text of the token: never empty.
    pub text: &'t str,
    /// Where it begins.
    pub place: Place,
}

impl Token<'_> {
    /// An error at this token that quotes it: `expected <what>, found "<token>"`.
    pub fn unexpected(&self, expected: impl std::fmt::Display) -> TextError {
        self.place
            .error(format!("expected {expected}, found {:?}", self.text))
    }

    /// True for the tokens that are not words.
    pub fn is_punctuation(&self) -> bool {
        matches!(self.text, "{" | "}" | "[" | "]" | ";")
    }
}

/// The tokens of a text, and the place behind the last line's last character. Comments are left
/// out.
pub fn tokens(text: &str) -> (Vec<Token<'_>>, Place) {
    let mut tokens = Vec::new();
    let mut end = Place { line: 1, column: 1 };
    for (index, line) in text.lines().enumerate() {
        let line = line
            .split_once('#')
            .map_or(line, |(before, _comment)| before);
        let mut place = Place {
            line: index + 1,
            column: 1,
        };
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let (length, characters) = match first {
                '{' | '}' | '[' | ']' | ';' => (1, 1),
                space if space.is_whitespace() => (space.len_utf8(), 1),
                _ => word_length(rest),
            };
            let (text, after) = rest.split_at(length);
            if !first.is_whitespace() {
                tokens.push(Token { text, place });
            }
            place = place.right(characters);
            rest = after;
        }
        end = place;
    }
    (tokens, end)
}

/// Octets and characters of the word that the text begins with.
fn word_length(text: &str) -> (usize, usize) {
    let ends = |c: char| c.is_whitespace() || matches!(c, '{' | '}' | '[' | ']' | ';');
    let length = text.find(ends).unwrap_or(text.len());
    (length, text[..length].chars().count())
}

//! The keys of a file and what they are set to, so that two files can be compared.
//!
//! Made of the document, not of what is read from it: a new key takes part without anybody doing anything for it.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

use super::reader::line_and_column;

/// What stands in the place of a value that nobody may see.
const SECRET: &str = "(secret)";

/// Words that a key has in its name when its value is a secret.
const SECRET_WORDS: [&str; 4] = ["password", "secret", "md5", "passphrase"];

/// All keys of a file, under their full names. A `[[neighbor]]` is named by its address, wherever it stands:
/// `neighbor[192.0.2.1].import.max_routes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Setting>);

/// What one key is set to.
#[derive(Clone, PartialEq, Eq)]
struct Setting {
    value: String,
    is_secret: bool,
    line: usize,
}

impl Setting {
    /// The value, if it may be seen.
    fn shown(&self) -> String {
        match self.is_secret {
            true => SECRET.into(),
            false => self.value.clone(),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in line {}", self.shown(), self.line)
    }
}

/// A key that is not the same in two files. Secrets are not told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// Its full name.
    pub key: String,
    /// What it was set to; `None`: it was not there.
    pub from: Option<String>,
    /// What it is set to; `None`: it is not there.
    pub to: Option<String>,
}

/// `~ key = from -> to`, `+ key = to` or `- key = from`.
impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => write!(f, "~ {key} = {from} -> {to}"),
            (None, Some(to)) => write!(f, "+ {key} = {to}"),
            (Some(from), None) => write!(f, "- {key} = {from}"),
            (None, None) => write!(f, "  {key}"),
        }
    }
}

impl Keys {
    /// The keys of a document.
    pub(super) fn of(text: &str, document: &DeTable<'_>) -> Self {
        let mut keys = Self::default();
        keys.add_table(text, "", document);
        keys
    }

    fn add_table(&mut self, text: &str, path: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let dot = if path.is_empty() { "" } else { "." };
            let name = name.get_ref();
            let key = format!("{path}{dot}{name}");
            match value.get_ref() {
                DeValue::Table(table) => self.add_table(text, &key, table),
                DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
                    for (index, item) in items.iter().enumerate() {
                        let Some(table) = item.get_ref().as_table() else {
                            continue;
                        };
                        let address = table.get("address").and_then(|a| a.get_ref().as_str());
                        let place = address.map_or_else(|| index.to_string(), String::from);
                        self.add_table(text, &format!("{key}[{place}]"), table);
                    }
                }
                plain => {
                    let setting = Setting {
                        value: shown(plain),
                        is_secret: SECRET_WORDS.iter().any(|word| name.contains(word)),
                        line: line_and_column(text, value.span().start).0,
                    };
                    self.0.insert(key, setting);
                }
            }
        }
    }

    /// What is not the same in `new`, in the order of the names.
    pub fn changes(&self, new: &Self) -> Vec<KeyChange> {
        let names: std::collections::BTreeSet<&String> =
            self.0.keys().chain(new.0.keys()).collect();
        let change = |name: &String| {
            let (from, to) = (self.0.get(name), new.0.get(name));
            let value = |setting: Option<&Setting>| setting.map(|setting| setting.value.clone());
            (value(from) != value(to)).then(|| KeyChange {
                key: name.clone(),
                from: from.map(Setting::shown),
                to: to.map(Setting::shown),
            })
        };
        names.into_iter().filter_map(change).collect()
    }

    /// The line that a key is set in; `None`: it is not there.
    pub fn line(&self, key: &str) -> Option<usize> {
        self.0.get(key).map(|setting| setting.line)
    }
}

/// A value as it could stand in the file.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.to_string(),
            Err(_) => number.to_string(),
        },
        DeValue::Float(number) => number.as_str().into(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| shown(item.get_ref())).collect();
            format!("[{}]", items.join(", "))
        }
        DeValue::Table(table) => {
            let pair = |(key, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                format!("{} = {}", key.get_ref(), shown(value.get_ref()))
            };
            let pairs: Vec<String> = table.iter().map(pair).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the difference between two texts.
    fn changes(old: &str, new: &str) -> Vec<String> {
        let keys = |text| Keys::of(text, DeTable::parse(text).unwrap().get_ref());
        let changes = keys(old).changes(&keys(new));
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn differences_are_told_by_key() {
        let neighbor = "[[neighbor]]\naddress = \"192.0.2.1\"\nhold_time_secs = 90\n";
        let other = "[[neighbor]]\naddress = \"192.0.2.2\"\n";
        let rows: [(&str, String, String, &[&str]); 7] = [
            ("nothing", neighbor.into(), neighbor.into(), &[]),
            (
                "comments and order",
                format!("{neighbor}{other}"),
                format!("# new\n{other}\n\n{neighbor}"),
                &[],
            ),
            ("how it is written", "a = 0x10".into(), "a = 16".into(), &[]),
            (
                "a value",
                neighbor.into(),
                neighbor.replace("90", "30"),
                &["~ neighbor[192.0.2.1].hold_time_secs = 90 -> 30"],
            ),
            (
                "a table that comes, and one that goes",
                neighbor.into(),
                format!("{other}[neighbor.import]\ndestinations = [\"10.0.0.0/8\"]"),
                &[
                    "- neighbor[192.0.2.1].address = \"192.0.2.1\"",
                    "- neighbor[192.0.2.1].hold_time_secs = 90",
                    "+ neighbor[192.0.2.2].address = \"192.0.2.2\"",
                    "+ neighbor[192.0.2.2].import.destinations = [\"10.0.0.0/8\"]",
                ],
            ),
            (
                "a secret",
                "[[neighbor]]\nmd5_password = \"old\"".into(),
                "[[neighbor]]\nmd5_password = \"new\"".into(),
                &["~ neighbor[0].md5_password = (secret) -> (secret)"],
            ),
            (
                "an inline table",
                "[a]\nb = { c = 1 }".into(),
                "[a]\nb = { c = true, d = [1, 2] }".into(),
                &["~ a.b.c = 1 -> true", "+ a.b.d = [1, 2]"],
            ),
        ];
        for (name, old, new, expected) in rows {
            assert_eq!(changes(&old, &new), expected, "{name}");
        }
    }

    #[test]
    fn secrets_are_not_printed_for_debugging_either() {
        let text = "password = \"hunter2\"";
        let keys = Keys::of(text, DeTable::parse(text).unwrap().get_ref());
        assert!(!format!("{keys:?}").contains("hunter2"), "{keys:?}");
        assert_eq!(keys.line("password"), Some(1));
    }
}

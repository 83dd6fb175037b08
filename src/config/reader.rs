//! Walks a parsed TOML document and collects every error with its place, instead of stopping at the first.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};

use ipnetwork::IpNetwork;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors};

/// The text being read, and what was found to be wrong with it.
pub(super) struct Reader<'t> {
    text: &'t str,
    /// Each with the offset in the text, so that they can be sorted.
    errors: RefCell<Vec<(usize, ConfigError)>>,
    /// Where the text stops being TOML: from here on nothing can be trusted, and keys that seem to be missing
    /// may stand there.
    broken_at: Cell<Option<usize>>,
}

impl<'t> Reader<'t> {
    /// Starts on `text`, with no errors.
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            errors: RefCell::default(),
            broken_at: Cell::default(),
        }
    }

    /// Notes the errors of the TOML parser: duplicate keys, and the first place where it was lost.
    pub(super) fn syntax_errors(&self, errors: &[toml::de::Error]) {
        let place = |error: &toml::de::Error| error.span().unwrap_or(0..0);
        let (duplicates, lost): (Vec<_>, Vec<_>) = errors
            .iter()
            .partition(|error| error.message() == "duplicate key");
        if let Some(first) = lost.into_iter().min_by_key(|error| place(error).start) {
            let message = first.message().replace('\n', ", ");
            self.push(
                place(first).start,
                "",
                format!("not TOML from here on: {message}"),
            );
            self.broken_at.set(Some(place(first).start));
        }
        for error in duplicates {
            self.error(place(error), "", error.message().into());
        }
    }

    /// Notes one error.
    fn error(&self, span: Range<usize>, key: &str, reason: String) {
        if self
            .broken_at
            .get()
            .is_none_or(|broken_at| span.start < broken_at)
        {
            self.push(span.start, key, reason);
        }
    }

    /// Keeps an error at an offset of the text.
    fn push(&self, offset: usize, key: &str, reason: String) {
        let place = Some(line_and_column(self.text, offset));
        let error = ConfigError {
            place,
            key: key.to_owned(),
            reason,
        };
        self.errors.borrow_mut().push((offset, error));
    }

    /// `value` if nothing at all was wrong.
    pub(super) fn into_result<T>(self, value: Option<T>) -> Result<T, ConfigErrors> {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|(offset, _)| *offset);
        match value {
            Some(value) if errors.is_empty() => Ok(value),
            _ => {
                let errors = errors.into_iter().map(|(_, error)| error).collect();
                Err(ConfigErrors { path: None, errors })
            }
        }
    }
}

/// Line and column of an octet offset, counted from 1, columns in characters.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

/// A value of the document with its place and key.
#[derive(Clone)]
pub(super) struct Value<'r, 't> {
    reader: &'r Reader<'t>,
    path: String,
    node: &'r Spanned<DeValue<'t>>,
}

impl<'r, 't> Value<'r, 't> {
    /// Notes that something is wrong with this value.
    pub(super) fn error(&self, reason: impl Into<String>) {
        self.reader
            .error(self.node.span(), &self.path, reason.into());
    }

    /// A string.
    pub(super) fn text(&self) -> Result<&'r str, String> {
        self.node
            .get_ref()
            .as_str()
            .ok_or_else(|| self.wrong_type("a string"))
    }

    /// One line of text.
    pub(super) fn line(&self) -> Result<String, String> {
        let text = self.text()?;
        match text.chars().find(|c| c.is_control()) {
            Some(bad) => Err(format!("contains {bad:?}: one line of text is wanted")),
            None => Ok(text.to_owned()),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Result<bool, String> {
        self.node
            .get_ref()
            .as_bool()
            .ok_or_else(|| self.wrong_type("true or false"))
    }

    /// An integer within `range`.
    pub(super) fn integer(&self, range: RangeInclusive<u64>) -> Result<u64, String> {
        let integer = self
            .node
            .get_ref()
            .as_integer()
            .ok_or_else(|| self.wrong_type("an integer"))?;
        u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|value| range.contains(value))
            .ok_or_else(|| {
                format!(
                    "{integer} is not in the range {} to {}",
                    range.start(),
                    range.end()
                )
            })
    }

    /// An address and port, as in `0.0.0.0:179` or `[::]:179`.
    pub(super) fn socket_address(&self) -> Result<SocketAddr, String> {
        let text = self.text()?;
        let address: SocketAddr = text.parse().map_err(|_| {
            format!("{text:?} is not an address with a port, as in \"0.0.0.0:179\" or \"[::]:179\"")
        })?;
        match address.port() {
            0 => Err("port 0 is not a port".into()),
            _ => Ok(address),
        }
    }

    /// A prefix without bits beyond its length; an address alone is a prefix of full length.
    pub(super) fn prefix(&self) -> Result<IpNetwork, String> {
        let text = self.text()?;
        let prefix: IpNetwork = text
            .parse()
            .map_err(|_| format!("{text:?} is neither an address nor a prefix"))?;
        if prefix.ip() != prefix.network() {
            let meant = IpNetwork::new(prefix.network(), prefix.prefix());
            let meant = meant.map_or_else(|error| error.to_string(), |meant| meant.to_string());
            return Err(format!(
                "{text} has bits set beyond its length; did you mean {meant}?"
            ));
        }
        Ok(prefix)
    }

    /// An array whose items are read by `read`; items that are wrong or come twice are noted and left out.
    pub(super) fn list<T: PartialEq>(
        &self,
        read: impl Fn(&Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        let items = self
            .node
            .get_ref()
            .as_array()
            .ok_or_else(|| self.wrong_type("an array"))?;
        let mut values = Vec::with_capacity(items.len());
        for (index, node) in items.iter().enumerate() {
            let item = Self {
                reader: self.reader,
                path: format!("{}[{index}]", self.path),
                node,
            };
            match read(&item) {
                Ok(value) if values.contains(&value) => item.error("stands here twice"),
                Ok(value) => values.push(value),
                Err(reason) => item.error(reason),
            }
        }
        Ok(values)
    }

    /// As [`Self::list`], but an empty array is an error: `consequence` says why.
    pub(super) fn non_empty_list<T: PartialEq>(
        &self,
        consequence: &str,
        read: impl Fn(&Self) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        match self.node.get_ref().as_array() {
            Some(items) if items.is_empty() => Err(format!("is empty: {consequence}")),
            _ => self.list(read),
        }
    }

    /// The complaint about a value of another type.
    fn wrong_type(&self, wanted: &str) -> String {
        let article = match self.node.get_ref() {
            DeValue::Integer(_) | DeValue::Array(_) => "an",
            _ => "a",
        };
        format!(
            "must be {wanted}, not {article} {}",
            self.node.get_ref().type_str()
        )
    }
}

/// One table of the document. Remembers which keys were asked for: the rest are unknown.
pub(super) struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    path: String,
    span: Range<usize>,
    table: &'r DeTable<'t>,
    known: BTreeSet<&'static str>,
}

impl<'r, 't> Section<'r, 't> {
    /// The document itself.
    pub(super) fn root(reader: &'r Reader<'t>, document: &'r Spanned<DeTable<'t>>) -> Self {
        Self::new(reader, String::new(), document.span(), document.get_ref())
    }

    fn new(
        reader: &'r Reader<'t>,
        path: String,
        span: Range<usize>,
        table: &'r DeTable<'t>,
    ) -> Self {
        Self {
            reader,
            path,
            span,
            table,
            known: BTreeSet::new(),
        }
    }

    /// Notes that something is wrong with the table as a whole.
    pub(super) fn error(&self, reason: &str) {
        self.reader
            .error(self.span.clone(), &self.path, reason.into());
    }

    /// True when the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The full name of a key of this table.
    fn key_path(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of `key`, if it is there.
    pub(super) fn value(&mut self, key: &'static str) -> Option<Value<'r, 't>> {
        self.known.insert(key);
        let node = self.table.get(key)?;
        Some(Value {
            reader: self.reader,
            path: self.key_path(key),
            node,
        })
    }

    /// Reads `key` with `read`; `None` when it is absent, or wrong, which is noted.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'r, 't>) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.value(key)?;
        read(&value).map_err(|reason| value.error(reason)).ok()
    }

    /// As [`Self::optional`], but absence is an error too.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'r, 't>) -> Result<T, String>,
    ) -> Option<T> {
        if !self.table.contains_key(key) {
            self.missing(key);
        }
        self.optional(key, read)
    }

    /// The table `key`; `None` when it is absent, or no table, both noted.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        if !self.table.contains_key(key) {
            self.missing(key);
        }
        self.optional_table(key)
    }

    /// The table `key`; `None` when it is absent, or no table, which is noted.
    pub(super) fn optional_table(&mut self, key: &'static str) -> Option<Self> {
        let value = self.value(key)?;
        match value.node.get_ref().as_table() {
            Some(table) => Some(Self::new(self.reader, value.path, value.node.span(), table)),
            None => {
                value.error(value.wrong_type(&format!("a table, as in [{key}]")));
                None
            }
        }
    }

    /// The array of tables `key`; what is not a table is noted.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(items) = value.node.get_ref().as_array() else {
            value.error(value.wrong_type(&format!("an array of tables, as in [[{key}]]")));
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(items.len());
        for (index, node) in items.iter().enumerate() {
            let path = format!("{}[{index}]", value.path);
            match node.get_ref().as_table() {
                Some(table) => sections.push(Self::new(self.reader, path, node.span(), table)),
                None => {
                    let item = Value {
                        reader: self.reader,
                        path,
                        node,
                    };
                    item.error(item.wrong_type("a table"));
                }
            }
        }
        sections
    }

    /// Notes that `key` is missing.
    fn missing(&mut self, key: &'static str) {
        self.known.insert(key);
        if self.reader.broken_at.get().is_none() {
            self.reader
                .error(self.span.clone(), &self.key_path(key), "is missing".into());
        }
    }

    /// Notes every key that nobody asked for. To be called when the section has been read.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if self.known.contains(name) {
                continue;
            }
            let reason = match self.nearest(name) {
                Some(near) => format!("unknown key; did you mean {near}?"),
                None => {
                    let known = self.known.iter().copied().collect::<Vec<_>>().join(", ");
                    format!("unknown key; known here: {known}")
                }
            };
            self.reader.error(key.span(), &self.key_path(name), reason);
        }
    }

    /// The known key that `name` most likely is a slip of.
    fn nearest(&self, name: &str) -> Option<&'static str> {
        self.known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(known, name), *known))
            .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
            .min()
            .map(|(_, known)| known)
    }
}

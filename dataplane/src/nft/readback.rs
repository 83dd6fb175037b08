//! What is read from the kernel: counters, and facts about the ruleset.

use std::collections::HashMap;

use super::expression::ObjectKind;
use super::message::{
    Attributes, FAMILY_ANY, Kind, Message, find_attribute, find_string, find_u64,
};
use super::transport::Transport;
use crate::backend::{BackendError, Counter};

/// All counters of our table by name.
pub(super) fn counters(
    transport: &mut Transport,
) -> Result<HashMap<String, Counter>, BackendError> {
    let attributes = Attributes::of_table().u32(3, ObjectKind::Counter as u32);
    let request = Message::new(Kind::GetObject, 0, attributes);
    transport.dump(&request, |counters: &mut HashMap<_, _>, object| {
        counters.extend(parse_counter(object));
    })
}

/// Name and value of a counter object; `None` for what is not one.
fn parse_counter(object: &[u8]) -> Option<(String, Counter)> {
    let name = find_string(object, 2)?;
    let data = find_attribute(object, 4)?;
    let counter = Counter {
        bytes: find_u64(data, 1)?,
        packets: find_u64(data, 2)?,
    };
    Some((name.to_string(), counter))
}

/// Names of the flowtables in all tables of the machine: `table flowtable`.
pub(super) fn flowtables(transport: &mut Transport) -> Result<Vec<String>, BackendError> {
    let mut request = Message::new(Kind::GetFlowtable, 0, Attributes::new());
    request.family = FAMILY_ANY;
    transport.dump(&request, |names: &mut Vec<String>, object| {
        let (table, name) = (find_string(object, 1), find_string(object, 2));
        names.extend(
            table
                .zip(name)
                .map(|(table, name)| format!("{table} {name}")),
        );
    })
}

/// Whether our table exists.
pub(super) fn table_exists(transport: &mut Transport) -> Result<bool, BackendError> {
    let request = Message::new(Kind::GetTable, 0, Attributes::of_table());
    Ok(transport.get(&request)?.is_some())
}

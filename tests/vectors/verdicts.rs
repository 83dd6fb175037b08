//! Good or malformed, and what follows from it.

use std::collections::BTreeMap;

use crate::differences::DIFFERENCES;
use crate::file::{Vector, load};
use crate::{context_for, message_outcome};

/// What a vector should lead to, and what it does lead to.
struct Row {
    id: String,
    wanted: Vec<String>,
    found: String,
}

/// Lists all rows that differ without being in the table, and all in the table that do not differ.
fn check(rows: &[Row]) {
    let ours: BTreeMap<&str, &str> = DIFFERENCES
        .iter()
        .map(|(id, outcome, _)| (*id, *outcome))
        .collect();
    let complaint = |Row { id, wanted, found }: &Row| {
        let agrees = wanted.iter().any(|wanted| found.starts_with(wanted));
        match ours.get(id.as_str()) {
            Some(_) if agrees => Some(format!("{id}: differs no more")),
            Some(ours) if ours != found => Some(format!("{id}: {found}, not {ours}")),
            None if !agrees => Some(format!("{id}: {found}, not {}", wanted.join(" or "))),
            Some(_) | None => None,
        }
    };
    let wrong: Vec<String> = rows.iter().filter_map(complaint).collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

/// What a receiver makes of the vector, in a session that the vector suits.
fn found(vector: &Vector) -> String {
    let said = vector.said();
    let context = context_for(vector, said.ibgp, said.four_octet_as);
    message_outcome(&said.octets, &context)
}

#[test]
fn every_vector_has_the_verdict_of_the_rfcs() {
    let malformed = load("malformed.jsonl");
    let mut rows = Vec::new();
    for vector in load("vectors.jsonl") {
        // Operator lists are evaluated where operators are; of what stands in both files, the other knows more.
        if vector.kind() == "ops" || malformed.iter().any(|other| other.id() == vector.id()) {
            continue;
        }
        let mut found = found(&vector);
        if vector.kind() == "message" && vector.is_valid() && found != "none" {
            // It does not say what kind of session it was seen in.
            let others = [(true, false), (false, true), (false, false)];
            found = others
                .map(|(ibgp, four)| context_for(&vector, ibgp, four))
                .map(|context| message_outcome(&vector.octets(), &context))
                .into_iter()
                .find(|outcome| outcome == "none")
                .unwrap_or(found);
        }
        let wanted = match (vector.is_valid(), vector.0["error_level"].as_str()) {
            (true, _) => vec!["none"],
            (false, Some("framing")) => vec!["session-reset 3/10"],
            (false, Some(_)) => vec!["treat-as-withdraw"],
            (false, None) => vec!["session-reset", "treat-as-withdraw"],
        };
        rows.push(Row {
            id: vector.id().into(),
            wanted: wanted.into_iter().map(String::from).collect(),
            found,
        });
    }
    assert!(rows.len() > 300, "only {}", rows.len());
    check(&rows);
}

#[test]
fn malformed_input_has_the_outcome_of_rfc_7606() {
    let mut rows = Vec::new();
    for vector in load("malformed.jsonl") {
        rows.push(Row {
            id: vector.id().into(),
            wanted: vector.wanted(),
            found: found(&vector),
        });
    }
    assert!(rows.len() > 200, "only {}", rows.len());
    check(&rows);
}

#[test]
fn every_difference_is_about_a_vector() {
    let vectors = [load("vectors.jsonl"), load("malformed.jsonl")];
    let ids: Vec<&str> = vectors.iter().flatten().map(Vector::id).collect();
    for (id, _, _) in DIFFERENCES {
        assert!(ids.contains(id), "{id} is gone");
    }
}

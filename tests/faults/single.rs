//! Others edit what is inside our table: every edit is undone, and counters go on.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::from_environment;
use crate::router::Router;
use crate::scene::Scene;

/// Edits by kind: each a script of `nft`, as text or in JSON.
type Edits = BTreeMap<&'static str, Vec<Value>>;

/// `FLOWACL_EDITS` sets how many edits of each kind there are, `FLOWACL_SEED` which.
#[test]
fn edits_within_the_table_are_undone() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let seed = from_environment("FLOWACL_SEED", rand::rng().random());
    println!("FLOWACL_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let kinds: Vec<_> = edits(&scene.router).into_keys().collect();
    for kind in kinds {
        for _ in 0..from_environment("FLOWACL_EDITS", 2) {
            // Handles and names may be others after each repair.
            let edits = edits(&scene.router);
            let script = edits[kind].choose(&mut random).unwrap();
            edit(&mut scene, &format!("{kind}: {script}"), script);
        }
    }
    let script = deletion_of_counters(&scene.router);
    scene.edit_with_counters("delete counters", &script);
}

/// Carries out an edit and waits for the repair. Tables of others and counters have to stay.
fn edit(scene: &mut Scene, edit: &str, script: &Value) {
    let others = scene.router.other_tables();
    match script {
        Value::String(script) => scene.router.nft(script),
        script => scene.router.nft_json(script),
    }
    .unwrap();
    scene.is_repaired(edit);
    assert_eq!(scene.router.other_tables(), others, "{edit}");
    assert_eq!(scene.router.counters().unwrap(), scene.counters, "{edit}");
}

/// All edits of our table as it is.
fn edits(router: &Router) -> Edits {
    let mut edits = Edits::new();
    let mut add = |kind, script: Value| edits.entry(kind).or_default().push(script);
    let rules = router.objects("rule");
    for chain in router.objects("chain") {
        let name = text(&chain, "name");
        if rules.iter().any(|rule| text(rule, "chain") == name) {
            let flush = format!("flush chain inet flowacl {name}");
            add("flush a chain", json!(flush));
        }
        let insert = format!("insert rule inet flowacl {name} accept comment \"theirs\"");
        add("insert a rule", json!(insert));
        let append = format!("add rule inet flowacl {name} drop");
        add("append a rule", json!(append));
    }
    for rule in &rules {
        let (chain, handle) = (text(rule, "chain"), &rule["handle"]);
        let delete = format!("delete rule inet flowacl {chain} handle {handle}");
        add("delete a rule", json!(delete));
    }
    let theirs = "add chain inet flowacl theirs";
    add("add a chain", json!(theirs));
    let hook = "{ type filter hook prerouting priority -460; policy drop; }";
    add("add a base chain", json!(format!("{theirs} {hook}")));
    add("add a counter", json!("add counter inet flowacl theirs"));
    add("flush the table", json!("flush table inet flowacl"));
    for kind in ["map", "set"] {
        for set in router.objects(kind) {
            for (name, script) in edits_of_set(kind, &set) {
                add(name, script);
            }
        }
    }
    edits
}

/// Edits of a set or map.
fn edits_of_set(kind: &str, set: &Value) -> Vec<(&'static str, Value)> {
    let name = text(set, "name");
    // A set that is in use can only go with the rules that use it.
    let delete = format!("flush table inet flowacl; delete {kind} inet flowacl {name}");
    let mut edits = vec![("delete a set", json!(delete))];
    let elements = set["elem"].as_array().cloned().unwrap_or_default();
    if set["flags"].to_string().contains("constant") || elements.is_empty() {
        return edits;
    }
    let flush = format!("flush {kind} inet flowacl {name}");
    edits.push(("flush a set", json!(flush)));
    let change = |verb: &str, element: &Value| {
        json!({ verb: { "element": {
            "family": "inet", "table": "flowacl", "name": name, "elem": [element],
        } } })
    };
    let mut previous: Option<&Value> = None;
    for element in &elements {
        let key = key(kind, element);
        let delete = change("delete", &key);
        edits.push(("delete an element", json!({ "nftables": [delete] })));
        if let ("map", Some(value)) = (kind, previous.filter(|value| **value != element[1])) {
            let other = change("add", &json!([key, value]));
            let script = json!({ "nftables": [delete, other] });
            edits.push(("change an element", script));
        }
        previous = (kind == "map").then(|| &element[1]);
    }
    edits
}

/// The key of an element, without comments and counters.
fn key(kind: &str, element: &Value) -> Value {
    let key = match kind {
        "map" => &element[0],
        _ => element,
    };
    key["elem"].get("val").unwrap_or(key).clone()
}

/// A string field.
fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// A script that takes away the rules, what refers to counters, and the counters.
fn deletion_of_counters(router: &Router) -> String {
    let mut script = String::from("flush table inet flowacl\n");
    for map in router.objects("map") {
        script += &format!("flush map inet flowacl {}\n", text(&map, "name"));
    }
    for counter in router.objects("counter") {
        script += &format!("delete counter inet flowacl {}\n", text(&counter, "name"));
    }
    script
}

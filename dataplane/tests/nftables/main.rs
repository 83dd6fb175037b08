//! The nftables backend against a real kernel, seen by the real `nft`, in network namespaces of its own.

mod namespace;
mod rules;

use std::sync::Arc;

use dataplane::backend::Backend;
use dataplane::desired::{Changes, Settings};
use dataplane::nft::Nftables;
use dataplane::rule::*;

use namespace::{in_namespace, listing};

/// A started backend with these rules.
fn started(settings: &Settings, rules: &[Arc<Rule>]) -> Nftables {
    let mut backend = Nftables::new();
    backend.start(settings, &[]).unwrap();
    commit(&mut backend, rules);
    backend
}

/// Commits rules that must be accepted.
fn commit(backend: &mut Nftables, rules: &[Arc<Rule>]) {
    let changes = Changes {
        put: rules.to_vec(),
        remove: Vec::new(),
    };
    backend.commit(&changes).unwrap();
}

/// All rules of the table of matches.
fn all_matches() -> Vec<Arc<Rule>> {
    let mut id = 0;
    let mut all = Vec::new();
    for family in Family::ALL {
        for (name, matches) in rules::matches(family) {
            id += 1;
            let mut rule = rules::rule(id, family, matches);
            rule.label = name.into();
            all.push(Arc::new(rule));
        }
    }
    all
}

#[test]
fn every_match_can_be_installed_and_listed() {
    in_namespace(|| {
        let rules = all_matches();
        let mut backend = started(&Settings::default(), &rules);
        println!("{}", listing());
        namespace::run("nft", &["-j", "list", "table", "inet", "flowacl"]);
        assert_eq!(backend.counters().unwrap().len(), rules.len());
        backend.stop().unwrap();
        assert_eq!(namespace::run("nft", &["list", "ruleset"]), "");
    });
}

//! Whole tables as `nft` lists them: reviewed by hand, and compared with what it makes of our text
//! form.

use std::path::Path;

use dataplane::backend::Backend;
use dataplane::desired::Changes;
use dataplane::nft::{Nftables, render};

use crate::cases::{self, Case};
use crate::namespace::{in_namespace, listing, run};

/// The listing of a case, installed through netlink.
fn installed(case: &Case) -> String {
    let mut listed = String::new();
    in_namespace(|| {
        add_links(case);
        let mut backend = Nftables::new();
        backend.start(&case.settings, &case.links).unwrap();
        backend
            .commit(&Changes {
                put: case.rules.clone(),
                remove: Vec::new(),
            })
            .unwrap();
        listed = listing();
        run("nft", &["-j", "list", "table", "inet", "flowacl"]);
        assert_eq!(
            backend.counters().unwrap().len(),
            case.rules.len(),
            "{}",
            case.name
        );
        backend.stop().unwrap();
        assert_eq!(
            run("nft", &["list", "ruleset"]),
            "",
            "nothing is left behind"
        );
    });
    listed
}

/// Makes links that have the names of a case.
fn add_links(case: &Case) {
    for link in case.links.iter().filter(|link| link.name != "lo") {
        let peer = format!("peer{}", link.index);
        run(
            "ip",
            &[
                "link", "add", &link.name, "type", "veth", "peer", "name", &peer,
            ],
        );
    }
}

#[test]
fn tables_are_listed_as_reviewed() {
    let version = crate::namespace::try_run("nft", &["--version"]).unwrap_or_default();
    if !version.contains("v1.0.6") && std::env::var_os("CI").is_none() {
        return eprintln!("skipped: the listings are those of nft 1.0.6, not {version}");
    }
    for case in cases::all() {
        let listed = installed(&case);
        if listed.is_empty() {
            return;
        }
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden")
            .join(format!("{}.nft", case.name));
        if std::env::var_os("BLESS").is_some() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, without_plain_counters(&listed)).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            golden == without_plain_counters(&listed),
            "{}: listing differs from {}; run with BLESS=1 and review\n{listed}",
            case.name,
            file.display()
        );
    }
}

/// The listing without the counters, which say nothing that the rules do not.
fn without_plain_counters(listing: &str) -> String {
    let blocks = listing.split("\n\n").map(|block| {
        block
            .strip_prefix("table inet flowacl {\n")
            .unwrap_or(block)
    });
    let kept: Vec<&str> = blocks
        .filter(|block| !block.starts_with("\tcounter "))
        .collect();
    format!("table inet flowacl {{\n{}", kept.join("\n\n"))
}

#[test]
fn text_form_means_what_is_installed() {
    for case in cases::all() {
        let listed = installed(&case);
        if listed.is_empty() {
            return;
        }
        let text = render(&case.settings, &case.links, &case.rules);
        in_namespace(|| {
            add_links(&case);
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("table.nft");
            std::fs::write(&file, &text).unwrap();
            run("nft", &["-f", file.to_str().unwrap()]);
            let (from_text, from_netlink) = (blocks(&listing()), blocks(&listed));
            for (text, netlink) in from_text.iter().zip(&from_netlink) {
                assert_eq!(text, netlink, "{}", case.name);
            }
            assert_eq!(from_text.len(), from_netlink.len(), "{}", case.name);
        });
    }
}

/// The lines of a listing by chain and object, in an order that does not depend on that of
/// creation.
fn blocks(listing: &str) -> Vec<String> {
    let inner = listing
        .trim_start_matches("table inet flowacl {\n")
        .trim_end()
        .trim_end_matches('}');
    let mut blocks: Vec<String> = inner
        .split("\n\n")
        .map(|block| block.trim().to_string())
        .collect();
    blocks.sort();
    blocks
}

#[test]
fn tables_that_copy_are_what_their_text_says() {
    let cases = cases::all();
    let case = cases.iter().find(|case| case.name == "copies").unwrap();
    let tables = || ["ip", "ip6"].map(|family| run("nft", &["list", "table", family, "flowacl"]));
    let mut from_netlink = None;
    in_namespace(|| {
        let mut backend = Nftables::new();
        backend
            .resume(&case.settings, &case.links, &case.rules)
            .unwrap();
        from_netlink = Some(tables());
        run("nft", &["-j", "list", "ruleset"]);
    });
    let Some(from_netlink) = from_netlink else {
        return;
    };
    let text = render(&case.settings, &case.links, &case.rules);
    in_namespace(|| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("table.nft");
        std::fs::write(&file, &text).unwrap();
        run("nft", &["-f", file.to_str().unwrap()]);
        assert_eq!(tables(), from_netlink);
        let [ipv4, ipv6] = &from_netlink;
        assert!(
            ipv4.contains("dup to") && ipv4.contains("192.0.2.9"),
            "{ipv4}"
        );
        assert!(
            ipv6.contains("dup to") && ipv6.contains("2001:db8::9"),
            "{ipv6}"
        );
    });
}

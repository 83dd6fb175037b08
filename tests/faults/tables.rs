//! Others take the table away: it comes back.

use std::time::{Duration, Instant};

use crate::controller::flow;
use crate::from_environment;
use crate::router::Router;
use crate::scene::{Scene, flows};
use crate::waiting::eventually;

#[test]
fn a_table_that_is_deleted_comes_back() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let others = scene.router.other_tables();
    scene.edit_with_counters("delete table", "delete table inet flowacl");
    assert_eq!(scene.router.other_tables(), others);
    scene.edit_with_counters("flush ruleset", "flush ruleset");
    assert_eq!(scene.router.other_tables(), "", "nobody else's is restored");
    // The packet filter follows the controller as before.
    scene.controller.withdraw(&flows()).unwrap();
    eventually("the rules are gone", || match scene.router.counters()? {
        counters if counters.is_empty() => Ok(()),
        counters => Err(format!("{counters:?}")),
    });
}

#[test]
fn whoever_flushes_all_the_time_does_not_win() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let end = Instant::now() + Duration::from_secs(from_environment("FLOWACL_FLUSH_SECS", 3));
    let added = flow("destination 203.0.113.77/32;", "discard;");
    let mut flushes = 0;
    while Instant::now() < end {
        let next = Instant::now() + Duration::from_millis(50);
        scene.router.nft("flush ruleset").unwrap();
        flushes += 1;
        let asked = Instant::now();
        scene.router.show("summary").unwrap();
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(2), "the answer took {took:?}");
        if flushes == 5 {
            let added = std::slice::from_ref(&added);
            scene.controller.announce(added).unwrap();
        }
        if flushes == 25 {
            let added = std::slice::from_ref(&added);
            scene.controller.withdraw(added).unwrap();
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    scene.controller.withdraw(&[added]).unwrap();
    println!("{flushes} flushes");
    scene.is_repaired("the last flush");
    let counters = scene.router.counters().unwrap();
    assert_eq!(counters.len(), scene.counters.len());
}

#[test]
fn a_table_that_is_owned_cannot_be_changed_by_others() {
    let Some(router) = Router::start(true) else {
        return;
    };
    let facts = router.show("dataplane").unwrap();
    if facts
        .to_string()
        .contains("[\"open to changes by others\",\"yes\"]")
    {
        assert!(
            std::env::var_os("CI").is_none(),
            "the kernel is older than 6.9"
        );
        return eprintln!("skipped: the kernel is older than 6.9: {facts}");
    }
    let mut scene = Scene::of(router).unwrap();
    for edit in [
        "delete table inet flowacl",
        "flush table inet flowacl",
        "add chain inet flowacl mine",
        "add rule inet flowacl ipv4 accept",
        "add table inet flowacl { flags dormant; }",
    ] {
        let refused = scene.router.nft(edit).unwrap_err();
        assert!(
            refused.contains("Operation not permitted"),
            "{edit}: {refused}"
        );
    }
    scene.router.nft("flush ruleset").unwrap();
    assert_eq!(scene.router.other_tables(), "");
    scene.is_repaired("what was refused");
    assert_eq!(scene.router.counters().unwrap(), scene.counters);
}

//! `flowacl clear`: what a daemon leaves in force, and nothing else, goes.

use std::fs;

use super::network::Network;
use super::program::{Program, run, try_run};
use crate::waiting::eventually;

/// The daemon's configuration; the rules stay when it is killed.
fn configuration(network: &Network) -> String {
    format!(
        r#"
        [bgp]
        local_as = 65140
        router_id = "192.0.2.2"
        listen = ["192.0.2.2:179"]

        [[neighbor]]
        address = "192.0.2.1"
        remote_as = 65070

        [[redirect]]
        route_target = "65001:100"
        table = 100

        [control]
        socket = {socket:?}
        state_directory = {directory:?}
        "#,
        socket = network.path("flowacl.sock"),
        directory = network.path(""),
    )
}

#[test]
fn what_a_daemon_left_is_cleared_when_it_has_gone() {
    let Some(network) = Network::new(&["nft"]) else {
        return;
    };
    let program = env!("CARGO_BIN_EXE_flowacl");
    let path = network.path("flowacl.toml");
    fs::write(&path, configuration(&network)).unwrap();
    run(network.on_router("nft").args(["add table inet somebody"]));
    run(network
        .on_router("ip")
        .args(["rule", "add", "fwmark", "1", "table", "7"]));
    let table = || {
        try_run(
            network
                .on_router("nft")
                .args(["list", "table", "inet", "flowacl"]),
        )
    };
    let rules = || run(network.on_router("ip").args(["rule", "show"]));
    let clear = || {
        let mut clear = network.on_router(program);
        try_run(clear.arg("clear").arg("--config").arg(&path))
    };
    let before = rules();

    let daemon = Program::start(
        network
            .on_router(program)
            .arg("run")
            .arg("--config")
            .arg(&path),
        &network.path("flowacl.log"),
    );
    let mut announce = network.on_controller(program);
    announce.args(["announce", "--to", "192.0.2.2", "--from", "192.0.2.1"]);
    announce.args(["--local-as", "65070", "--remote-as", "65140", "--hold"]);
    announce
        .arg("flow route { match { destination 203.0.113.5/32; } then { redirect 65001:100; } }");
    let _controller = Program::start(&mut announce, &network.path("announce.log"));
    eventually("the rule", || match table()?.contains("203.0.113.5/32") {
        true => Ok(()),
        false => Err(table()?),
    });
    assert_ne!(rules(), before);
    let refusal = clear().unwrap_err();
    assert!(refusal.contains("a daemon answers at"), "{refusal}");
    assert!(table().unwrap().contains("203.0.113.5/32"));

    daemon.signal("KILL");
    drop(daemon);
    assert!(table().unwrap().contains("203.0.113.5/32"));
    clear().unwrap();
    assert!(table().is_err());
    assert_eq!(rules(), before);
    run(network
        .on_router("nft")
        .args(["list", "table", "inet", "somebody"]));
    // There is nothing left to clear, which is no error.
    clear().unwrap();
}

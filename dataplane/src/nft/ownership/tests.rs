//! Against the kernel, with `nft` as the foreign hand.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::*;
use crate::nft::namespace::{in_namespace, listing, run, try_run};

/// Set in a process that shall own the table until it is killed.
const OWN: &str = "FLOWACL_TEST_OWN_TABLE";

/// The message that creates or adopts our table.
fn create(flags: u32) -> Message {
    let attributes = Attributes::of_table().u32(TABLE_FLAGS, flags);
    Message::new(Kind::NewTable, NLM_F_CREATE, attributes)
}

/// The message that creates a chain.
fn chain(name: &str) -> Message {
    let attributes = Attributes::of_table().string(3, name);
    Message::new(Kind::NewChain, NLM_F_CREATE, attributes)
}

/// Runs `test` where the kernel knows persistent owned tables.
fn with_ownership(test: impl FnOnce(&mut Transport) + Send) {
    in_namespace(|| {
        let mut transport = Transport::open().unwrap();
        match probe(&mut transport).unwrap() {
            Ownership::OwnerPersist => test(&mut transport),
            less => {
                assert!(std::env::var_os("CI").is_none(), "ownership: {less:?}");
                eprintln!("skipped: ownership: {less:?}");
            }
        }
    });
}

#[test]
fn flags_follow_the_kernel_and_the_table_there_is() {
    let table = |flags| Some(TableState { flags, owner: None });
    let rows = [
        ("new kernel", Ownership::OwnerPersist, None, 6),
        ("older kernel", Ownership::OwnerOnly, None, 0),
        ("old kernel", Ownership::Unsupported, None, 0),
        ("orphan", Ownership::OwnerPersist, table(PERSIST), 6),
        ("plain table", Ownership::OwnerPersist, table(0), 0),
        ("dormant table", Ownership::OwnerPersist, table(DORMANT), 0),
    ];
    for (name, ownership, existing, flags) in rows {
        assert_eq!(ownership.table_flags(existing), flags, "{name}");
    }
}

#[test]
fn probing_leaves_nothing_behind() {
    with_ownership(|transport| {
        assert_eq!(run("nft", &["list", "ruleset"]), "");
        assert_eq!(table_state(transport).unwrap(), None);
    });
}

#[test]
fn an_owned_table_is_closed_to_others() {
    with_ownership(|transport| {
        let port = transport.port().unwrap();
        let flags = Ownership::OwnerPersist.table_flags(None);
        transport
            .transact(&[create(flags), chain("mine")], None)
            .unwrap();
        let owned = TableState {
            flags,
            owner: Some(port),
        };
        assert_eq!(table_state(transport).unwrap(), Some(owned));
        assert!(!owned.is_foreign(port) && owned.is_foreign(port + 1) && !owned.is_orphan());

        let edits: [&[&str]; 4] = [
            &["add", "chain", "inet", "flowacl", "foreign"],
            &["add", "rule", "inet", "flowacl", "mine", "accept"],
            &["delete", "table", "inet", "flowacl"],
            &["flush", "table", "inet", "flowacl"],
        ];
        for edit in edits {
            let error = try_run("nft", edit).unwrap_err();
            assert!(
                error.contains("Operation not permitted"),
                "{edit:?}: {error}"
            );
        }
        run("nft", &["flush", "ruleset"]);
        assert!(listing().contains("chain mine"), "{}", listing());

        let mut second = Transport::open().unwrap();
        match second.transact(&[create(flags)], None) {
            Err(Failure::Refused { errno, .. }) => assert_eq!(errno, Errno::EPERM),
            other => panic!("a second owner: {other:?}"),
        }
        transport.transact(&[chain("more")], None).unwrap();
        assert!(listing().contains("chain more"));
    });
}

#[test]
fn a_plain_table_gets_an_owner_only_by_being_replaced() {
    with_ownership(|transport| {
        run("nft", &["add", "table", "inet", "flowacl"]);
        let state = table_state(transport).unwrap();
        assert_eq!(Ownership::OwnerPersist.table_flags(state), 0);
        match transport.transact(&[create(OWNER | PERSIST)], None) {
            Err(Failure::Refused { errno, .. }) => assert_eq!(errno, Errno::EOPNOTSUPP),
            other => panic!("a plain table got an owner: {other:?}"),
        }
        run("nft", &["add table inet flowacl { flags dormant; }"]);
        assert!(table_state(transport).unwrap().unwrap().is_dormant());
        // It can be replaced in one step by one that has an owner.
        let delete = Message::new(Kind::DelTable, 0, Attributes::of_table());
        let replace = [delete.clone(), create(OWNER | PERSIST), chain("mine")];
        transport.transact(&replace, None).unwrap();
        let state = table_state(transport).unwrap().unwrap();
        assert_eq!(state.owner, Some(transport.port().unwrap()));
        // Without flags the owner finds it as it is.
        let find = Message::new(Kind::NewTable, NLM_F_CREATE, Attributes::of_table());
        transport
            .transact(std::slice::from_ref(&find), None)
            .unwrap();
        assert_eq!(table_state(transport).unwrap(), Some(state));
        transport.transact(&[find, delete], None).unwrap();
        assert_eq!(table_state(transport).unwrap(), None);
    });
}

/// Not a test of its own: in a process started by the one below, owns a table until killed.
#[test]
fn owns_the_table_until_killed() {
    if std::env::var_os(OWN).is_none() {
        return;
    }
    let mut transport = Transport::open().unwrap();
    let messages = [create(OWNER | PERSIST), chain("mine")];
    transport.transact(&messages, None).unwrap();
    println!("owned");
    // Ends with the process that waits for it.
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn a_table_outlives_its_killed_owner_and_can_be_adopted() {
    with_ownership(|transport| {
        let mut owner = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "nft::ownership::tests::owns_the_table_until_killed",
            ])
            .arg("--nocapture")
            .env(OWN, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("owned")));
        let port = transport.port().unwrap();
        assert!(table_state(transport).unwrap().unwrap().is_foreign(port));
        let generation = transport.generation().unwrap();
        owner.kill().unwrap();
        owner.wait().unwrap();

        let orphan = table_state(transport).unwrap().unwrap();
        assert!(orphan.is_orphan() && !orphan.is_foreign(port), "{orphan:?}");
        assert!(listing().contains("chain mine"), "{}", listing());
        // Losing an owner is no change of the ruleset.
        assert_eq!(transport.generation().unwrap(), generation);

        let flags = Ownership::OwnerPersist.table_flags(Some(orphan));
        let adopted = transport.transact(&[create(flags), chain("more")], Some(generation));
        assert_eq!(adopted, Ok(generation + 1));
        assert_eq!(table_state(transport).unwrap().unwrap().owner, Some(port));
        assert!(listing().contains("chain mine") && listing().contains("chain more"));
        try_run("nft", &["delete", "table", "inet", "flowacl"]).unwrap_err();
    });
}

//! Against the kernel: transactions that come too late, answers that get lost, dumps that are
//! disturbed.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use super::*;
use crate::nft::expression::ObjectKind;
use crate::nft::message::find_string;
use crate::nft::namespace::{in_namespace, in_user_namespace, run, try_run};

/// How often each fault is injected.
const TIMES: u32 = 100;
/// How often the ruleset changes during a dump at most: less often than a dump is attempted.
const CHANGES_PER_DUMP: u32 = DUMP_ATTEMPTS as u32 / 2;
/// The smallest receive buffer that the kernel allows: a datagram or two.
const TINY: usize = 1;

/// The message that creates our table, or finds it.
fn table() -> Message {
    Message::new(Kind::NewTable, NLM_F_CREATE, Attributes::of_table())
}

/// The attributes that name a counter.
fn counter(name: &str) -> Attributes {
    Attributes::of_table()
        .string(2, name)
        .u32(3, ObjectKind::Counter as u32)
}

/// The message that creates a counter where there is none.
fn put(name: &str) -> Message {
    let attributes = counter(name).nested(4, Attributes::new());
    Message::new(Kind::NewObject, NLM_F_CREATE | NLM_F_EXCL, attributes)
}

/// The message that deletes a counter.
fn delete(name: &str) -> Message {
    Message::new(Kind::DelObject, 0, counter(name))
}

/// The request that lists our counters.
fn counters() -> Message {
    let attributes = Attributes::of_table().u32(3, ObjectKind::Counter as u32);
    Message::new(Kind::GetObject, 0, attributes)
}

/// The names of all counters of our table.
fn names(transport: &mut Transport) -> BTreeSet<String> {
    let each = |names: &mut BTreeSet<String>, object: &[u8]| {
        names.insert(find_string(object, 2).unwrap().to_string());
    };
    transport.dump(&counters(), each).unwrap()
}

/// Runs `test` in a network namespace with a socket that has made our table.
fn with_table(receive_buffer: usize, test: impl FnOnce(&mut Transport) + Send) {
    in_namespace(|| {
        let mut transport = Transport::with_receive_buffer(receive_buffer).unwrap();
        transport.transact(&[table()], None).unwrap();
        test(&mut transport);
    });
}

/// Tells another thread to stop, also when this one panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The names `0` to `count`, exclusive.
fn numbered(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|i| i.to_string())
}

#[test]
fn a_change_raises_the_generation_by_one_and_nothing_does_not() {
    with_table(RECEIVE_BUFFER, |transport| {
        let start = transport.generation().unwrap();
        assert_eq!(transport.transact(&[], None), Ok(start));
        assert_eq!(transport.transact(&[], Some(start + 7)), Ok(start + 7));
        assert_eq!(transport.transact(&[table()], None), Ok(start));
        assert_eq!(transport.transact(&[table()], Some(start)), Ok(start));
        let many: Vec<Message> = numbered(1000).map(|name| put(&name)).collect();
        assert_eq!(transport.transact(&many, Some(start)), Ok(start + 1));
        assert_eq!(transport.transact(&[put("a")], None), Ok(start + 2));
        // The change need not be in the first message.
        let late = [table(), delete("a")];
        assert_eq!(transport.transact(&late, Some(start + 2)), Ok(start + 3));
        run("nft", &["add", "table", "inet", "other"]);
        let drop_table = Message::new(Kind::DelTable, 0, Attributes::of_table());
        let again = [drop_table, table()];
        assert_eq!(transport.transact(&again, Some(start + 4)), Ok(start + 5));
        assert_eq!(transport.transact(&again, None), Ok(start + 6));
        assert_eq!(transport.generation().unwrap(), start + 6);
    });
}

#[test]
fn a_stale_transaction_changes_nothing() {
    with_table(RECEIVE_BUFFER, |transport| {
        let mut other = Transport::open().unwrap();
        for name in numbered(TIMES) {
            let planned_on = transport.generation().unwrap();
            let foreign = other.transact(&[put(&name)], None).unwrap();
            let ours = [put("ours"), delete(&name)];
            assert_eq!(
                transport.transact(&ours, Some(planned_on)),
                Err(Failure::Stale)
            );
            assert_eq!(transport.generation().unwrap(), foreign);
            assert_eq!(transport.transact(&ours, Some(foreign)), Ok(foreign + 1));
            assert_eq!(names(transport), ["ours".to_string()].into());
            transport.transact(&[delete("ours")], None).unwrap();
        }
    });
}

#[test]
fn a_refusal_names_its_message_and_changes_nothing() {
    with_table(RECEIVE_BUFFER, |transport| {
        let generation = transport.generation().unwrap();
        let blamed = put("a").blame(RuleId(7));
        for expected in [None, Some(generation)] {
            let batch = [put("a"), blamed.clone(), put("b")];
            match transport.transact(&batch, expected) {
                Err(Failure::Refused { rule, errno, .. }) => {
                    assert_eq!((rule, errno), (Some(RuleId(7)), Errno::EEXIST));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(transport.generation().unwrap(), generation);
        assert!(names(transport).is_empty());
    });
}

#[test]
fn lost_acknowledgements_leave_no_doubt() {
    with_table(TINY, |transport| {
        let mut generation = transport.generation().unwrap();
        let mut losses = 0;
        for _ in 0..TIMES {
            // The echo of the first message fills the buffer.
            let changes = [
                numbered(50).map(|name| put(&name)).collect::<Vec<_>>(),
                numbered(50).map(|name| delete(&name)).collect(),
            ];
            for messages in changes {
                let answers = transport.exchange(&messages, Some(generation)).unwrap();
                losses += u32::from(answers.lost.is_some());
                let after = transport.settle(&messages, Some(generation), answers);
                assert_eq!(after, Ok(generation + 1));
                generation += 1;
            }
        }
        assert!(losses > 0, "the buffer is not tiny enough");
        assert_eq!(transport.generation().unwrap(), generation);
        // More errors than there is room for: the first one counts.
        let errors: Vec<Message> = numbered(1000).map(|name| delete(&name)).collect();
        match transport.transact(&errors, Some(generation)) {
            Err(Failure::Refused { errno, .. }) => assert_eq!(errno, Errno::ENOENT),
            other => panic!("{other:?}"),
        }
        assert!(names(transport).is_empty());
    });
}

/// Fills the receive buffer, so that no answer to what is sent next finds room.
fn clutter(transport: &mut Transport) {
    let mut octets = Vec::new();
    let mut request = Message::new(Kind::GetGeneration, 0, Attributes::new());
    request.family = FAMILY_ANY;
    request.encode(0, 0, &mut octets);
    for _ in 0..20 {
        transport.send(&octets).unwrap();
    }
}

#[test]
fn when_all_answers_are_lost_the_generation_decides() {
    with_table(TINY, |transport| {
        let mut other = Transport::open().unwrap();
        // Messages, whether they go in, and whether somebody else changes something afterwards.
        let rows = [
            ("went in", put("a"), true, false),
            ("was refused", delete("none"), false, false),
            (
                "was refused, then another change",
                delete("none"),
                false,
                true,
            ),
            ("went in, then another change", put("a"), true, true),
        ];
        for _ in 0..TIMES {
            for (row, message, goes_in, disturbed) in &rows {
                let expected = transport.generation().unwrap();
                let messages = [message.clone()];
                clutter(transport);
                let answers = transport.exchange(&messages, Some(expected)).unwrap();
                assert!(answers.lost.is_some() && !answers.acknowledged && !answers.echoed);
                if *disturbed {
                    other.transact(&[put("b")], None).unwrap();
                    other.transact(&[delete("b")], None).unwrap();
                }
                let changes = u32::from(*goes_in) + if *disturbed { 2 } else { 0 };
                match transport.settle(&messages, Some(expected), answers) {
                    Err(Failure::Socket(_)) => assert_eq!(changes, 0, "{row}"),
                    Err(Failure::Unanswered { generation, .. }) => {
                        assert!(changes > 0, "{row}");
                        assert_eq!(generation, Some(expected + changes), "{row}");
                    }
                    other => panic!("{row}: {other:?}"),
                }
                assert_eq!(names(transport).contains("a"), *goes_in, "{row}");
                if *goes_in {
                    transport.transact(&[delete("a")], None).unwrap();
                }
            }
        }
    });
}

#[test]
fn a_transaction_beyond_the_send_buffer_is_not_sent() {
    let name = "nft::transport::tests::a_transaction_beyond_the_send_buffer_is_not_sent";
    in_user_namespace(name, || {
        let mut transport = Transport::open().unwrap();
        let start = transport.transact(&[table()], None).unwrap();
        let mut messages: Vec<Message> = numbered(300_000).map(|name| put(&name)).collect();
        for _ in 0..3 {
            match transport.transact(&messages, Some(start)) {
                Err(Failure::TooLarge { octets, limit }) => assert!(octets > limit),
                other => panic!("{other:?}"),
            }
            assert_eq!(transport.generation().unwrap(), start);
        }
        // What just fits does go in.
        let mut octets = batch_len(&messages);
        while octets > transport.send_limit {
            octets -= messages.pop().unwrap().encoded_len();
        }
        assert_eq!(transport.transact(&messages, Some(start)), Ok(start + 1));
        assert_eq!(names(&mut transport).len(), messages.len());
    });
}

#[test]
fn dumps_are_consistent_while_others_change_the_ruleset() {
    with_table(RECEIVE_BUFFER, |transport| {
        let many: Vec<Message> = numbered(2000).map(|name| put(&name)).collect();
        transport.transact(&many, None).unwrap();
        let (stop, dumps) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut other = Transport::open().unwrap();
                let mut changes = 0u32;
                let (mut dump, mut until) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let current = dumps.load(Ordering::Relaxed);
                    if dump != current {
                        (dump, until) = (current, changes + CHANGES_PER_DUMP);
                    }
                    if changes == until {
                        std::thread::yield_now();
                        continue;
                    }
                    let (old, new) = match changes % 2 {
                        0 => (["0", "1999"], ["a", "b"]),
                        _ => (["a", "b"], ["0", "1999"]),
                    };
                    let [x, y] = old.map(delete);
                    let [v, w] = new.map(put);
                    other.transact(&[x, v, w, y], None).unwrap();
                    changes += 1;
                }
                changes
            });
            let stopped = StopOnDrop(&stop);
            for dump in 1..=TIMES {
                dumps.store(dump, Ordering::Relaxed);
                let found = names(transport);
                assert_eq!(found.len(), 2000);
                let has = |name: &str| found.contains(name);
                assert!(has("a") == has("b") && has("0") == has("1999") && has("a") != has("0"));
            }
            drop(stopped);
            assert!(writer.join().unwrap() > 0);
        });
    });
}

#[test]
fn dumps_need_no_large_receive_buffer() {
    with_table(TINY, |transport| {
        let many: Vec<Message> = numbered(5000).map(|name| put(&name)).collect();
        transport.transact(&many, None).unwrap();
        assert_eq!(names(transport).len(), 5000);
    });
}

#[test]
fn many_objects_are_read_one_by_one() {
    for receive_buffer in [RECEIVE_BUFFER, TINY] {
        with_table(receive_buffer, |transport| {
            let odd = |number: &u32| number % 2 == 1;
            let many: Vec<Message> = (0..1000)
                .filter(odd)
                .map(|number| put(&number.to_string()))
                .collect();
            transport.transact(&many, None).unwrap();
            let requests =
                numbered(1000).map(|name| Message::new(Kind::GetObject, 0, counter(&name)));
            let mut found = Vec::new();
            let each = |index: usize, object: &[u8]| {
                assert_eq!(find_string(object, 2), Some(index.to_string().as_str()));
                found.push(index as u32);
            };
            transport.get_each(requests, each).unwrap();
            found.sort_unstable();
            assert_eq!(found, (0..1000).filter(odd).collect::<Vec<_>>());
        });
    }
}

#[test]
fn what_is_not_there_is_empty() {
    in_namespace(|| {
        let mut transport = Transport::open().unwrap();
        assert!(names(&mut transport).is_empty());
        let elements = Message::new(
            Kind::GetSetElem,
            0,
            Attributes::of_table().string(2, "none"),
        );
        let count = |count: &mut usize, _: &[u8]| *count += 1;
        assert_eq!(transport.dump(&elements, count).unwrap(), 0);
        let table = Message::new(Kind::GetTable, 0, Attributes::of_table());
        assert_eq!(transport.get(&table).unwrap(), None);
    });
}

/// Names the test that is to run in this process, whose system calls are disturbed already.
const DISTURBED: &str = "FLOWACL_TEST_DISTURBED";

/// Runs the test called `name` in a network namespace while system calls of sockets fail as `fault`
/// says. It must not start `nft`, which does not survive that.
fn with_faults(name: &str, fault: &str, test: impl FnOnce()) {
    if std::env::var_os(DISTURBED).is_some_and(|disturbed| disturbed == name) {
        return test();
    }
    if let Err(reason) = try_run("unshare", &["--net", "strace", "-f", "true"]) {
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let log = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new("unshare")
        .args(["--net", "strace", "-f", "-e", "trace=sendto,recvfrom"])
        .args(["-e", fault, "-o"])
        .arg(log.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(DISTURBED, name)
        .status()
        .unwrap();
    assert!(status.success(), "{name} with faults: {status}");
    let log = std::fs::read_to_string(log.path()).unwrap();
    let injected = log.matches("(INJECTED)").count();
    assert!(injected >= TIMES as usize, "{injected} faults injected");
}

#[test]
fn signals_do_not_disturb() {
    let name = "nft::transport::tests::signals_do_not_disturb";
    let fault = "inject=sendto,recvfrom:error=EINTR:when=1+2";
    with_faults(name, fault, || {
        let mut transport = Transport::open().unwrap();
        let start = transport.transact(&[table()], None).unwrap();
        for (generation, name) in (start..).zip(numbered(TIMES)) {
            let after = transport.transact(&[put(&name)], Some(generation));
            assert_eq!(after, Ok(generation + 1));
        }
        assert_eq!(names(&mut transport).len(), TIMES as usize);
    });
}

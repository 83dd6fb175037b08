//! What goes wrong on a switch, and what becomes of the rules.

use std::collections::{BTreeMap, BTreeSet};

use dataplane::backend::{Backend, BackendError, Counter};
use dataplane::desired::{InterfacePattern, Settings};
use dataplane::packet::Packet;
use dataplane::rule::RuleId;
use dataplane::sonic::{Mode, Options, Sonic};
use redis::Connection;
use serde_json::{Map, Value};

use crate::asic::{Asic, Fate};
use crate::orchagent::Orchagent;
use crate::scene::{Scene, links, settings};
use crate::server::{APPL_DB, CONFIG_DB};
use crate::waiting::eventually;
use crate::yang::Models;

/// Both ways into the switch.
const MODES: [Mode; 2] = [Mode::ConfigDb, Mode::ApplDb];

const NTP: &str =
    "match { destination 203.0.113.5/32; protocol udp; source-port =123; } then { discard; }";
const WEB: &str =
    "match { destination 203.0.113.0/24; protocol tcp; destination-port =80; } then { discard; }";
const WEB_PASSES: &str =
    "match { destination 203.0.113.0/24; protocol tcp; destination-port =80; } then { accept; }";
const SIXES: &str = "match { destination 2001:db8::/32; protocol udp; } then { discard; }";

const NTP_PACKET: &str = "udp 198.51.100.9:123 > 203.0.113.5:4444";
const WEB_PACKET: &str = "tcp 198.51.100.9:1024 > 203.0.113.7:80";
const SIX_PACKET: &str = "udp [2400::1]:53 > [2001:db8::1]:5353";

/// Where documents of rules are in a mode, and what their keys begin with.
fn place(mode: Mode) -> (i64, &'static str) {
    match mode {
        Mode::ConfigDb => (CONFIG_DB, "ACL_RULE|FLOWACL_V4|"),
        Mode::ApplDb => (APPL_DB, "ACL_RULE_TABLE:FLOWACL_V4:"),
    }
}

/// The keys of a pattern, in order.
fn keys(connection: &mut Connection, pattern: &str) -> Vec<String> {
    let mut keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query(connection).unwrap();
    keys.sort();
    keys
}

/// The document of a key.
fn document(connection: &mut Connection, key: &str) -> BTreeMap<String, String> {
    redis::cmd("HGETALL").arg(key).query(connection).unwrap()
}

/// All that CONFIG_DB has of our tables, in the form of `config_db.json`.
fn configuration(config: &mut Connection) -> Value {
    let mut tables = Map::new();
    for key in keys(config, "ACL_*FLOWACL*") {
        let (table, name) = key.split_once('|').unwrap();
        let fields = document(config, &key);
        let fields = fields
            .into_iter()
            .map(|(field, value)| match field.strip_suffix('@') {
                Some(list) => (list.to_string(), value.split(',').collect()),
                None => (field, Value::from(value)),
            });
        let of_table = tables
            .entry(table)
            .or_insert_with(|| Value::Object(Map::new()));
        of_table[name] = Value::Object(fields.collect());
    }
    Value::Object(tables)
}

/// Waits until nothing of ours is left in a database: nobody confirms that a type was deleted.
fn nothing_is_left(database: &mut Connection) {
    eventually("nothing of ours is left", || {
        match keys(database, "*FLOWACL*").as_slice() {
            [] => Ok(()),
            left => Err(format!("{left:?}")),
        }
    });
}

/// Audits until something was put right and the switch has taken it.
fn repaired(scene: &mut Scene) -> String {
    let mut culprit = None;
    eventually("the switch is as it should be", || {
        let found = scene.backend.audit().map_err(|error| error.to_string())?;
        culprit = culprit.take().or(found.map(|culprit| culprit.0));
        match (&culprit, scene.backend.impaired().as_slice()) {
            (Some(name), []) => Ok(name.clone()),
            (_, impaired) => Err(format!("{culprit:?} {impaired:?}")),
        }
    })
}

/// Fails unless the three rules above are in force, and the session is spared.
fn in_force(scene: &Scene) {
    for packet in [NTP_PACKET, WEB_PACKET, SIX_PACKET] {
        assert_eq!(scene.fate(packet), Fate::Dropped, "{packet}");
    }
    assert_eq!(
        scene.fate("udp 198.51.100.9:124 > 203.0.113.5:4444"),
        Fate::Forwarded
    );
}

/// Rules 1, 2 and 3.
const THREE: [(u64, &str); 3] = [(1, NTP), (2, WEB), (3, SIXES)];

#[test]
fn rules_are_written_as_the_switch_reads_them() {
    let models = Models::find();
    for mode in MODES {
        let Some(mut scene) = Scene::start(mode, Asic::default()) else {
            return;
        };
        let mut config = scene.server.connect(CONFIG_DB);
        redis::pipe()
            .hset_multiple(
                "ACL_TABLE|DATAACL",
                &[
                    ("type", "L3"),
                    ("stage", "ingress"),
                    ("ports@", "Ethernet0"),
                ],
            )
            .hset_multiple(
                "ACL_RULE|DATAACL|RULE_1",
                &[("PRIORITY", "9999"), ("PACKET_ACTION", "FORWARD")],
            )
            .query::<()>(&mut config)
            .unwrap();
        let foreign = |config: &mut Connection| {
            let mut keys = keys(config, "*DATAACL*");
            keys.extend(super::faults::keys(config, "PORT*"));
            let documents = keys.iter().map(|key| document(config, key));
            documents.collect::<Vec<_>>()
        };
        let before = foreign(&mut config);
        scene.announce(&THREE);
        in_force(&scene);
        let (number, beginning) = place(mode);
        let mut database = scene.server.connect(number);
        let found = keys(&mut database, &format!("{beginning}R1_*"));
        assert_eq!(found.len(), 1, "{found:?}");
        let mut fields = document(&mut database, &found[0]);
        fields.remove("PRIORITY");
        let expected = [
            ("DST_IP", "203.0.113.5/32"),
            ("IP_PROTOCOL", "17"),
            ("IP_TYPE", "IPV4ANY"),
            ("L4_SRC_PORT", "123"),
            ("PACKET_ACTION", "DROP"),
        ];
        let expected = expected.map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(fields, BTreeMap::from(expected), "{mode:?}");
        let (table, list) = match mode {
            Mode::ConfigDb => ("ACL_TABLE|FLOWACL_V4", "ports@"),
            Mode::ApplDb => ("ACL_TABLE_TABLE:FLOWACL_V4", "ports"),
        };
        assert_eq!(
            document(&mut database, table)[list],
            "Ethernet0,Ethernet4,PortChannel1"
        );
        if mode == Mode::ConfigDb
            && let Some(models) = &models
        {
            let written = configuration(&mut database);
            assert_eq!(models.validate(scene.options.release, &written), Ok(()));
        }
        scene.backend.stop().unwrap();
        assert_eq!(foreign(&mut config), before, "{mode:?}");
        nothing_is_left(&mut database);
        assert_eq!(scene.fate(NTP_PACKET), Fate::Forwarded);
        assert!(!scene.options.memo_file.exists());
    }
}

#[test]
fn redis_is_restarted() {
    for mode in MODES {
        let Some(mut scene) = Scene::start(mode, Asic::default()) else {
            return;
        };
        scene.announce(&THREE);
        scene.server.kill();
        drop(scene.orchagent.take());
        assert!(matches!(
            scene.backend.audit(),
            Err(BackendError::Unavailable(_))
        ));
        let refused = scene.try_announce(&[(4, WEB_PASSES)]);
        assert!(
            matches!(refused, Err(BackendError::Unavailable(_))),
            "{refused:?}"
        );
        scene.server.run();
        scene.server.configure_ports();
        scene.orchagent = Some(Orchagent::start(&scene.server, Asic::default(), 3));
        repaired(&mut scene);
        in_force(&scene);
        scene.announce(&[(2, WEB_PASSES)]);
        assert_eq!(scene.fate(WEB_PACKET), Fate::Forwarded);
    }
}

#[test]
fn connections_break_and_nothing_has_changed() {
    for mode in MODES {
        let Some(mut scene) = Scene::start(mode, Asic::default()) else {
            return;
        };
        scene.announce(&THREE);
        let written = |scene: &Scene| {
            let mut connection = scene.server.connect(APPL_DB);
            let told: String = redis::cmd("INFO")
                .arg("commandstats")
                .query(&mut connection)
                .unwrap();
            let calls = |command: &str| {
                let line = told
                    .lines()
                    .find(|line| line.starts_with(&format!("cmdstat_{command}:")));
                line.map(|line| line.split(',').next().unwrap().to_owned())
            };
            ["hset", "hmset", "eval", "del", "publish"].map(calls)
        };
        // The stand-in's own connections break as well.
        drop(scene.orchagent.take());
        let before = written(&scene);
        let mut connection = scene.server.connect(APPL_DB);
        for kind in ["normal", "pubsub"] {
            redis::cmd("CLIENT")
                .arg(&["KILL", "TYPE", kind, "SKIPME", "yes"])
                .exec(&mut connection)
                .unwrap();
        }
        eventually("connected again", || {
            scene.backend.audit().map_err(|error| error.to_string())
        });
        assert_eq!(scene.backend.audit().unwrap(), None);
        assert_eq!(written(&scene), before, "{mode:?}");
    }
}

#[test]
fn others_change_our_documents() {
    type Change = fn(&mut Connection, &str, &str);
    let changes: [(&str, Change); 5] = [
        ("a rule is deleted", |database, key, _| {
            redis::cmd("DEL").arg(key).exec(database).unwrap();
        }),
        ("a rule is changed", |database, key, _| {
            redis::cmd("HSET")
                .arg(key)
                .arg("PACKET_ACTION")
                .arg("FORWARD")
                .exec(database)
                .unwrap();
        }),
        ("a rule is narrowed", |database, key, _| {
            redis::cmd("HSET")
                .arg(key)
                .arg("DSCP")
                .arg("46")
                .exec(database)
                .unwrap();
        }),
        ("a rule is added", |database, _, beginning| {
            let fields = [
                "PRIORITY",
                "9998",
                "PACKET_ACTION",
                "FORWARD",
                "IP_TYPE",
                "IPV4ANY",
            ];
            redis::cmd("HSET")
                .arg(format!("{beginning}MINE"))
                .arg(&fields)
                .exec(database)
                .unwrap();
        }),
        ("a table is bound elsewhere", |database, _, _| {
            redis::cmd("HSET")
                .arg("ACL_TABLE|FLOWACL_V4")
                .arg("ports@")
                .arg("Ethernet4")
                .exec(database)
                .unwrap();
        }),
    ];
    let Some(mut scene) = Scene::start(Mode::ConfigDb, Asic::default()) else {
        return;
    };
    scene.announce(&THREE);
    let mut config = scene.server.connect(CONFIG_DB);
    let (_, beginning) = place(Mode::ConfigDb);
    for (name, change) in changes {
        let key = keys(&mut config, &format!("{beginning}R1_*")).remove(0);
        change(&mut config, &key, beginning);
        let culprit = repaired(&mut scene);
        assert_eq!(culprit, "another client of the switch's database", "{name}");
        eventually(name, || {
            let asic = scene.orchagent().asic();
            let packet = Packet::from_text(NTP_PACKET).unwrap();
            let strange = asic.tables["FLOWACL_V4"].entries.contains_key("MINE");
            match asic.fate("Ethernet0", &packet) {
                Fate::Dropped if !strange => Ok(()),
                fate => Err(format!("{fate:?} {strange}")),
            }
        });
        in_force(&scene);
        assert_eq!(scene.backend.audit().unwrap(), None, "{name}");
    }
}

#[test]
fn a_rule_that_the_switch_refuses_takes_its_commit_along() {
    for mode in MODES {
        let asic = Asic {
            refuses: Some(("DSCP".into(), "46".into())),
            ..Asic::default()
        };
        let Some(mut scene) = Scene::start(mode, asic) else {
            return;
        };
        scene.announce(&[(1, NTP)]);
        let entries = scene.entries("FLOWACL_V4");
        let dscp = "match { destination 203.0.113.0/24; dscp =46; } then { discard; }";
        let refused = scene.try_announce(&[(2, WEB), (3, dscp)]);
        match refused {
            Err(BackendError::Refused {
                rule: Some(RuleId(3)),
                reason,
            }) => {
                assert!(reason.contains("Inactive"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(scene.entries("FLOWACL_V4"), entries, "{mode:?}");
        let (number, beginning) = place(mode);
        let left = keys(&mut scene.server.connect(number), &format!("{beginning}*"));
        assert_eq!(left.len(), entries, "{left:?}");
        assert_eq!(scene.fate(WEB_PACKET), Fate::Forwarded);
        scene.announce(&[(2, WEB)]);
        assert_eq!(scene.fate(WEB_PACKET), Fate::Dropped);
    }
}

#[test]
fn rules_for_which_the_table_has_no_room_are_named() {
    for mode in MODES {
        // Two entries are the guard's.
        let asic = Asic {
            capacity: Some(4),
            ..Asic::default()
        };
        let Some(mut scene) = Scene::start(mode, asic) else {
            return;
        };
        assert_eq!(scene.entries("FLOWACL_V4"), 2);
        let flow =
            |host: u64| format!("match {{ destination 203.0.113.{host}/32; }} then {{ discard; }}");
        let flows: Vec<(u64, String)> = (1..=4).map(|id| (id, flow(id))).collect();
        let flows: Vec<(u64, &str)> = flows
            .iter()
            .map(|(id, text)| (*id, text.as_str()))
            .collect();
        let rules = match scene.try_announce(&flows) {
            Err(BackendError::NoRoom(rules)) => rules,
            other => panic!("{other:?}"),
        };
        assert_eq!(rules.len(), 2, "{rules:?}");
        assert!(rules[0].1.contains("Pending creation"), "{rules:?}");
        assert_eq!(scene.entries("FLOWACL_V4"), 2, "nothing of it is left");
        let named: BTreeSet<u64> = rules.iter().map(|(id, _)| id.0).collect();
        let fit: Vec<(u64, &str)> = flows
            .iter()
            .copied()
            .filter(|(id, _)| !named.contains(id))
            .collect();
        scene.announce(&fit);
        scene.withdraw(&[fit[0].0]);
        let other = *flows.iter().find(|(id, _)| named.contains(id)).unwrap();
        scene.announce(&[other]);
        assert_eq!(scene.entries("FLOWACL_V4"), 4);
    }
}

#[test]
fn ranges_without_a_checker_become_ports_or_wait() {
    let asic = Asic {
        range_checkers: Some(3),
        ..Asic::default()
    };
    let three = |options| Options {
        range_checkers: Some(3),
        ..options
    };
    let Some(mut scene) = Scene::start_with(Mode::ApplDb, asic, three) else {
        return;
    };
    // One of them is taken by a table of somebody else.
    let mut config = scene.server.connect(CONFIG_DB);
    redis::pipe()
        .hset_multiple(
            "ACL_RULE|DATAACL|RULE_1",
            &[("PRIORITY", "9999"), ("L4_DST_PORT_RANGE", "1-2")],
        )
        .query::<()>(&mut config)
        .unwrap();
    scene.restart();
    let flow = |ports: &str| {
        format!("match {{ protocol udp; destination-port {ports}; }} then {{ discard; }}")
    };
    scene.announce(&[(1, &flow(">=1000&<=2000")), (2, &flow(">=3000&<=4000"))]);
    assert_eq!(scene.orchagent().asic().ranges().len(), 2);
    scene.announce(&[(3, &flow(">=50&<=59"))]);
    assert_eq!(scene.orchagent().asic().ranges().len(), 2);
    assert_eq!(scene.entries("FLOWACL_V4"), 2 + 2 + 10);
    match scene.try_announce(&[(4, &flow(">=5000&<=9000"))]) {
        Err(BackendError::NoRoom(rules)) => {
            assert_eq!(rules[0].0, RuleId(4));
            assert!(rules[0].1.contains("range checkers"), "{rules:?}");
        }
        other => panic!("{other:?}"),
    }
    scene.withdraw(&[1]);
    scene.announce(&[(4, &flow(">=5000&<=9000"))]);
    assert_eq!(scene.orchagent().asic().ranges().len(), 2);
}

#[test]
fn swss_is_restarted() {
    for mode in MODES {
        let Some(mut scene) = Scene::start(mode, Asic::default()) else {
            return;
        };
        scene.announce(&THREE);
        let hit = |scene: &Scene, times: usize| {
            let packet = Packet::from_text(NTP_PACKET).unwrap();
            for _ in 0..times {
                scene.orchagent().asic().forward("Ethernet0", &packet);
            }
            scene.orchagent().publish_counters(&scene.server);
        };
        hit(&scene, 5);
        let count = |scene: &mut Scene| {
            let counters = scene.backend.counters().unwrap();
            counters
                .into_iter()
                .find(|(id, _)| *id == RuleId(1))
                .unwrap()
                .1
        };
        assert_eq!(
            count(&mut scene),
            Counter {
                packets: 5,
                bytes: 500
            }
        );
        scene.restart_swss();
        match mode {
            // The configuration is still there, and nothing has to be written.
            Mode::ConfigDb => eventually("in force again", || {
                let found = scene.backend.audit().map_err(|error| error.to_string())?;
                assert_eq!(found, None);
                match scene.backend.impaired().as_slice() {
                    [] if scene.fate(NTP_PACKET) == Fate::Dropped => Ok(()),
                    impaired => Err(format!("{impaired:?}")),
                }
            }),
            Mode::ApplDb => {
                let culprit = repaired(&mut scene);
                assert!(culprit.contains("swss"), "{culprit}");
            }
        }
        in_force(&scene);
        hit(&scene, 2);
        assert_eq!(
            count(&mut scene),
            Counter {
                packets: 7,
                bytes: 700
            },
            "{mode:?}"
        );
        scene.announce(&[(2, WEB_PASSES)]);
        assert_eq!(scene.fate(WEB_PACKET), Fate::Forwarded);
    }
}

#[test]
fn the_daemon_is_killed() {
    for mode in MODES {
        let Some(mut scene) = Scene::start(mode, Asic::default()) else {
            return;
        };
        scene.announce(&THREE);
        // A replaced entry takes its count along.
        scene.announce(&[(2, WEB_PASSES)]);
        scene.announce(&[(2, WEB)]);
        let packet = Packet::from_text(NTP_PACKET).unwrap();
        scene.orchagent().asic().forward("Ethernet0", &packet);
        scene.orchagent().publish_counters(&scene.server);
        scene.announce(&[(1, &NTP.replace("discard", "accept"))]);
        let created = scene.orchagent().asic().created;
        assert_eq!(scene.restart(), [1, 2, 3].map(RuleId));
        assert_eq!(
            scene.orchagent().asic().created,
            created,
            "{mode:?}: written anew"
        );
        let counters: BTreeMap<_, _> = scene.backend.counters().unwrap().into_iter().collect();
        assert_eq!(counters[&RuleId(1)].packets, 1, "{mode:?}");
        // A rule that is not taken over goes.
        let key = scene
            .installed
            .iter()
            .find(|(_, (_, rule))| rule.id == RuleId(2))
            .unwrap()
            .0
            .clone();
        scene.installed.remove(&key);
        scene.restart();
        assert_eq!(scene.fate(WEB_PACKET), Fate::Forwarded);
        assert_eq!(scene.fate(SIX_PACKET), Fate::Dropped);
        assert_eq!(scene.restart(), [1, 3].map(RuleId));
    }
}

#[test]
fn a_change_that_is_not_confirmed_is_undone() {
    for mode in MODES {
        let Some(mut scene) = Scene::start(mode, Asic::default()) else {
            return;
        };
        scene.announce(&[(1, NTP)]);
        scene.orchagent().pause(true);
        match scene.try_announce(&[(2, WEB)]) {
            Err(BackendError::Unavailable(reason)) => assert!(reason.contains("swss"), "{reason}"),
            other => panic!("{other:?}"),
        }
        scene.orchagent().pause(false);
        eventually("the rule that was there is", || {
            scene.backend.audit().map_err(|error| error.to_string())?;
            match (scene.fate(NTP_PACKET), scene.fate(WEB_PACKET)) {
                (Fate::Dropped, Fate::Forwarded) => Ok(()),
                fates => Err(format!("{fates:?}")),
            }
        });
        scene.announce(&[(2, WEB)]);
        assert_eq!(scene.fate(WEB_PACKET), Fate::Dropped);
    }
}

#[test]
fn bindings_follow_the_ports() {
    for mode in MODES {
        let Some(mut scene) = Scene::start(mode, Asic::default()) else {
            return;
        };
        let mut config = scene.server.connect(CONFIG_DB);
        let bound = |scene: &mut Scene, expected: &[&str]| {
            eventually(&format!("{expected:?}"), || {
                assert_eq!(scene.backend.audit().unwrap(), None);
                let asic = scene.orchagent().asic();
                let ports = &asic.tables["FLOWACL_V6"].ports;
                match ports.iter().map(String::as_str).collect::<Vec<_>>() {
                    ports if ports == expected => Ok(()),
                    ports => Err(format!("{ports:?}")),
                }
            });
        };
        bound(&mut scene, &["Ethernet0", "Ethernet4", "PortChannel1"]);
        redis::cmd("HSET")
            .arg("PORT|Ethernet12")
            .arg(&["speed", "100000"])
            .exec(&mut config)
            .unwrap();
        bound(
            &mut scene,
            &["Ethernet0", "Ethernet12", "Ethernet4", "PortChannel1"],
        );
        redis::cmd("HSET")
            .arg("PORTCHANNEL_MEMBER|PortChannel1|Ethernet4")
            .arg(&["NULL", "NULL"])
            .exec(&mut config)
            .unwrap();
        bound(&mut scene, &["Ethernet0", "Ethernet12", "PortChannel1"]);
        let only = Settings {
            interfaces: vec![InterfacePattern::new("Ethernet*").unwrap()],
            ..settings()
        };
        scene.backend.reconfigure(&only, &links()).unwrap();
        bound(&mut scene, &["Ethernet0", "Ethernet12"]);
        let warnings = scene.backend.warnings();
        assert!(
            warnings
                .iter()
                .any(|warning| warning.contains("PortChannel1")),
            "{warnings:?}"
        );
    }
}

#[test]
fn a_panic_unbinds_and_keeps_all_rules() {
    let Some(mut scene) = Scene::start(Mode::ApplDb, Asic::default()) else {
        return;
    };
    scene.announce(&THREE);
    let created = scene.orchagent().asic().created;
    let suspended = Settings {
        suspended: true,
        ..settings()
    };
    scene.backend.reconfigure(&suspended, &links()).unwrap();
    eventually("nothing is dropped", || match scene.fate(NTP_PACKET) {
        Fate::Forwarded => Ok(()),
        Fate::Dropped => Err("dropped".into()),
    });
    scene.backend.reconfigure(&settings(), &links()).unwrap();
    eventually("dropped again", || match scene.fate(NTP_PACKET) {
        Fate::Dropped => Ok(()),
        Fate::Forwarded => Err("forwarded".into()),
    });
    assert_eq!(scene.orchagent().asic().created, created);
}

#[test]
fn a_switch_without_orchagent_is_not_programmed() {
    let Some(server) = crate::server::Server::start() else {
        return;
    };
    let options = Options {
        patience: std::time::Duration::from_millis(300),
        ..crate::scene::options(&server, Mode::ApplDb)
    };
    let mut backend = Sonic::new(options);
    match backend.start(&settings(), &links()) {
        Err(BackendError::Unavailable(reason)) => assert!(reason.contains("swss"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn facts_for_operators() {
    let Some(mut scene) = Scene::start(Mode::ApplDb, Asic::default()) else {
        return;
    };
    scene.announce(&THREE);
    let facts: BTreeMap<String, String> = scene.backend.describe().unwrap().into_iter().collect();
    assert_eq!(facts["rules"], "3");
    assert_eq!(facts["entries in FLOWACL_V4"], "2 of rules, 2 of guards");
    assert_eq!(facts["bound to"], "Ethernet0, Ethernet4, PortChannel1");
    assert_eq!(facts["not confirmed by the switch"], "0");
}

#[test]
fn the_other_database_is_cleared() {
    for mode in MODES {
        let Some(mut scene) = Scene::start(mode, Asic::default()) else {
            return;
        };
        scene.announce(&THREE);
        scene.options.mode = match mode {
            Mode::ConfigDb => Mode::ApplDb,
            Mode::ApplDb => Mode::ConfigDb,
        };
        // Rules of the other database are not taken over: neighbors resend them.
        scene.installed.clear();
        assert!(scene.restart().is_empty());
        let (number, _) = place(mode);
        nothing_is_left(&mut scene.server.connect(number));
        scene.announce(&THREE);
        in_force(&scene);
    }
}

#[test]
fn many_rules_are_taken_over_piece_by_piece() {
    for mode in MODES {
        let Some(mut scene) = Scene::start(mode, Asic::default()) else {
            return;
        };
        let flows: Vec<String> = (0..400)
            .map(|n| {
                format!(
                    "match {{ destination 10.0.{}.{}/32; }} then {{ discard; }}",
                    n / 250,
                    n % 250
                )
            })
            .collect();
        let rules: Vec<_> = (1..)
            .zip(&flows)
            .map(|(id, text)| crate::scene::rule(&crate::flows::flow(text), id))
            .collect();
        // An earlier process has left nothing but its tables.
        scene.orchagent().pause(true);
        let (options, settings) = (scene.options.clone(), scene.settings.clone());
        let (database, beginning) = place(mode);
        let mut written = scene.server.connect(database);
        let waiting = match mode {
            Mode::ConfigDb => format!("{beginning}R*"),
            Mode::ApplDb => format!("_{beginning}R*"),
        };
        let successor = std::thread::spawn(move || {
            let mut backend = Sonic::new(options);
            let result = backend.resume(&settings, &links(), &rules);
            (backend, result)
        });
        let first = eventually("it has begun", || {
            match keys(&mut written, &waiting).len() {
                0 => Err(String::new()),
                found => Ok(found),
            }
        });
        // It waits for what was written until patience is at an end.
        assert!(first <= 128, "{first} entries");
        for _ in 0..20 {
            let now = keys(&mut written, &waiting).len();
            assert!(
                now <= 128,
                "{now} entries are not confirmed, and more are written"
            );
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        scene.orchagent().pause(false);
        let (backend, result) = successor.join().unwrap();
        result.unwrap();
        scene.backend = backend;
        assert!(scene.entries("FLOWACL_V4") >= 400);
        assert_eq!(
            scene.fate("udp 198.51.100.9:1 > 10.0.1.149:2"),
            Fate::Dropped
        );
        assert_eq!(
            scene.fate("udp 198.51.100.9:1 > 10.0.1.150:2"),
            Fate::Forwarded
        );
    }
}

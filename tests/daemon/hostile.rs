//! Neighbors that say what no RFC allows: each is answered as the RFCs want, and nobody else notices.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use super::differences::DIFFERENCES;
use super::file::{Vector, load};
use super::scale::scale;
use super::visitor::{Visitor, Watched, open_of, opening};
use super::*;
use crate::waiting::eventually;

/// Our AS.
const OUR_AS: u32 = 65140;
/// The AS of controllers.
const CONTROLLER_AS: u32 = 65070;
/// The AS of the OPENs among the vectors.
const VECTORS_AS: u32 = 65000;
/// By how much hostile neighbors may make the daemon grow, in KiB.
const GROWTH_KIB: u64 = 8 * 1024;

/// What real sessions make of vectors, where it is not what the message alone deserves.
const IN_A_SESSION: &[(&str, &str)] = &[
    // RFC 6608: it comes when the session is up.
    ("rfc-open-in-established", "session-reset 5/3"),
    // The OPEN is good, but offers none of the families.
    ("open-idbcast", "session-reset 2/7"),
    ("open-hold0", "session-reset 2/7"),
    ("m-gobgp-cap-as4-len2", "session-reset 2/7"),
    ("m-gobgp-cap-mp-len2", "session-reset 2/7"),
    ("m-gobgp-cap-gr-len1", "session-reset 2/7"),
];

/// Neighbors that may connect from many addresses: 127.1 of our AS, 127.2 of another one, 127.3 of that of the vectors.
fn many_neighbors() -> String {
    let families = "[\"ipv4-flow\", \"ipv6-flow\", \"ipv4-flow-vpn\", \"ipv6-flow-vpn\"]";
    let neighbor = |(net, asn)| {
        format!(
            "[[neighbor]]\naddress = \"127.{net}.0.0/16\"\nremote_as = {asn}\nfamilies = {families}\n"
        )
    };
    [(1, OUR_AS), (2, CONTROLLER_AS), (3, VECTORS_AS)]
        .map(neighbor)
        .concat()
}

/// A source of addresses that nobody has used.
struct Addresses(u16);

impl Addresses {
    /// One in 127.`net`.0.0/16.
    fn next(&mut self, net: u8) -> Ipv4Addr {
        self.0 += 1;
        let [high, low] = self.0.to_be_bytes();
        Ipv4Addr::new(127, net, high, low)
    }
}

/// A session, and what has been counted in it.
struct Established {
    visitor: Visitor,
    address: Ipv4Addr,
    messages: u64,
    malformed: u64,
}

impl Established {
    /// Brings it up.
    fn new(watched: &Watched, address: Ipv4Addr, open: &Open) -> Self {
        let visitor = Visitor::open(watched.daemon.port, address, open).unwrap();
        let status = watched.established(address);
        Self {
            visitor,
            address,
            messages: status.messages_received,
            malformed: status.malformed_updates,
        }
    }

    /// Sends a message: `none` when nothing is wrong with it, `counted` when something is, or how the session ended, and
    /// then there is none any more.
    fn say(mut self, watched: &Watched, id: &str, octets: &[u8]) -> (String, Option<Self>) {
        self.visitor.say(octets).unwrap();
        let survived = eventually(id, || {
            let neighbor = watched.neighbor(self.address);
            match neighbor.filter(|neighbor| neighbor.is_established()) {
                None => Ok(None),
                Some(status) if status.messages_received > self.messages => Ok(Some(status)),
                Some(status) => Err(format!("{status:?}")),
            }
        });
        let Some(status) = survived else {
            return (reset_with(self.visitor.farewell()), None);
        };
        let outcome = match status.malformed_updates - self.malformed {
            0 => "none",
            _ => "counted",
        };
        self.messages = status.messages_received;
        self.malformed = status.malformed_updates;
        (outcome.into(), Some(self))
    }
}

/// The end of a session in the words of the vectors.
fn reset_with(notification: Option<(u8, u8)>) -> String {
    match notification {
        Some((code, subcode)) => format!("session-reset {code}/{subcode}"),
        None => "closed in silence".into(),
    }
}

/// What a session must make of a vector: one of these.
fn wanted(vector: &Vector) -> Vec<String> {
    let in_a_session = IN_A_SESSION.iter().find(|(id, _)| *id == vector.id());
    let different = DIFFERENCES.iter().find(|(id, ..)| *id == vector.id());
    match (in_a_session, different) {
        (Some((_, outcome)), _) | (None, Some((_, outcome, _))) => vec![(*outcome).into()],
        (None, None) => vector.wanted(),
    }
}

/// True when an outcome is the one that was wanted.
fn agrees(wanted: &str, found: &str) -> bool {
    match wanted {
        "treat-as-withdraw" | "attribute-discard" | "nlri-ignored" => found == "counted",
        "none" => found == "none",
        reset => found.starts_with(reset),
    }
}

#[test]
fn every_malformed_vector_is_answered_and_disturbs_nobody() {
    let watched = Watched::start(&many_neighbors());
    let before = watched.daemon.rss_kib();
    let mut addresses = Addresses(0);
    let mut sessions = HashMap::new();
    let (mut wrong, mut resets, mut counted) = (Vec::new(), 0, 0);
    let vectors = load("malformed.jsonl");
    for vector in &vectors {
        let said = vector.said();
        let is_first = vector.id() != "rfc-open-in-established"
            && (vector.text("family") == "open" || vector.kind() == "capability");
        let found = if is_first {
            let from = addresses.next(3);
            let mut visitor = Visitor::dial(watched.daemon.port, from).unwrap();
            visitor.say(&said.octets).unwrap();
            reset_with(visitor.farewell())
        } else {
            let vpn = vector.family().filter(|family| family.is_vpn());
            let kind = (said.ibgp, said.four_octet_as, vpn);
            let session = sessions.remove(&kind).unwrap_or_else(|| {
                let (net, asn) = match said.ibgp {
                    true => (1, OUR_AS),
                    false => (2, CONTROLLER_AS),
                };
                let mut families = vec![FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow];
                families.extend(vpn);
                let mut open = open_of(asn, &families);
                if !said.four_octet_as {
                    open.capabilities
                        .retain(|one| !matches!(one, Capability::FourOctetAs(_)));
                }
                open.capabilities.push(Capability::ExtendedMessage);
                Established::new(&watched, addresses.next(net), &open)
            });
            let (found, session) = session.say(&watched, vector.id(), &said.octets);
            match session {
                Some(session) => drop(sessions.insert(kind, session)),
                None => resets += 1,
            }
            found
        };
        counted += u32::from(found == "counted");
        let wanted = wanted(vector);
        if !wanted.iter().any(|wanted| agrees(wanted, &found)) {
            wrong.push(format!(
                "{}: {found}, not {}",
                vector.id(),
                wanted.join(" or ")
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        vectors.len(),
        wrong.join("\n")
    );
    println!(
        "{} vectors: {counted} counted, {resets} resets",
        vectors.len()
    );
    assert!(resets >= 20 && counted >= 100, "{resets} {counted}");
    let downs = watched.daemon.log().matches("session down").count();
    assert_eq!(downs, resets, "each has its line in the log");
    drop(sessions);
    watched.is_alone();
    let growth = watched.daemon.rss_kib().saturating_sub(before);
    assert!(growth <= GROWTH_KIB, "{growth} KiB");
}

#[test]
fn noise_is_answered_and_disturbs_nobody() {
    let seed = scale("FLOWACL_HOSTILE_SEED", rand::random());
    println!("FLOWACL_HOSTILE_SEED={seed}");
    let random = &mut StdRng::seed_from_u64(seed.into());
    let watched = Watched::start(&many_neighbors());
    let files = watched.open_files();
    let mut addresses = Addresses(0);
    let mut before = 0;
    let rounds = scale("FLOWACL_HOSTILE_ROUNDS", 200);
    let open = open_of(CONTROLLER_AS, &[FlowFamily::Ipv4Flow]);
    for round in 0..rounds {
        let from = addresses.next(2);
        let mut visitor = Visitor::dial(watched.daemon.port, from).unwrap();
        let mut noise = vec![0; random.random_range(19..600)];
        random.fill_bytes(&mut noise);
        let kind = round % 5;
        let octets = match kind {
            0 => noise,
            1 => [Message::Open(open.clone()).encode(), noise].concat(),
            2 => [opening(&open), noise].concat(),
            3 => [opening(&open), Message::Update(noise).encode()].concat(),
            _ => {
                let mut update = announcement(OTHER_NLRI);
                let at = random.random_range(0..update.len());
                update[at] ^= 1 << random.random_range(0..8);
                [opening(&open), update].concat()
            }
        };
        visitor.say(&octets).unwrap();
        if kind < 3 {
            // Of all that is wrong with it the marker comes first.
            assert_eq!(visitor.farewell(), Some((1, 1)), "round {round}");
        }
        match random.random_bool(0.5) {
            true => visitor.reset(),
            false => drop(visitor),
        }
        if round % 20 == 0 {
            watched.neighbors();
        }
        if round == rounds / 4 {
            before = watched.daemon.rss_kib();
        }
    }
    watched.is_alone();
    watched.has_open_files(files);
    let growth = watched.daemon.rss_kib().saturating_sub(before);
    assert!(growth <= GROWTH_KIB, "{growth} KiB");
}

#[test]
fn what_ended_a_session_can_be_seen() {
    let neighbor = "[[neighbor]]\naddress = \"127.0.0.3\"\nremote_as = 65070\n";
    let watched = Watched::start(neighbor);
    let address = Ipv4Addr::new(127, 0, 0, 3);
    let open = open_of(CONTROLLER_AS, &[FlowFamily::Ipv4Flow]);
    let mut session = Established::new(&watched, address, &open);
    session.visitor.say(&announcement(OTHER_NLRI)).unwrap();
    eventually("its rule is there", || match watched.neighbor(address) {
        Some(status) if status.routes.installed == 1 => Ok(()),
        status => Err(format!("{status:?}")),
    });
    session
        .visitor
        .say(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    assert_eq!(session.visitor.farewell(), Some((1, 1)));
    let status = eventually("the session is down", || match watched.neighbor(address) {
        Some(status) if !status.is_established() => Ok(status),
        status => Err(format!("{status:?}")),
    });
    let error = status.last_error.unwrap();
    assert!(error.contains("marker"), "{error}");
    watched.is_alone();
    // Whoever makes errors has to wait before the next session.
    let mut again = Visitor::open(watched.daemon.port, address, &open).unwrap();
    assert_eq!(again.farewell(), Some((6, 5)));
}

#[test]
fn half_a_message_is_no_message() {
    let watched = Watched::start(&many_neighbors());
    let open = open_of(CONTROLLER_AS, &[FlowFamily::Ipv4Flow]);
    let mut addresses = Addresses(0);
    let whole = announcement(OTHER_NLRI);
    for length in 0..whole.len() {
        let from = addresses.next(2);
        let mut visitor = Visitor::open(watched.daemon.port, from, &open).unwrap();
        visitor.say(&whole[..length]).unwrap();
        match length % 2 {
            0 => visitor.reset(),
            _ => drop(visitor),
        }
    }
    watched.is_alone();
    let last = addresses.next(2);
    let mut visitor = Visitor::open(watched.daemon.port, last, &open).unwrap();
    visitor.say(&whole).unwrap();
    // The one that nothing may disturb, and this: no half ever was a rule.
    eventually("the whole is a rule", || match watched.put() {
        2.. => Ok(()),
        put => Err(put.to_string()),
    });
    assert_eq!(watched.put(), 2);
}

#[test]
fn slow_neighbors_are_heard_to_the_end_and_do_not_hold_up_others() {
    const SLOW: u8 = 8;
    let watched = Watched::start(&many_neighbors());
    let port = watched.daemon.port;
    // One octet after the other.
    let drip = |number: u8| {
        let from = Ipv4Addr::new(127, 2, 0, number);
        let mut visitor = Visitor::dial(port, from).unwrap();
        let open = open_of(CONTROLLER_AS, &[FlowFamily::Ipv4Flow]);
        let rule = announcement(&format!("0601200a0000{number:02x}"));
        for octet in [opening(&open), rule].concat() {
            visitor.say(&[octet]).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
        visitor
    };
    // Never comes to the end of its message, and says an octet of it now and then.
    let never_ends = || {
        let mut open = open_of(CONTROLLER_AS, &[FlowFamily::Ipv4Flow]);
        open.hold_time_secs = 3;
        let from = Ipv4Addr::new(127, 2, 1, 1);
        let mut visitor = Visitor::open(port, from, &open).unwrap();
        let start = Instant::now();
        let mut endless = Message::Update(vec![0; 4_000]).encode().into_iter();
        while start.elapsed() < PATIENCE && visitor.is_open() {
            // It may have been closed meanwhile.
            let _ = visitor.say(&[endless.next().unwrap()]);
            std::thread::sleep(Duration::from_millis(50));
        }
        start.elapsed()
    };
    std::thread::scope(|scope| {
        let slow: Vec<_> = (1..=SLOW).map(|n| scope.spawn(move || drip(n))).collect();
        let endless = scope.spawn(never_ends);
        while !slow.iter().all(|thread| thread.is_finished()) {
            let start = Instant::now();
            watched.neighbors();
            let took = start.elapsed();
            assert!(took < Duration::from_secs(1), "{took:?} for an answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        let visitors: Vec<_> = slow
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        eventually("all have their rule", || match watched.neighbors() {
            all if all.iter().filter(|one| one.routes.installed == 1).count() == 9 => Ok(()),
            all => Err(format!("{all:?}")),
        });
        let took = endless.join().unwrap();
        let hold = Duration::from_secs(3);
        assert!(
            hold <= took && took < hold + Duration::from_secs(2),
            "given up after {took:?}"
        );
        drop(visitors);
    });
    watched.is_alone();
}

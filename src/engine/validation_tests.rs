//! Validation against the RFCs' rules one by one, and against a model that looks at everything anew each time.

use std::time::Instant;

use proptest::prelude::*;

use super::super::policy::{ImportPolicy, LocalSpeaker};
use super::super::status::RouteState;
use super::super::{Engine, Event};
use super::*;
use crate::rib::RefusalKind;
use crate::rib::best_path;
use crate::session::NegotiatedRestart;
use crate::wire::attribute::{AsPathSegment, Origin};
use crate::wire::iana::FlowFamily;
use crate::wire::update::{UnicastRoutes, Update};
use dataplane::sim::Sim;

/// Two external neighbors in AS 65001 and 65002, and two internal ones.
const PEERS: [(u8, bool); 4] = [(1, false), (2, false), (3, true), (4, true)];

fn address(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn prefix(text: &str) -> IpNetwork {
    text.parse().unwrap()
}

fn attributes(asns: &[u32]) -> Attributes {
    let kind = AsPathSegmentKind::Sequence;
    let segment = |asns: &[u32]| AsPathSegment {
        kind,
        asns: asns.to_vec(),
    };
    Attributes {
        origin: Some(Origin::Igp),
        as_path: asns.chunks(255).map(segment).collect(),
        ..Attributes::default()
    }
}

/// `destination PREFIX`, and `protocol =tcp`.
fn flow(destination: IpNetwork) -> Nlri {
    let (family, octets) = match destination {
        IpNetwork::V4(v4) => (FlowFamily::Ipv4Flow, v4.network().octets().to_vec()),
        IpNetwork::V6(v6) => (FlowFamily::Ipv6Flow, v6.network().octets().to_vec()),
    };
    let length = destination.prefix();
    let mut value = vec![1, length];
    if destination.is_ipv6() {
        value.push(0);
    }
    value.extend(&octets[..usize::from(length).div_ceil(8)]);
    value.extend([3, 0x81, 6]);
    Nlri::decode(family, &value).unwrap()
}

/// The session is lost, and nothing is retained.
fn down(last: u8) -> Event {
    Event::PeerDown {
        peer: address(last),
        retained: Vec::new(),
    }
}

/// An engine whose neighbors are up.
struct Bench {
    engine: Engine,
    now: Instant,
}

impl Bench {
    fn new(policy: &ImportPolicy) -> Self {
        let local = LocalSpeaker {
            asn: 65140,
            router_id: [192, 0, 2, 254].into(),
        };
        let mut bench = Self {
            engine: Engine::new(local, dataplane::backend::Backend::capability(&Sim::new())),
            now: Instant::now(),
        };
        for (last, ibgp) in PEERS {
            bench.engine.step(
                bench.now,
                Event::PeerUp {
                    peer: address(last),
                    router_id: [192, 0, 2, last].into(),
                    ibgp,
                    families: FlowFamily::ALL.to_vec(),
                    policy: policy.clone(),
                    restart: NegotiatedRestart::default(),
                },
            );
        }
        bench
    }

    fn rfc9117() -> Self {
        Self::new(&ImportPolicy {
            validation: Validation::Rfc9117,
            ..ImportPolicy::default()
        })
    }

    fn update(&mut self, last: u8, update: Update) {
        let peer = address(last);
        self.engine.step(self.now, Event::Update { peer, update });
        self.commit();
    }

    /// Lets the engine finish what it has begun.
    fn commit(&mut self) {
        while self.engine.poll_commit(self.now).is_some() {
            self.engine.step(self.now, Event::Committed(Ok(())));
            self.now += std::time::Duration::from_millis(100);
        }
    }

    fn unicast(&mut self, last: u8, routes: &[&str], attributes: Attributes) {
        let announced = routes.iter().map(|route| prefix(route).into()).collect();
        self.update(
            last,
            Update {
                unicast: UnicastRoutes {
                    announced,
                    ..UnicastRoutes::default()
                },
                attributes,
                ..Update::default()
            },
        );
    }

    fn unicast_path(&mut self, last: u8, path: PathOf<IpNetwork>, asns: Option<&[u32]>) {
        let mut unicast = UnicastRoutes::default();
        match asns {
            Some(_) => unicast.announced.push(path),
            None => unicast.withdrawn.push(path),
        }
        let update = Update {
            unicast,
            attributes: attributes(asns.unwrap_or_default()),
            ..Update::default()
        };
        self.update(last, update);
    }

    fn withdraw_unicast(&mut self, last: u8, route: &str) {
        self.update(
            last,
            Update {
                unicast: UnicastRoutes {
                    withdrawn: vec![prefix(route).into()],
                    ..UnicastRoutes::default()
                },
                ..Update::default()
            },
        );
    }

    fn flow(&mut self, last: u8, nlri: Nlri, attributes: Attributes) {
        self.update(
            last,
            Update {
                announced: vec![nlri.into()],
                attributes,
                ..Update::default()
            },
        );
    }

    /// Why the first route is refused, if it is.
    fn reason(&self) -> Option<String> {
        let rule = self.engine.rules(self.now).remove(0);
        assert_eq!(
            rule.state == RouteState::Rejected,
            rule.reason.is_some(),
            "{rule:?}"
        );
        rule.reason
    }

    /// Checks the reason of the first route, which contains these words; `None`: it is in force.
    fn expect(&self, name: &str, words: Option<&str>) {
        let reason = self.reason();
        match (words, &reason) {
            (None, None) => {}
            (Some(words), Some(reason)) if reason.contains(words) => {}
            _ => panic!("{name}: {reason:?}, expected {words:?}"),
        }
    }
}

#[test]
fn each_rule_of_rfc_9117() {
    let external = || attributes(&[65001, 7]);
    let reflected = |asns: &[u32]| Attributes {
        originator_id: Some([192, 0, 2, 1].into()),
        ..attributes(asns)
    };
    let confederation = Attributes {
        as_path: vec![AsPathSegment {
            kind: AsPathSegmentKind::ConfedSequence,
            asns: vec![65010],
        }],
        ..attributes(&[])
    };
    type Unicast<'a> = (u8, &'a [&'a str], Attributes);
    type Row<'a> = (&'a str, Vec<Unicast<'a>>, u8, Attributes, Option<&'a str>);
    let rows: Vec<Row<'_>> = vec![
        (
            "no unicast route",
            vec![],
            1,
            external(),
            Some("no unicast route covers 10.1.0.0/16 (RFC 9117 §4.1 b)"),
        ),
        (
            "the same",
            vec![(1, &["10.1.0.0/16"], external())],
            1,
            external(),
            None,
        ),
        (
            "a default route",
            vec![(1, &["0.0.0.0/0"], external())],
            1,
            external(),
            None,
        ),
        (
            "only a more specific one",
            vec![(1, &["10.1.1.0/24"], external())],
            1,
            external(),
            Some("no unicast route covers"),
        ),
        (
            "of another neighbor",
            vec![(2, &["10.0.0.0/8"], attributes(&[65002]))],
            1,
            external(),
            Some(
                "the best unicast route for 10.1.0.0/16, 10.0.0.0/8 from AS 65002, is of \
                 192.0.2.2, not of 192.0.2.1",
            ),
        ),
        (
            "the longest counts",
            vec![
                (1, &["10.0.0.0/8"], external()),
                (2, &["10.1.0.0/16"], attributes(&[65002])),
            ],
            1,
            external(),
            Some("10.1.0.0/16 from AS 65002"),
        ),
        (
            "the best counts",
            vec![
                (1, &["10.0.0.0/8"], attributes(&[65001])),
                (2, &["10.0.0.0/8"], attributes(&[65002, 1, 2])),
            ],
            1,
            external(),
            None,
        ),
        (
            "another AS to the left",
            vec![(1, &["10.0.0.0/8"], external())],
            1,
            attributes(&[65009, 7]),
            Some(
                "AS_PATH begins with AS 65009, but that of the best unicast route for \
                  10.1.0.0/16, 10.0.0.0/8, with AS 65001 (RFC 9117 §4.2)",
            ),
        ),
        (
            "an external route without AS",
            vec![(1, &["10.0.0.0/8"], external())],
            1,
            attributes(&[]),
            Some("RFC 9117 §4.2"),
        ),
        (
            "more specific of the same AS",
            vec![(1, &["10.0.0.0/8", "10.1.128.0/17"], external())],
            1,
            external(),
            None,
        ),
        (
            "more specific of another AS",
            vec![
                (1, &["10.0.0.0/8"], external()),
                (2, &["10.1.128.0/17"], attributes(&[65002])),
            ],
            1,
            external(),
            Some(
                "more specific routes than 10.1.0.0/16 come from AS 65002, as 10.1.128.0/17, but \
                  the best unicast route, 10.0.0.0/8, is from AS 65001 (RFC 9117 §4.1 c)",
            ),
        ),
        (
            "more specific elsewhere",
            vec![
                (1, &["10.0.0.0/8"], external()),
                (2, &["10.2.0.0/24"], attributes(&[65002])),
            ],
            1,
            external(),
            None,
        ),
        (
            "our own, without unicast route",
            vec![],
            3,
            attributes(&[]),
            None,
        ),
        ("of our confederation", vec![], 3, confederation, None),
        (
            "our own, for another's network",
            vec![(1, &["10.0.0.0/8"], external())],
            3,
            attributes(&[]),
            None,
        ),
        (
            "our own, for networks of two",
            vec![
                (1, &["10.0.0.0/8"], external()),
                (2, &["10.1.128.0/17"], attributes(&[65002])),
            ],
            3,
            attributes(&[]),
            Some("RFC 9117 §4.1 c"),
        ),
        (
            "our own, for parts of others",
            vec![(2, &["10.1.128.0/17"], attributes(&[65002]))],
            3,
            attributes(&[]),
            Some("but no unicast route covers it"),
        ),
        (
            "reflected, of one originator",
            vec![(4, &["10.0.0.0/8"], reflected(&[65001]))],
            3,
            reflected(&[65001]),
            None,
        ),
        (
            "reflected, of another originator",
            vec![(4, &["10.0.0.0/8"], attributes(&[65001]))],
            3,
            reflected(&[65001]),
            Some("is of 192.0.2.4, not of 192.0.2.1"),
        ),
        (
            "a looping unicast route",
            vec![(1, &["10.0.0.0/8"], attributes(&[65001, 65140]))],
            1,
            external(),
            Some("no unicast route covers"),
        ),
    ];
    for (name, unicast, last, own, words) in rows {
        let mut before = Bench::rfc9117();
        let mut after = Bench::rfc9117();
        after.flow(last, flow(prefix("10.1.0.0/16")), own.clone());
        for (peer, routes, attributes) in unicast {
            before.unicast(peer, routes, attributes.clone());
            after.unicast(peer, routes, attributes);
        }
        before.flow(last, flow(prefix("10.1.0.0/16")), own);
        before.expect(name, words);
        after.expect(&format!("{name}, unicast routes last"), words);
    }
}

#[test]
fn verdicts_follow_unicast_routes() {
    let mut bench = Bench::rfc9117();
    bench.flow(1, flow(prefix("2001:db8::/32")), attributes(&[65001]));
    bench.expect("at first", Some("no unicast route"));
    bench.unicast(1, &["2001:db8::/32"], attributes(&[65001]));
    bench.expect("covered", None);
    bench.unicast(2, &["2001:db8:1::/48"], attributes(&[65002]));
    bench.expect("more specific", Some("as 2001:db8:1::/48"));
    bench.unicast(1, &["2001:db8:1::/48"], attributes(&[65001]));
    bench.expect("and one that is better", None);
    bench.withdraw_unicast(1, "2001:db8:1::/48");
    bench.expect("the better one is gone", Some("AS 65002"));
    bench.withdraw_unicast(2, "2001:db8:1::/48");
    bench.expect("the other, too", None);
    bench.unicast(2, &["2001:db8:1::/48"], attributes(&[65001]));
    bench.expect("from the AS of the covering one", None);
    bench.engine.step(bench.now, down(2));
    bench.withdraw_unicast(1, "2001:db8::/32");
    bench.expect("uncovered", Some("no unicast route"));
    assert_eq!(
        bench.engine.refusals().keys().copied().collect::<Vec<_>>(),
        [RefusalKind::Validation]
    );
    assert_eq!(bench.engine.counts().unicast, 0);
}

#[test]
fn a_destination_is_needed_unless_the_operator_says_otherwise() {
    let udp = || Nlri::decode(FlowFamily::Ipv4Flow, &[3, 0x81, 17]).unwrap();
    let with_offset = || Nlri::decode(FlowFamily::Ipv6Flow, &[1, 64, 32, 0, 0, 0, 1]).unwrap();
    let missing = Some("no destination prefix without offset");
    let rows = [
        (Validation::None, None, udp(), None),
        (Validation::Destination, None, udp(), missing),
        (Validation::Rfc9117, None, udp(), missing),
        (Validation::Destination, None, with_offset(), missing),
        (Validation::Rfc9117, None, with_offset(), missing),
        (Validation::Rfc9117, Some(false), udp(), None),
        (Validation::Destination, Some(false), udp(), None),
        (
            Validation::None,
            Some(true),
            udp(),
            Some("import.destination_required"),
        ),
        (
            Validation::Destination,
            None,
            flow(prefix("10.0.0.0/8")),
            None,
        ),
    ];
    for (validation, destination_required, nlri, words) in rows {
        let mut bench = Bench::new(&ImportPolicy {
            validation,
            destination_required,
            ..ImportPolicy::default()
        });
        let name = format!("{validation:?}, {destination_required:?}, {nlri:?}");
        bench.flow(1, nlri, attributes(&[65001]));
        bench.expect(&name, words);
    }
}

#[test]
fn a_policy_that_begins_to_validate_files_what_is_there() {
    let mut bench = Bench::new(&ImportPolicy::default());
    bench.flow(1, flow(prefix("10.0.0.0/8")), attributes(&[65001]));
    bench.expect("not validated", None);
    let validating = ImportPolicy {
        validation: Validation::Rfc9117,
        ..ImportPolicy::default()
    };
    let change = |bench: &mut Bench, policy: &ImportPolicy| {
        let (peer, policy) = (address(1), policy.clone());
        bench
            .engine
            .step(bench.now, Event::PolicyChanged { peer, policy });
        bench.commit();
    };
    change(&mut bench, &validating);
    bench.expect("validated", Some("no unicast route"));
    bench.unicast(1, &["10.0.0.0/8"], attributes(&[65001]));
    bench.expect("covered", None);
    bench.withdraw_unicast(1, "10.0.0.0/8");
    change(&mut bench, &ImportPolicy::default());
    bench.expect("not validated any more", None);
    assert_eq!(bench.engine.validator.destinations.len(), 0);
}

#[test]
fn nothing_is_left_of_routes_that_are_gone() {
    let mut bench = Bench::rfc9117();
    let other = flow(prefix("10.0.0.0/9"));
    bench.flow(1, flow(prefix("10.0.0.0/8")), attributes(&[65001]));
    bench.flow(1, other.clone(), attributes(&[65001]));
    bench.unicast(1, &["10.0.0.0/8"], attributes(&[65001]));
    assert_eq!(bench.engine.validator.destinations.len(), 2);
    bench.update(
        1,
        Update {
            withdrawn: vec![other.into()],
            ..Update::default()
        },
    );
    assert_eq!(bench.engine.validator.destinations.len(), 1);
    bench.engine.step(bench.now, down(1));
    assert_eq!(bench.engine.validator.destinations.len(), 0);
    assert_eq!(bench.engine.counts().unicast, 0);
}

#[test]
fn too_many_unicast_routes_close_the_session() {
    use super::super::notice::Notice;
    let mut bench = Bench::new(&ImportPolicy {
        max_unicast_routes: 2,
        ..ImportPolicy::default()
    });
    bench.unicast(1, &["10.0.0.0/8", "11.0.0.0/8"], attributes(&[65001]));
    bench.unicast(1, &["10.0.0.0/8"], attributes(&[65001, 7]));
    assert_eq!(bench.engine.poll_notice(), None);
    bench.unicast(1, &["12.0.0.0/8", "13.0.0.0/8"], attributes(&[65001]));
    let notice = bench.engine.poll_notice();
    assert!(
        matches!(&notice, Some(Notice::CloseSession { reason, .. }) if reason.contains("= 2")),
        "{notice:?}"
    );
    assert_eq!(bench.engine.poll_notice(), None);
    assert_eq!(bench.engine.peer_counts(address(1)).unicast, 2);
}

/// One step of a neighbor's, over few prefixes so that they meet.
#[derive(Clone, Debug)]
enum Step {
    Unicast(usize, IpNetwork, Vec<u32>),
    WithdrawUnicast(usize, IpNetwork),
    Flow(usize, IpNetwork, Vec<u32>),
    WithdrawFlow(usize, IpNetwork),
    Down(usize),
}

/// Prefixes of 0 to 4 bits, in both families.
fn arbitrary_prefix() -> impl Strategy<Value = IpNetwork> {
    (0u8..=4, any::<u8>(), any::<bool>()).prop_map(|(length, bits, ipv6)| {
        let bits = bits & (0xf00u16 >> length) as u8 & 0xf0;
        if ipv6 {
            let address = Ipv6Addr::from(u128::from(bits) << 120);
            IpNetwork::V6(Ipv6Network::new(address, length).unwrap())
        } else {
            let address = Ipv4Addr::from(u32::from(bits) << 24);
            IpNetwork::V4(Ipv4Network::new(address, length).unwrap())
        }
    })
}

fn arbitrary_step() -> impl Strategy<Value = Step> {
    let path = proptest::collection::vec(65001u32..65004, 0..3);
    let peer = 0..PEERS.len();
    prop_oneof![
        4 => (peer.clone(), arbitrary_prefix(), path.clone())
            .prop_map(|(peer, prefix, path)| Step::Unicast(peer, prefix, path)),
        2 => (peer.clone(), arbitrary_prefix()).prop_map(|(peer, p)| Step::WithdrawUnicast(peer, p)),
        3 => (peer.clone(), arbitrary_prefix(), path)
            .prop_map(|(peer, prefix, path)| Step::Flow(peer, prefix, path)),
        1 => (peer.clone(), arbitrary_prefix()).prop_map(|(peer, p)| Step::WithdrawFlow(peer, p)),
        1 => peer.prop_map(Step::Down),
    ]
}

/// All routes in lists.
#[derive(Default)]
struct Model {
    unicast: Vec<(IpNetwork, UnicastPath)>,
    flows: Vec<(usize, IpNetwork, Attributes)>,
}

impl Model {
    fn peer(index: usize) -> Arc<Peer> {
        let (last, ibgp) = PEERS[index];
        Arc::new(Peer {
            address: address(last),
            router_id: [192, 0, 2, last].into(),
            ibgp,
        })
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Unicast(peer, prefix, path) => {
                self.step(&Step::WithdrawUnicast(*peer, *prefix));
                let path = UnicastPath {
                    peer: Self::peer(*peer),
                    essence: Arc::new(Essence {
                        id: 0,
                        attributes: attributes(path),
                    }),
                };
                self.unicast.push((*prefix, path));
            }
            Step::WithdrawUnicast(peer, prefix) => {
                let address = Self::peer(*peer).address;
                self.unicast
                    .retain(|(p, path)| (*p, path.peer.address) != (*prefix, address));
            }
            Step::Flow(peer, prefix, path) => {
                self.step(&Step::WithdrawFlow(*peer, *prefix));
                self.flows.push((*peer, *prefix, attributes(path)));
            }
            Step::WithdrawFlow(peer, prefix) => {
                self.flows.retain(|(i, p, _)| (i, p) != (peer, prefix));
            }
            Step::Down(peer) => {
                let address = Self::peer(*peer).address;
                self.unicast
                    .retain(|(_, path)| path.peer.address != address);
                self.flows.retain(|(index, ..)| index != peer);
            }
        }
    }

    fn best(&self, prefix: IpNetwork) -> Option<&UnicastPath> {
        let paths = self.unicast.iter().filter(|(p, _)| *p == prefix);
        let paths: Vec<&UnicastPath> = paths.map(|(_, path)| path).collect();
        let owned: Vec<UnicastPath> = paths.iter().copied().cloned().collect();
        best_path::best(&owned).map(|index| paths[index])
    }

    fn is_valid(&self, peer: usize, destination: IpNetwork, own: &Attributes) -> bool {
        let peer = Self::peer(peer);
        let covers = |wide: IpNetwork, narrow: IpNetwork| {
            wide.is_ipv4() == narrow.is_ipv4()
                && wide.prefix() <= narrow.prefix()
                && wide.contains(narrow.network())
        };
        let covering = self.unicast.iter().map(|(p, _)| *p);
        let best = covering
            .filter(|p| covers(*p, destination))
            .max_by_key(|p| p.prefix())
            .and_then(|p| self.best(p));
        let own_as =
            |attributes: &Attributes| attributes.as_path.first().map(|segment| segment.asns[0]);
        let is_internal = own.as_path.is_empty();
        let same_originator = best.is_some_and(|best| best.peer.address == peer.address);
        let left_most =
            peer.ibgp || best.is_some_and(|best| own_as(&best.essence.attributes) == own_as(own));
        let reference = best.and_then(|best| own_as(&best.essence.attributes));
        let others = self.unicast.iter().any(|(p, _)| {
            covers(destination, *p)
                && *p != destination
                && self
                    .best(*p)
                    .and_then(|best| own_as(&best.essence.attributes))
                    != reference
        });
        (is_internal || same_originator) && left_most && !others
    }
}

/// RFC 9117 §4.1 b 2 may be off.
#[test]
fn routes_of_our_own_as_are_exempt_unless_it_is_strict() {
    let rows = [
        (Validation::Rfc9117, None, true),
        (Validation::Rfc9117, Some(4), true),
        (Validation::Rfc9117Strict, None, false),
        (Validation::Rfc9117Strict, Some(4), false),
        (Validation::Rfc9117Strict, Some(3), true),
    ];
    for (validation, unicast_of, valid) in rows {
        let mut bench = Bench::new(&ImportPolicy {
            validation,
            ..ImportPolicy::default()
        });
        if let Some(last) = unicast_of {
            bench.unicast(last, &["10.0.0.0/8"], attributes(&[]));
        }
        bench.flow(3, flow(prefix("10.0.0.0/8")), attributes(&[]));
        let accepted = bench.engine.counts().accepted;
        assert_eq!(
            accepted == 1,
            valid,
            "{validation:?}, unicast of {unicast_of:?}"
        );
    }
}

#[test]
fn the_best_of_several_unicast_paths_counts() {
    let mut bench = Bench::rfc9117();
    let path = |id| PathOf {
        id,
        route: prefix("10.0.0.0/8"),
    };
    bench.unicast_path(1, path(1), Some(&[65001, 65009]));
    bench.unicast_path(1, path(2), Some(&[65001]));
    bench.unicast_path(1, path(3), Some(&[65002]));
    bench.unicast_path(1, path(3), Some(&[65002, 65009, 65009]));
    bench.flow(1, flow(prefix("10.0.0.0/8")), attributes(&[65002]));
    assert_eq!(bench.engine.counts().unicast, 3);
    assert_eq!(bench.engine.counts().rejected, 1, "the best is of AS 65001");
    bench.unicast_path(1, path(2), None);
    bench.unicast_path(1, path(4), None);
    assert_eq!(bench.engine.counts().rejected, 1, "so is the second");
    bench.unicast_path(1, path(1), None);
    assert_eq!(
        bench.engine.counts().rejected,
        0,
        "the last one is of AS 65002"
    );
    bench.engine.step(bench.now, down(1));
    assert_eq!(bench.engine.counts().unicast, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn verdicts_are_those_of_the_model(
        steps in proptest::collection::vec(arbitrary_step(), 1..60),
    ) {
        let mut bench = Bench::new(&ImportPolicy {
            validation: Validation::Rfc9117,
            allow_match_all: true,
            ..ImportPolicy::default()
        });
        let mut model = Model::default();
        for step in &steps {
            model.step(step);
            let last = |peer: &usize| PEERS[*peer].0;
            let text = |prefix: &IpNetwork| prefix.to_string();
            match step {
                Step::Unicast(peer, prefix, path) => {
                    bench.unicast(last(peer), &[&text(prefix)], attributes(path));
                }
                Step::WithdrawUnicast(peer, prefix) => {
                    bench.withdraw_unicast(last(peer), &text(prefix));
                }
                Step::Flow(peer, prefix, path) => {
                    bench.flow(last(peer), flow(*prefix), attributes(path));
                }
                Step::WithdrawFlow(peer, prefix) => bench.update(
                    last(peer),
                    Update { withdrawn: vec![flow(*prefix).into()], ..Update::default() },
                ),
                Step::Down(peer) => {
                    let (last, ibgp) = PEERS[*peer];
                    bench.engine.step(bench.now, down(last));
                    bench.engine.step(bench.now, Event::PeerUp {
                        peer: address(last),
                        router_id: [192, 0, 2, last].into(),
                        ibgp,
                        families: FlowFamily::ALL.to_vec(),
                        policy: ImportPolicy {
                            validation: Validation::Rfc9117,
                            allow_match_all: true,
                            ..ImportPolicy::default()
                        },
                        restart: NegotiatedRestart::default(),
                    });
                    bench.commit();
                }
            }
            for (peer, prefix, own) in &model.flows {
                let nlri = flow(*prefix);
                let path = bench.engine.rib.path_at(address(last(peer)), &(crate::rib::route_key(&nlri), 0));
                let refused = path.expect("it was announced").rejected.clone();
                prop_assert_eq!(
                    refused.is_none(),
                    model.is_valid(*peer, *prefix, own),
                    "{} of {}: {:?}", prefix, peer, refused
                );
            }
            prop_assert_eq!(bench.engine.counts().unicast, model.unicast.len());
        }
    }
}

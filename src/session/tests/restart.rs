//! Graceful restart seen from the session: what is offered, negotiated, and retained when it ends.

use super::*;
use crate::session::{NegotiatedLongLived, NegotiatedRestart};
use crate::wire::iana::AfiSafi;

const IPV4: AfiSafi = FlowFamily::Ipv4Flow.afi_safi();
const IPV6: AfiSafi = FlowFamily::Ipv6Flow.afi_safi();

/// Families, enhanced refresh and four-octet AS: what every neighbor here announces.
const USUAL: &str = "0104 00010085 0104 00020085 0200 4600 4104 0000fe2e";

/// Restart time 120 s, IPv4 preserved, IPv6 not.
const GRACEFUL: &str = "400a 0078 00018580 00028500";

/// As [`GRACEFUL`], with support for NOTIFICATION.
const WITH_NOTIFICATION: &str = "400a 4078 00018580 00028500";

/// Long-lived: 1,000 s for IPv4, preserved; 86,400 s for IPv6.
const LONG_LIVED: &str = "470e 00018580 0003e8 00028500 015180";

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Everything is offered.
fn graceful() -> SessionConfig {
    SessionConfig {
        restart: RestartConfig {
            graceful: true,
            stale_max: secs(180),
            long_lived_max: secs(3600),
            hold: Duration::ZERO,
            restarting: false,
        },
        ..config()
    }
}

/// A session that is up with a neighbor that has these capabilities besides the usual ones.
fn up_with(config: SessionConfig, capabilities: &str) -> (Driven, ConnectionId) {
    let (mut driven, id) = Driven::in_state(config, State::OpenSent);
    driven.receive(id, &open_with(&format!("{USUAL} {capabilities}")));
    driven.receive(id, &keepalive());
    assert_eq!(driven.session.state(), State::Established);
    (driven, id)
}

/// The capabilities for restarts in the OPEN of a session's next connection.
fn offered(driven: &mut Driven) -> String {
    let (_, effects) = driven.accept();
    let open = effects.iter().find_map(|effect| match effect {
        Effect::Send(_, octets) => Some(hex::encode(octets)),
        _ => None,
    });
    let open = open.expect("an accepted connection begins with OPEN");
    let (start, end) = (open.find("06004").unwrap() + 4, open.rfind("4104").unwrap());
    open[start..end].to_owned()
}

#[test]
fn the_open_says_what_a_restart_has_left() {
    let restarted = |restarting, long_lived_max| SessionConfig {
        restart: RestartConfig {
            restarting,
            long_lived_max,
            ..graceful().restart
        },
        ..graceful()
    };
    let rows = [
        ("not offered", config(), "40020000", "40020000"),
        (
            "the first session of a process that found nothing",
            restarted(false, Duration::ZERO),
            "400a4078 00018500 00028500",
            "400a4078 00018580 00028580",
        ),
        (
            "after a restart that kept the rules",
            restarted(true, Duration::ZERO),
            "400ac078 00018580 00028580",
            "400a4078 00018580 00028580",
        ),
        (
            "long-lived",
            restarted(false, secs(3600)),
            "400a4078 00018500 00028500 470e 00018500000e10 00028500000e10",
            "400a4078 00018580 00028580 470e 00018580000e10 00028580000e10",
        ),
        (
            "longer than can be said",
            restarted(false, Duration::MAX),
            "400a4078 00018500 00028500 470e 00018500ffffff 00028500ffffff",
            "400a4078 00018580 00028580 470e 00018580ffffff 00028580ffffff",
        ),
    ];
    for (name, config, first, second) in rows {
        let mut driven = Driven::new(SessionConfig {
            passive: true,
            ..config.clone()
        });
        driven.feed(Input::Start);
        assert_eq!(offered(&mut driven), first.replace(' ', ""), "{name}");
        let (mut driven, id) = up_with(config, "");
        driven.feed(Input::Closed(id));
        assert_eq!(offered(&mut driven), second.replace(' ', ""), "{name}");
    }
}

#[test]
fn capabilities_are_negotiated_within_the_configured_bounds() {
    let entry = |family, time, preserved| NegotiatedLongLived {
        family,
        time: secs(time),
        preserved,
    };
    let usual = NegotiatedRestart {
        families: vec![IPV4, IPV6],
        time: secs(120),
        preserved: vec![IPV4],
        sends_end_of_rib: true,
        ..NegotiatedRestart::default()
    };
    let only_end_of_rib = NegotiatedRestart {
        sends_end_of_rib: true,
        ..NegotiatedRestart::default()
    };
    let rows: [(&str, SessionConfig, String, NegotiatedRestart); 10] = [
        (
            "no capability",
            graceful(),
            String::new(),
            NegotiatedRestart::default(),
        ),
        (
            "without families",
            graceful(),
            "4002 0000".into(),
            only_end_of_rib.clone(),
        ),
        ("not offered", config(), GRACEFUL.into(), only_end_of_rib),
        ("usual", graceful(), GRACEFUL.into(), usual.clone()),
        (
            "all flags and the longest time",
            graceful(),
            "400a cfff 00018580 00028500".into(),
            NegotiatedRestart {
                restarting: true,
                notification: true,
                time: secs(180),
                ..usual.clone()
            },
        ),
        (
            "families that are not in use, and one twice: the first counts",
            graceful(),
            "4012 0078 00010180 00028500 00028580 00028680".into(),
            NegotiatedRestart {
                families: vec![IPV6],
                preserved: vec![],
                ..usual.clone()
            },
        ),
        (
            "twice: the last counts",
            graceful(),
            format!("4002 0fff {GRACEFUL}"),
            usual.clone(),
        ),
        (
            "long-lived, bounded",
            graceful(),
            format!("{GRACEFUL} {LONG_LIVED}"),
            NegotiatedRestart {
                long_lived: vec![entry(IPV4, 1000, true), entry(IPV6, 3600, false)],
                ..usual.clone()
            },
        ),
        (
            "long-lived alone (RFC 9494 section 4.1)",
            graceful(),
            LONG_LIVED.into(),
            NegotiatedRestart::default(),
        ),
        (
            "long-lived with a time of 0, and a family that does not restart",
            graceful(),
            "4006 0078 00018580 470e 00018580 000000 00028500 015180".into(),
            NegotiatedRestart {
                families: vec![IPV4],
                ..usual
            },
        ),
    ];
    for (name, config, capabilities, expected) in rows {
        let (driven, _) = up_with(config, &capabilities);
        let negotiated = driven.session.negotiated().unwrap();
        assert_eq!(negotiated.restart, expected, "{name}");
    }
}

/// How a session ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Closed,
    HoldTimer,
    Received(u8, u8),
    Malformed,
    Stop(u8),
    Restarted,
}

#[test]
fn what_stays_depends_on_how_the_session_ends() {
    use End::*;
    // Restart in seconds, held in seconds, or nothing: without and with RFC 8538, without and with a hold of 60 s
    // (and no graceful restart at all).
    const NONE: Option<(Cause, u64)> = None;
    const GR: Option<(Cause, u64)> = Some((Cause::Restart, 120));
    const HOLD: Option<(Cause, u64)> = Some((Cause::Hold, 60));
    let rows = [
        ("connection lost", Closed, GR, GR, HOLD),
        ("silence", HoldTimer, NONE, GR, HOLD),
        ("another connection", Restarted, GR, GR, NONE),
        ("we send UPDATE message error", Malformed, NONE, GR, HOLD),
        ("we stop: shutdown", Stop(2), NONE, NONE, NONE),
        ("we stop: de-configured", Stop(3), NONE, NONE, NONE),
        ("we stop: configuration change", Stop(6), NONE, GR, NONE),
        ("it shuts down", Received(6, 2), NONE, GR, NONE),
        ("it does not want us", Received(6, 3), NONE, GR, NONE),
        ("it resets", Received(6, 4), NONE, GR, HOLD),
        ("it has no resources", Received(6, 8), NONE, GR, HOLD),
        ("it resets hard", Received(6, 9), NONE, NONE, NONE),
        ("its hold timer", Received(4, 0), NONE, GR, HOLD),
        ("its state machine", Received(5, 3), NONE, GR, HOLD),
    ];
    for (name, end, plain, with_notification, held) in rows {
        let mut hold = config();
        hold.restart.hold = secs(60);
        let neighbors = [
            (graceful(), GRACEFUL, plain),
            (graceful(), WITH_NOTIFICATION, with_notification),
            (hold, "", held),
        ];
        for (config, capabilities, expected) in neighbors {
            let (mut driven, id) = up_with(config, capabilities);
            let effects = match end {
                Closed => driven.feed(Input::Closed(id)),
                HoldTimer => driven.wait(secs(91)),
                Received(code, subcode) => driven.receive(id, &notification(code, subcode)),
                Malformed => driven.receive(id, &message(2, "0000 0001 00")),
                Stop(subcode) => driven.feed(Input::Stop {
                    subcode,
                    message: String::new(),
                }),
                Restarted if expected.is_none() => {
                    assert_eq!(summary(&driven.accept().1), "6/7; close; collision");
                    continue;
                }
                Restarted => {
                    let (other, mut effects) = driven.accept();
                    effects.extend(driven.receive(other, &open_with(USUAL)));
                    effects.extend(driven.receive(other, &keepalive()));
                    effects
                }
            };
            let down = effects.iter().find_map(|effect| match effect {
                Effect::Down(_, retained) => Some(retained.clone()),
                _ => None,
            });
            let expected: Vec<Retained> = expected
                .into_iter()
                .flat_map(|(cause, time)| {
                    [IPV4, IPV6].map(|family| Retained {
                        family,
                        cause,
                        time: secs(time),
                        at_most: secs(if cause == Cause::Restart { 180 } else { time }),
                        long_lived: Duration::ZERO,
                    })
                })
                .collect();
            assert_eq!(down, Some(expected), "{name}, {capabilities:?}");
        }
    }
}

#[test]
fn each_family_stays_for_its_own_time() {
    let config = SessionConfig {
        restart: RestartConfig {
            hold: secs(150),
            ..graceful().restart
        },
        ..graceful()
    };
    let capabilities = "4006 0078 00018580 4707 00018580 0003e8";
    let (mut driven, id) = up_with(config, capabilities);
    let effects = driven.feed(Input::Closed(id));
    let expected = vec![
        Retained {
            family: IPV4,
            cause: Cause::Restart,
            time: secs(150),
            at_most: secs(180),
            long_lived: secs(1000),
        },
        Retained {
            family: IPV6,
            cause: Cause::Hold,
            time: secs(150),
            at_most: secs(150),
            long_lived: Duration::ZERO,
        },
    ];
    assert_eq!(
        effects[0],
        Effect::Down(DownReason::ConnectionLost, expected)
    );
}

/// RFC 4724 §5, but that the old connection stays until the new one is up: who only knocks ends nothing.
#[test]
fn a_neighbor_that_has_restarted_replaces_its_connection() {
    let (mut driven, old) = up_with(graceful(), GRACEFUL);
    let (knock, effects) = driven.accept();
    assert_eq!(summary(&effects), "OPEN");
    assert_eq!(summary(&driven.feed(Input::Closed(knock))), "rejected");
    assert_eq!(driven.session.state(), State::Established);

    let (stranger, _) = driven.accept();
    let wrong = message(1, "04 fe2f 005a c0000201 08 02 06 0104 00010085");
    let effects = driven.receive(stranger, &wrong);
    assert_eq!(summary(&effects), "2/2; close; rejected");

    let (half, _) = driven.accept();
    let (new, effects) = driven.accept();
    assert_eq!(summary(&effects), "6/7; close; collision; OPEN");
    assert_ne!(half, new);
    let effects = driven.receive(new, &open_with(&format!("{USUAL} {GRACEFUL}")));
    assert_eq!(summary(&effects), "KEEPALIVE");
    assert_eq!(
        summary(&driven.receive(old, &keepalive())),
        "",
        "the old one is still up"
    );
    let effects = driven.receive(new, &keepalive());
    assert_eq!(
        summary(&effects),
        "close; down(replaced); up; UPDATE; UPDATE"
    );
    assert!(effects.contains(&Effect::Close(old)));
    assert_eq!(driven.session.statistics().ups, 2);
    assert_eq!(driven.session.statistics().downs, 1);
}

/// RFC 8538 §3.1: the reason stands in the hard reset.
#[test]
fn an_end_for_good_is_a_hard_reset_where_that_is_known() {
    let stop = |subcode| Input::Stop {
        subcode,
        message: "bye".into(),
    };
    let rows = [
        (GRACEFUL, 2, "6/2 03627965; close; down(stopped)"),
        (
            WITH_NOTIFICATION,
            2,
            "6/9 060203627965; close; down(stopped)",
        ),
        (WITH_NOTIFICATION, 3, "6/9 0603; close; down(stopped)"),
        (WITH_NOTIFICATION, 4, "6/4 03627965; close; down(stopped)"),
        (WITH_NOTIFICATION, 6, "6/6; close; down(stopped)"),
    ];
    for (capabilities, subcode, expected) in rows {
        let (mut driven, _) = up_with(graceful(), capabilities);
        let effects = driven.feed(stop(subcode));
        assert_eq!(summary(&effects), expected, "{capabilities} {subcode}");
    }
}

#[test]
fn markers_of_a_refresh_count_after_the_first_routes() {
    let refresh = |subtype: u8, family: &str| {
        message(5, &format!("{}{subtype:02x}{}", &family[..4], &family[4..]))
    };
    let end_of_rib = update("800f03 000185");
    let rows: [(&str, &str, &[Vec<u8>], &str); 9] = [
        (
            "request",
            GRACEFUL,
            &[refresh(0, "000185")],
            "refresh; ROUTE-REFRESH; ROUTE-REFRESH",
        ),
        (
            "request of another family",
            GRACEFUL,
            &[refresh(0, "000101")],
            "",
        ),
        (
            "markers before End-of-RIB",
            GRACEFUL,
            &[refresh(1, "000185"), refresh(2, "000185")],
            "",
        ),
        (
            "markers after it",
            GRACEFUL,
            &[
                end_of_rib.clone(),
                refresh(1, "000185"),
                refresh(2, "000185"),
            ],
            "update; refresh begins; refresh ends",
        ),
        (
            "markers of a neighbor without End-of-RIB",
            "",
            &[refresh(1, "000185"), refresh(2, "000185")],
            "refresh begins; refresh ends",
        ),
        (
            "an end without a beginning",
            "",
            &[refresh(2, "000185")],
            "",
        ),
        (
            "two ends",
            "",
            &[
                refresh(1, "000185"),
                refresh(2, "000185"),
                refresh(2, "000185"),
            ],
            "refresh begins; refresh ends",
        ),
        (
            "it begins anew",
            "",
            &[
                refresh(1, "000185"),
                refresh(1, "000185"),
                refresh(2, "000185"),
            ],
            "refresh begins; refresh begins; refresh ends",
        ),
        ("another subtype", "", &[refresh(3, "000185")], ""),
    ];
    for (name, capabilities, messages, expected) in rows {
        let (mut driven, id) = up_with(graceful(), capabilities);
        let effects = driven.receive(id, &messages.concat());
        assert_eq!(summary(&effects), expected, "{name}");
    }
    let (mut driven, id) = Driven::established(graceful());
    let effects = driven.receive(id, &[refresh(0, "000185"), refresh(1, "000185")].concat());
    assert_eq!(
        summary(&effects),
        "refresh",
        "a neighbor that knows no markers"
    );
}

//! Timers: hold, keepalive, connect retry, back-off.

use super::*;

/// An OPEN of the neighbor's with this hold time.
fn open_with_hold(secs: u16) -> Vec<u8> {
    message(
        1,
        &format!("04 fe2e {secs:04x} c0000201 08 02 06 0104 00010085"),
    )
}

/// A session that both sides gave these hold times.
fn established_with_hold(ours: u16, theirs: u16) -> (Driven, ConnectionId) {
    let config = SessionConfig {
        hold_time_secs: ours,
        ..config()
    };
    let (mut driven, id) = Driven::in_state(config, State::OpenSent);
    driven.receive(id, &open_with_hold(theirs));
    driven.receive(id, &keepalive());
    assert_eq!(driven.session.state(), State::Established);
    (driven, id)
}

/// How long a session that hears nothing stays up, in milliseconds; `None`: a day or more.
fn silence_survived(driven: &mut Driven) -> Option<u128> {
    let begin = driven.now;
    let day = Duration::from_secs(86400);
    while let Some(deadline) = driven.session.next_deadline().filter(|d| *d <= begin + day) {
        driven.now = deadline;
        driven.feed(Input::Tick);
        if driven.session.state() != State::Established {
            return Some((deadline - begin).as_millis());
        }
    }
    None
}

#[test]
fn the_smaller_hold_time_counts_and_zero_means_forever() {
    let rows: [(u16, u16, Option<u128>); 6] = [
        (90, 90, Some(90_000)),
        (90, 3, Some(3_000)),
        (3, 65535, Some(3_000)),
        (65535, 65535, Some(65_535_000)),
        (90, 0, None),
        (0, 90, None),
    ];
    for (ours, theirs, survived) in rows {
        let (mut driven, _) = established_with_hold(ours, theirs);
        assert_eq!(
            silence_survived(&mut driven),
            survived,
            "{ours} and {theirs}"
        );
    }
}

#[test]
fn a_neighbor_whose_octets_are_held_back_is_not_silent() {
    let (mut driven, _) = established_with_hold(90, 90);
    driven.wait(Duration::from_secs(60));
    driven.feed(Input::HeldBack);
    assert_eq!(silence_survived(&mut driven), Some(90_000));

    let (mut driven, _) = Driven::in_state(config(), State::OpenSent);
    let deadline = driven.session.next_deadline();
    driven.feed(Input::HeldBack);
    assert_eq!(
        driven.session.next_deadline(),
        deadline,
        "not up: nothing changes"
    );
}

#[test]
fn keepalive_and_update_restart_the_hold_timer_and_route_refresh_does_not() {
    let rows: [(&str, Vec<u8>, bool); 3] = [
        ("KEEPALIVE", keepalive(), true),
        ("UPDATE", update("800f03 000185"), true),
        ("ROUTE-REFRESH", message(5, "0001 00 85"), false),
    ];
    for (row, octets, restarts) in rows {
        let (mut driven, id) = established_with_hold(90, 90);
        driven.wait(Duration::from_secs(60));
        driven.receive(id, &octets);
        let expected = if restarts { 90_000 } else { 30_000 };
        assert_eq!(silence_survived(&mut driven), Some(expected), "{row}");
    }
}

#[test]
fn keepalives_go_out_three_times_in_a_hold_time() {
    let (mut driven, id) = established_with_hold(90, 90);
    let mut sent = Vec::new();
    for _ in 0..600 {
        let effects = driven.wait(Duration::from_secs(1));
        sent.extend(
            effects
                .into_iter()
                .filter(|effect| *effect == Effect::Send(id, keepalive())),
        );
        driven.receive(id, &keepalive());
    }
    assert!((20..=27).contains(&sent.len()), "{} in 600 s", sent.len());
}

#[test]
fn an_update_takes_the_place_of_a_keepalive() {
    let (mut driven, _) = established_with_hold(90, 90);
    driven.wait(Duration::from_secs(20));
    let update = crate::wire::update::Update {
        end_of_rib: Some(FlowFamily::Ipv4Flow.afi_safi()),
        ..Default::default()
    };
    assert_eq!(
        summary(&driven.feed(Input::SendUpdate(Box::new(update)))),
        "UPDATE"
    );
    assert_eq!(summary(&driven.wait(Duration::from_secs(20))), "");
    assert_eq!(summary(&driven.wait(Duration::from_secs(12))), "KEEPALIVE");
}

#[test]
fn without_a_hold_time_open_confirm_still_ends() {
    let (mut driven, id) = Driven::in_state(config(), State::OpenSent);
    driven.receive(id, &open_with_hold(0));
    assert_eq!(driven.session.state(), State::OpenConfirm);
    assert_eq!(summary(&driven.wait(Duration::from_secs(239))), "");
    assert_eq!(
        summary(&driven.wait(Duration::from_secs(1))),
        "4/0; close; rejected"
    );
}

#[test]
fn a_dial_without_an_answer_is_repeated_at_a_jittered_interval() {
    let mut driven = Driven::new(config());
    driven.feed(Input::Start);
    let effects = driven.wait(Duration::from_secs(1000));
    let dials = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Connect(_)))
        .count();
    assert!((100..=134).contains(&dials), "{dials} in 1000 s");
    let mut ids: Vec<ConnectionId> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Connect(id) => Some(*id),
            _ => None,
        })
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), dials, "every dial has its own number");
}

#[test]
fn protocol_errors_lengthen_the_stay_in_idle() {
    let mut driven = Driven::new(SessionConfig {
        passive: true,
        ..config()
    });
    driven.feed(Input::Start);
    for (round, longest_ms) in [1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]
        .iter()
        .enumerate()
    {
        let (id, _) = driven.accept();
        driven.receive(id, &message(4, "00"));
        assert_eq!(driven.session.state(), State::Idle, "round {round}");
        assert_eq!(
            summary(&driven.accept().1),
            "6/5; close; rejected",
            "round {round}"
        );
        driven.wait(Duration::from_millis(longest_ms * 3 / 4 - 1));
        assert_eq!(driven.session.state(), State::Idle, "round {round}");
        driven.wait(Duration::from_millis(longest_ms / 4 + 2));
        assert_eq!(driven.session.state(), State::Active, "round {round}");
    }
}

#[test]
fn the_operator_can_end_the_stay_in_idle() {
    let (mut driven, id) = Driven::in_state(config(), State::OpenSent);
    driven.receive(id, &keepalive());
    assert_eq!(driven.session.state(), State::Idle);
    assert_eq!(summary(&driven.feed(Input::Start)), "dial");
}

#[test]
fn a_session_that_flaps_is_not_dialed_at_once() {
    let (mut driven, id) = Driven::established(config());
    assert_eq!(summary(&driven.feed(Input::Closed(id))), "down(lost)");
    assert_eq!(driven.session.state(), State::Active);
    let (mut driven, id) = Driven::established(config());
    driven.wait(Duration::from_secs(20));
    assert_eq!(summary(&driven.feed(Input::Closed(id))), "down(lost); dial");
}

#[test]
fn a_retry_time_of_zero_does_not_spin() {
    let mut driven = Driven::new(SessionConfig {
        connect_retry: Duration::ZERO,
        ..config()
    });
    driven.feed(Input::Start);
    let effects = driven.wait(Duration::from_secs(100));
    let dials = effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Connect(_)))
        .count();
    assert!((100..=134).contains(&dials), "{dials} in 100 s");
}

/// RFC 9687 §3: the driver tells when the time is over.
#[test]
fn a_neighbor_that_takes_nothing_is_told_and_given_up() {
    for (state, expected) in [
        (State::OpenSent, "8/0; close; rejected"),
        (State::OpenConfirm, "8/0; close; rejected"),
        (State::Established, "8/0; close; down(send hold)"),
    ] {
        let (mut driven, id) = Driven::in_state(config(), state);
        let effects = driven.feed(Input::Stalled(id));
        assert_eq!(summary(&effects), expected, "{state:?}");
        assert_eq!(driven.session.state(), State::Active, "{state:?}");
        assert_eq!(summary(&driven.feed(Input::Stalled(id))), "");
        assert_eq!(summary(&driven.feed(Input::Closed(id))), "");
    }
}

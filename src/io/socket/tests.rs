use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::io::connection::{self, Target};

/// How long a connection that must come about may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection that must not come about is waited for.
const SILENCE: Duration = Duration::from_millis(700);

/// A password.
fn password(text: &str) -> Password {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Password::read(file.path()).unwrap()
}

/// A neighbor at one of our own addresses.
fn target(remote: SocketAddr, distance: Distance, md5: Option<&str>) -> Target {
    let transport = Transport {
        md5: md5.map(password),
        distance,
        ..Transport::default()
    };
    Target {
        remote,
        local: None,
        transport,
    }
}

/// Dials it.
async fn dial(target: &Target) -> io::Result<TcpStream> {
    connection::dial(target, PATIENCE).await
}

/// Runs a test that waits.
fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

/// A listening socket of ours on loopback, and where it is.
fn listening(family: &str) -> (TcpListener, SocketAddr) {
    let socket = to_listen(format!("{family}:0").parse().unwrap(), None, false).unwrap();
    let listener = TcpListener::from_std(socket.into()).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn passwords_and_prefixes() {
    let rows = [
        ("the same", "127.0.0.1", "127.0.0.1/32", Some("a"), true),
        ("another", "127.0.0.1", "127.0.0.1/32", Some("b"), false),
        ("none", "127.0.0.1", "127.0.0.1/32", None, false),
        ("of a prefix", "127.0.0.1", "127.0.0.0/8", Some("a"), true),
        ("none, of a prefix", "127.0.0.1", "127.0.0.0/8", None, false),
        (
            "none, not in the prefix",
            "127.0.0.1",
            "192.0.2.0/24",
            None,
            true,
        ),
        ("the same, IPv6", "[::1]", "::1/128", Some("a"), true),
        ("another, IPv6", "[::1]", "::1/128", Some("b"), false),
        ("of a prefix, IPv6", "[::1]", "::/64", Some("a"), true),
    ];
    for (name, family, prefix, password, reaches) in rows {
        block_on(async {
            let (listener, address) = listening(family);
            let socket = SockRef::from(&listener);
            sign(&socket, prefix.parse().unwrap(), Some(&self::password("a"))).unwrap();
            let target = target(address, Distance::Any, password);
            let dialed = timeout(SILENCE, dial(&target)).await;
            assert_eq!(dialed.is_ok_and(|result| result.is_ok()), reaches, "{name}");
        });
    }
}

#[test]
fn a_password_is_taken_away_again() {
    block_on(async {
        let (listener, address) = listening("127.0.0.1");
        let socket = SockRef::from(&listener);
        let without = target(address, Distance::Any, None);
        sign(&socket, address.ip().into(), Some(&password("a"))).unwrap();
        sign(&socket, address.ip().into(), None).unwrap();
        let dialed = timeout(PATIENCE, dial(&without)).await;
        dialed.unwrap().unwrap();
    });
}

#[test]
fn ttl_is_sent_and_checked() {
    let rows = [
        ("on the link", "127.0.0.1", 255, Distance::Secured(1), true),
        (
            "one hop less",
            "127.0.0.1",
            254,
            Distance::Secured(1),
            false,
        ),
        (
            "one hop allowed",
            "127.0.0.1",
            254,
            Distance::Secured(2),
            true,
        ),
        ("far away", "127.0.0.1", 64, Distance::Secured(1), false),
        ("not asked for", "127.0.0.1", 1, Distance::Any, true),
        (
            "on the link, IPv6",
            "[::1]",
            255,
            Distance::Secured(1),
            true,
        ),
        ("far away, IPv6", "[::1]", 64, Distance::Secured(1), false),
    ];
    for (name, family, ttl, wanted, passes) in rows {
        block_on(async {
            let (listener, address) = listening(family);
            let target = target(address, Distance::AtMost(ttl), None);
            let (dialed, accepted) = tokio::join!(dial(&target), listener.accept());
            let (_dialed, (stream, _)) = (dialed.unwrap(), accepted.unwrap());
            let checked = check_distance(&stream, wanted);
            assert_eq!(checked.is_ok(), passes, "{name}: {checked:?}");
            if let Err(reason) = checked {
                assert!(reason.contains(&format!("TTL {ttl}")), "{name}: {reason}");
            }
        });
    }
}

#[test]
fn a_dialed_neighbor_must_be_near_too() {
    block_on(async {
        // Like one that does not know of TTL security: its packets have TTL 64.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = target(address, Distance::Secured(1), None);
        let dialed = timeout(SILENCE, dial(&target)).await;
        assert!(dialed.is_err(), "its answers are not taken: {dialed:?}");
    });
}

#[test]
fn options_of_every_connection() {
    for family in ["127.0.0.1", "[::1]"] {
        block_on(async {
            let (listener, address) = listening(family);
            let target = target(address, Distance::AtMost(7), None);
            let (dialed, accepted) = tokio::join!(dial(&target), listener.accept());
            let (dialed, (accepted, _)) = (dialed.unwrap(), accepted.unwrap());
            let transport = &target.transport;
            prepare(SockRef::from(&accepted), address.ip(), transport, PATIENCE).unwrap();
            for stream in [&dialed, &accepted] {
                let socket = SockRef::from(stream);
                let (ttl, class) = match address.is_ipv4() {
                    true => (socket.ttl_v4().unwrap(), socket.tos_v4().unwrap()),
                    false => (
                        socket.unicast_hops_v6().unwrap(),
                        socket.tclass_v6().unwrap(),
                    ),
                };
                assert_eq!((ttl, class), (7, 0xc0), "{family}");
                assert!(socket.tcp_nodelay().unwrap());
                assert!(socket.keepalive().unwrap());
                // A little more where we give up first, with a last word.
                assert!(socket.tcp_user_timeout().unwrap() >= Some(PATIENCE));
            }
        });
    }
}

#[test]
fn a_port_is_shared_with_ourselves_only() {
    block_on(async {
        let (_first, address) = listening("0.0.0.0");
        let again = to_listen(address, None, false);
        let error = again.map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let bound = to_listen(address, Some("lo"), true).unwrap();
        let bound = TcpListener::from_std(bound.into()).unwrap();
        // What comes by the interface goes to the socket that is bound to it.
        let local = SocketAddr::from(([127, 0, 0, 1], address.port()));
        let target = target(local, Distance::Any, None);
        let both = async { tokio::join!(dial(&target), bound.accept()) };
        let (dialed, accepted) = timeout(PATIENCE, both).await.unwrap();
        dialed.unwrap();
        accepted.unwrap();
    });
}

//! `[[neighbor]]`: who is accepted, and how.

use super::*;

/// The errors of `BASE` with a neighbor with these lines; line 6 is the first of them.
fn neighbor_errors(lines: &str) -> Vec<String> {
    errors(&format!("{BASE}\n[[neighbor]]\n{lines}\n"))
}

#[test]
fn longest_prefix_decides() {
    let config = Config::parse(&format!(
        "{BASE}\
         [[neighbor]]\naddress = \"10.0.0.0/8\"\nremote_as = 1\n\
         [[neighbor]]\naddress = \"10.1.1.1\"\nremote_as = 2\n\
         [[neighbor]]\naddress = \"10.1.0.0/16\"\nremote_as = 3\n"
    ))
    .unwrap();
    let rows = [
        ("host", "10.1.1.1", Some(2)),
        ("long prefix", "10.1.1.2", Some(3)),
        ("short prefix", "10.2.1.1", Some(1)),
        ("stranger", "11.0.0.1", None),
        ("stranger of the other family", "2001:db8::1", None),
    ];
    for (name, address, remote_as) in rows {
        let found = config.neighbor_for(address.parse().unwrap());
        assert_eq!(
            found.map(|neighbor| neighbor.remote_as),
            remote_as,
            "{name}"
        );
    }
}

#[test]
fn bad_neighbor() {
    let v4 = "address = \"192.0.2.1\"\nremote_as = 1\n";
    let rows = [
        (
            "no address",
            "remote_as = 1".to_owned(),
            "5:1 neighbor[0].address: is missing",
        ),
        (
            "unspecified",
            "address = \"0.0.0.0\"\nremote_as = 1".into(),
            "6:11 neighbor[0].address: 0.0.0.0 is not an address that a neighbor can have",
        ),
        (
            "link-local",
            "address = \"fe80::1\"\nremote_as = 1".into(),
            "6:11 neighbor[0].address: fe80::1 is a link-local address, which says nothing \
             without `interface`",
        ),
        (
            "name",
            "address = \"rr1.example\"\nremote_as = 1".into(),
            "6:11 neighbor[0].address: \"rr1.example\" is neither an address nor a prefix",
        ),
        (
            "active with a prefix",
            "address = \"192.0.2.0/24\"\nremote_as = 1\npassive = false".into(),
            "8:11 neighbor[0].passive: 192.0.2.0/24 is a prefix: flowacl cannot dial it, only \
             be dialed",
        ),
        (
            "no families",
            format!("{v4}families = []"),
            "8:12 neighbor[0].families: is empty: the session would carry no routes",
        ),
        (
            "family twice",
            format!("{v4}families = [\"ipv4-flow\", \"ipv4-flow\"]"),
            "8:26 neighbor[0].families[1]: stands here twice",
        ),
        (
            "wrong type in a list",
            format!("{v4}families = [4]"),
            "8:13 neighbor[0].families[0]: must be a string, not an integer",
        ),
        (
            "port",
            format!("{v4}port = 65536"),
            "8:8 neighbor[0].port: 65536 is not in the range 1 to 65535",
        ),
        (
            "hold time",
            format!("{v4}hold_time_secs = 1"),
            "8:18 neighbor[0].hold_time_secs: 1 is neither 0 nor at least 3 (RFC 4271 section \
             4.2)",
        ),
        (
            "local address of another family",
            format!("{v4}local_address = \"::1\""),
            "8:17 neighbor[0].local_address: ::1 and the neighbor's address 192.0.2.1 are of \
             different families",
        ),
        (
            "empty password",
            format!("{v4}md5_password = \"\""),
            "8:16 neighbor[0].md5_password: the password is empty",
        ),
        (
            "long password",
            format!("{v4}md5_password = \"{}\"", "x".repeat(81)),
            "8:16 neighbor[0].md5_password: the password has 81 octets; TCP takes 80",
        ),
        (
            "password file with a relative path",
            format!("{v4}md5_password_file = \"secret\""),
            "8:21 neighbor[0].md5_password_file: secret is not an absolute path",
        ),
        (
            "no password file",
            format!("{v4}md5_password_file = \"/nonexistent/secret\""),
            "8:21 neighbor[0].md5_password_file: cannot read /nonexistent/secret: No such file \
             or directory (os error 2)",
        ),
        (
            "near and far",
            format!("{v4}ttl_security = 1\nmultihop = 2"),
            "9:12 neighbor[0].multihop: ttl_security says already how far away the neighbor \
             may be (RFC 5082)",
        ),
        (
            "hops",
            format!("{v4}ttl_security = 255"),
            "8:16 neighbor[0].ttl_security: 255 is not in the range 1 to 254",
        ),
        (
            "a prefix's password that the kernel would demand",
            format!(
                "{v4}[[neighbor]]\naddress = \"192.0.2.0/24\"\nremote_as = 1\nmd5_password = \"a\""
            ),
            "6:11 neighbor[0].address: lies in 192.0.2.0/24, whose MD5 password the kernel would demand \
             here, too: give it a password of its own",
        ),
        (
            "several interfaces",
            format!("{v4}interface = \"swp*\""),
            "8:13 neighbor[0].interface: \"swp*\" is not the name of one interface",
        ),
        (
            "nowhere to connect to",
            format!("{v4}listen = []"),
            "8:10 neighbor[0].listen: is empty: the neighbor could not connect",
        ),
        (
            "passive as text",
            format!("{v4}passive = \"no\""),
            "8:11 neighbor[0].passive: must be true or false, not a string",
        ),
        (
            "import is no table",
            format!("{v4}import = []"),
            "8:10 neighbor[0].import: must be a table, as in [import], not an array",
        ),
    ];
    for (name, lines, error) in rows {
        assert_eq!(neighbor_errors(&lines), [error], "{name}");
    }
}

#[test]
fn a_passive_neighbor_needs_a_listener() {
    let rows = [
        (
            "none",
            "listen = []",
            "the neighbor is passive, but bgp.listen is empty: nobody would ever connect",
        ),
        (
            "other family",
            "listen = [\"[::1]:179\"]",
            "the neighbor is passive, but no address to listen on is IPv4: it could not connect",
        ),
    ];
    for (name, listen, reason) in rows {
        let text = format!("{BASE}{listen}\n[[neighbor]]\naddress = \"1.2.3.4\"\nremote_as = 1\n");
        assert_eq!(
            errors(&text),
            [format!("6:11 neighbor[0].address: {reason}")],
            "{name}"
        );
        let active = format!("{text}passive = false\n");
        assert!(
            Config::parse(&active).is_ok(),
            "{name}: an active neighbor needs none"
        );
    }
}

#[test]
fn restarts() {
    let rows = [
        ("", 120, OnStop::Remove),
        (
            "restart_secs = 0\non_stop = \"remove\"\n",
            0,
            OnStop::Remove,
        ),
        (
            "restart_secs = 300\non_stop = \"keep\"\n",
            300,
            OnStop::Keep,
        ),
    ];
    for (lines, secs, on_stop) in rows {
        let config = Config::parse(&format!("{BASE}[dataplane]\n{lines}")).unwrap();
        assert_eq!(config.dataplane.restart.as_secs(), secs, "{lines}");
        assert_eq!(config.dataplane.on_stop, on_stop, "{lines}");
    }
}

#[test]
fn a_password_comes_from_a_file_that_is_not_for_everybody() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("md5");
    let text = format!(
        "{BASE}[[neighbor]]\naddress = \"192.0.2.1\"\nremote_as = 1\nmd5_password_file = {path:?}\n"
    );
    let rows = [
        ("a line", "rosebud\n", 0o640, Ok("rosebud")),
        ("no line", "rosebud", 0o600, Ok("rosebud")),
        (
            "lines of another system",
            "rose bud\r\nmore",
            0o600,
            Ok("rose bud"),
        ),
        ("nothing", "\n", 0o600, Err("the password is empty")),
        (
            "for everybody",
            "rosebud\n",
            0o644,
            Err("everybody may use"),
        ),
    ];
    for (name, content, mode, wanted) in rows {
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        match (Config::parse(&text), wanted) {
            (Ok(config), Ok(password)) => {
                let md5 = config.neighbors[0].transport.md5.as_ref().unwrap();
                assert_eq!(md5.octets(), password.as_bytes(), "{name}");
                assert!(!format!("{config:?}").contains(password), "{name}: shown");
            }
            (Err(errors), Err(reason)) => {
                assert!(errors.to_string().contains(reason), "{name}: {errors}");
            }
            (found, _) => panic!("{name}: {found:?}"),
        }
    }
}

#[test]
fn how_far_a_neighbor_may_be() {
    let rows = [
        ("another AS", 65070, "", Distance::AtMost(1)),
        ("our AS", 65140, "", Distance::Any),
        ("some hops", 65070, "multihop = 5", Distance::AtMost(5)),
        (
            "some hops in our AS",
            65140,
            "multihop = 5",
            Distance::AtMost(5),
        ),
        (
            "on the link, proven",
            65070,
            "ttl_security = 1",
            Distance::Secured(1),
        ),
    ];
    for (name, remote_as, line, distance) in rows {
        let text = format!(
            "{BASE}[[neighbor]]\naddress = \"192.0.2.1\"\nremote_as = {remote_as}\n{line}\n\
             [[neighbor]]\naddress = \"192.0.2.0/24\"\nremote_as = 1\n"
        );
        let config = Config::parse(&text).unwrap();
        assert_eq!(config.neighbors[0].transport.distance, distance, "{name}");
    }
}

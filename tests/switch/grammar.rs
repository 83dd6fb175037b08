//! The stand-in itself: it takes what the documentation has, and nothing else.

use std::fs;
use std::process::Command;

use crate::scene::{Switch, has_python};

/// What the tool prints about a policy file.
fn install(switch: &Switch, file: &str) -> String {
    fs::write(&switch.options.policy_file, file).unwrap();
    let output = Command::new(&switch.options.tool)
        .arg("-i")
        .output()
        .unwrap();
    assert!(output.status.success(), "its exit code tells nothing");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8(text).unwrap()
}

#[test]
fn the_stand_in_takes_what_is_documented() {
    if !has_python() {
        return;
    }
    let five = Switch::new("spectrum1", false);
    let four = Switch::new("trident3", false);
    let mangle = "-t mangle -A PREROUTING -i swp+";
    let taken = [
        (&five, format!("{mangle} -p tcp --dport 80 -j DROP")),
        (
            &five,
            format!("{mangle} -p udp -m multiport --dports 1:2,5:6,7 -j DROP"),
        ),
        (
            &five,
            format!("{mangle} -p tcp --tcp-flags SYN,ACK NONE -j ACCEPT"),
        ),
        (
            &five,
            format!("{mangle} -f -m dscp --dscp 46 -j DSCP --set-dscp 10"),
        ),
        (
            &five,
            format!("{mangle} -j POLICE --set-mode KB --set-rate 10 --set-burst 64"),
        ),
        (&five, "-A INPUT -i swp+ -j SETCLASS --class 2".into()),
        (
            &four,
            "-A INPUT,FORWARD -i swp1,swp2 -s 10.0.0.0/8,172.16.0.0/12 -j DROP".into(),
        ),
        (&four, "-A FORWARD -i bond+ -j SETQOS --set-dscp 10".into()),
    ];
    for (switch, line) in &taken {
        let text = install(switch, &format!("[iptables]\n{line}\n"));
        assert!(text.ends_with("done.\n"), "{line}: {text}");
    }
    let variables = "IN = swp+\nCHAIN = \"INPUT,FORWARD\"\n[iptables]\n-A $CHAIN -i $IN -j DROP\n";
    assert!(install(&four, variables).ends_with("done.\n"));
    assert_eq!(four.hardware().len(), 2);
    let refused = [
        (
            &five,
            format!("{mangle} ! -s 10.0.0.0/8 -j DROP"),
            "inverse",
        ),
        (
            &five,
            format!("{mangle} -m length --length 1:5 -j DROP"),
            "length is not supported",
        ),
        (
            &five,
            format!("{mangle} -j RETURN"),
            "RETURN is not supported",
        ),
        (
            &five,
            format!("{mangle} -j OTHER"),
            "OTHER is not supported",
        ),
        (
            &five,
            format!(
                "{mangle} -p tcp -m multiport --dports 1:2,3:4,5:6,7:8,9:10,11:12,13:14,15:16 -j DROP"
            ),
            "too many ports",
        ),
        (
            &five,
            format!("{mangle} --dport 80 -j DROP"),
            "unknown option",
        ),
        (
            &five,
            format!("{mangle} -p tcp --dport 9:1 -j DROP"),
            "min > max",
        ),
        (
            &five,
            format!("{mangle} -p tcp --tcp-flags SYN,ECE SYN -j DROP"),
            "Unknown TCP flag",
        ),
        (
            &five,
            format!("{mangle} -j POLICE --set-mode KB --set-rate 0 --set-burst 64"),
            "bad value",
        ),
        (
            &five,
            format!("{mangle} -j POLICE --set-rate 5"),
            "is missing",
        ),
        (
            &five,
            "-A FORWARD -i swp+ -j DROP".into(),
            "is not in hardware",
        ),
        (
            &four,
            "-A FORWARD -i swp+ -j DSCP --set-dscp 10".into(),
            "only valid in mangle",
        ),
        (
            &five,
            "-A INPUT -o swp1 -j DROP".into(),
            "output interface specified with INPUT chain",
        ),
        (
            &five,
            "-t mangle -A POSTROUTING -p tcp --dport 1:2 -j DROP".into(),
            "for ingress only",
        ),
        (&five, "-A INPUT -i vlan+ -j DROP".into(), "wildcard"),
        (&five, "-A INPUT -i $X -j DROP".into(), "undefined variable"),
    ];
    for (switch, line, words) in &refused {
        let text = install(switch, &format!("[iptables]\n{line}\n"));
        let quoted = format!("error processing rule '{line}'");
        assert!(
            text.contains(words) && text.contains(&quoted),
            "{line}: {text}"
        );
        assert!(!text.contains("done."), "{line}: {text}");
    }
    assert!(install(&five, "-A INPUT -j DROP\n").contains("outside of a section"));
    // Range checkers are shared by equal ranges.
    let ranges = |count: u32| -> String {
        let line = |n| {
            format!(
                "{mangle} -p tcp --dport {}:{} -j DROP\n",
                n % count,
                1000 + n % count
            )
        };
        std::iter::once("[iptables]\n".to_string())
            .chain((0..40).map(line))
            .collect()
    };
    assert!(install(&five, &ranges(16)).ends_with("done.\n"));
    let text = install(&five, &ranges(17));
    assert!(
        text.contains("No More Resources") && text.contains("Rolling back .. failed."),
        "{text}"
    );
    assert_eq!(five.hardware().len(), 40, "as before");
}

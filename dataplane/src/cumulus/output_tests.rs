use super::*;
use crate::cumulus::line::Target;
use crate::rule::AddressPattern;

fn run(code: i32, text: &str) -> Run {
    Run {
        code: Some(code),
        text: text.into(),
    }
}

#[test]
fn success_is_what_everything_agrees_on() {
    let done = "Reading rule file /etc/cumulus/acl/policy.d/40_flowacl.rules ...\nInstalling acl policy\ndone.\n";
    let virtual_switch =
        "warning: Detected platform is Cumulus VX\nInstalling acl policy ... Done.\n";
    let full =
        "error: hw sync failed (Bulk counter init failed with No More Resources). Rolling back ..";
    let quoted = "error: line 2 : output interface specified with INPUT chain error processing rule '-A INPUT -o swp1 -j DROP'";
    let silent_failure = "Installing acl policy... Rolling back .. failed.\n";
    let rows = [
        ("done", run(0, done), Request::Install, Ok(())),
        (
            "done, on another platform",
            run(0, virtual_switch),
            Request::Install,
            Ok(()),
        ),
        (
            "nothing said",
            run(0, ""),
            Request::Install,
            Err("it did not say that it is done"),
        ),
        (
            "nothing said of a listing",
            run(0, ""),
            Request::List,
            Ok(()),
        ),
        (
            "an error without exit code",
            run(0, full),
            Request::Install,
            Err(full),
        ),
        (
            "an error behind done",
            run(0, &format!("{done}{full}")),
            Request::Install,
            Err(full),
        ),
        (
            "an error of a trial",
            run(0, quoted),
            Request::DryRun,
            Err(quoted),
        ),
        (
            "a rollback without error",
            run(0, silent_failure),
            Request::Install,
            Err("Installing acl policy... Rolling back .. failed."),
        ),
        (
            "an exit code without error",
            run(2, "usage: cl-acltool\n\n"),
            Request::Install,
            Err("exit code 2: usage: cl-acltool"),
        ),
        (
            "a crash",
            run(
                0,
                &format!("{done}Traceback (most recent call last):\n  File \"x\"\nKeyError: 1"),
            ),
            Request::DryRun,
            Err("it crashed: KeyError: 1"),
        ),
        (
            "a signal",
            Run {
                code: None,
                text: done.into(),
            },
            Request::Install,
            Err("it was ended by a signal"),
        ),
    ];
    for (name, run, request, expected) in rows {
        let outcome = run.outcome(request).map_err(|failure| failure.reason);
        assert_eq!(outcome, expected.map_err(str::to_string), "{name}");
    }
    let failure = run(0, quoted).outcome(Request::Install).unwrap_err();
    assert_eq!(failure.line.as_deref(), Some("-A INPUT -o swp1 -j DROP"));
    let warnings = run(0, virtual_switch).warnings();
    assert_eq!(warnings, ["Detected platform is Cumulus VX"]);
}

const LISTING: &str = "\
-------------------------------
Listing rules of type iptables:
-------------------------------

TABLE filter :
Chain PREROUTING (policy ACCEPT 5 packets, 500 bytes)
    pkts      bytes target     prot opt in     out     source               destination
       9       90 DROP       17   --  swp+   *       0.0.0.0/0            203.0.113.5

TABLE mangle :
Chain PREROUTING (policy ACCEPT 5 packets, 500 bytes)
    pkts      bytes target     prot opt in     out     source               destination
       1       10 POLICE     udp  --  swp+   *       0.0.0.0/0            203.0.113.5          udp dpt:53
       2       20 DROP       17   --  swp+   *       0.0.0.0/0            203.0.113.5
       3       30 DROP       all  -f  swp+   *       10.0.0.0/8           0.0.0.0/0
       4       40 ACCEPT     6    --  swp+   *       0.0.0.0/0            0.0.0.0/0
Chain POSTROUTING (policy ACCEPT 5 packets, 500 bytes)
    pkts      bytes target     prot opt in     out     source               destination
       8       80 DROP       17   --  swp+   *       0.0.0.0/0            203.0.113.5
";

fn line(target: Target, change: impl FnOnce(&mut Entry)) -> Line {
    let mut entry = Entry::everything(Family::Ipv4);
    change(&mut entry);
    Line {
        entry,
        multiport: None,
        interface: "swp+".into(),
        target,
    }
}

fn prefix_of(octets: [u8; 4], length: u8) -> Option<AddressPattern> {
    let bits = u128::from(u32::from_be_bytes(octets)) << 96;
    Some(AddressPattern::new(bits, 0, length))
}

#[test]
fn our_lines_are_found_among_those_of_others() {
    let listed = chain(LISTING, Release::Five).unwrap();
    assert_eq!(listed.len(), 4);
    assert_eq!(chain(LISTING, Release::Four), None);
    let udp = line(Target::Drop, |entry| {
        entry.protocol = Some(17);
        entry.destination = prefix_of([203, 0, 113, 5], 32);
    });
    let fragments = line(Target::Drop, |entry| {
        entry.source = prefix_of([10, 0, 0, 0], 8);
        entry.later_fragment = true;
    });
    let tcp = line(Target::Drop, |entry| entry.protocol = Some(6));
    let packets = |ours: &[&Line]| {
        let counters = counters(&listed, ours, Release::Five);
        counters.map(|counters| counters.iter().map(|it| it.packets).collect::<Vec<_>>())
    };
    assert_eq!(packets(&[&udp, &fragments]), Some(vec![2, 3]));
    assert_eq!(packets(&[]), Some(vec![]));
    assert_eq!(packets(&[&fragments, &udp]), None, "in another order");
    assert_eq!(packets(&[&tcp]), None, "another target");
}

#[test]
fn columns_of_ipv6_may_be_empty() {
    let row = "  7  700 DROP  icmpv6     swp+  *  ::/0  2001:db8::5  ipv6-icmptype 135";
    let listed = listed(row).unwrap();
    assert_eq!(listed.counter.packets, 7);
    assert_eq!(listed.print.interface, "swp+");
    assert_eq!(listed.print.destination, "2001:db8::5");
    assert_eq!(
        super::listed("pkts bytes target prot opt in out source destination"),
        None
    );
}

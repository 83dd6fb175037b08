use super::*;
use crate::desired::Settings;
use crate::rule::{Action, Background, Label, Match, OrderKey};
use crate::tcam::profile::cumulus;
use std::fmt;
use std::sync::Arc;

/// A label with a memo.
struct Remembered(&'static str, Vec<u8>);

impl fmt::Display for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Background for Remembered {
    fn memo(&self) -> Vec<u8> {
        self.1.clone()
    }
}

fn rule(id: u64, family: Family, text: &'static str, memo: Vec<u8>) -> Arc<Rule> {
    let order = OrderKey::from(id.to_be_bytes());
    Arc::new(Rule {
        id: RuleId(id),
        family,
        tier: order.clone(),
        order,
        label: Label::new(Remembered(text, memo)),
        matches: Match::default(),
        action: Action {
            discard: true,
            ..Action::default()
        },
    })
}

fn file(suspended: bool, rules: &[Arc<Rule>]) -> String {
    let options = Options::new(cumulus("spectrum1").unwrap());
    let settings = Settings {
        suspended,
        ..Settings::default()
    };
    let plan = Plan::new(&options, &settings, &[], rules, |_| false).unwrap();
    write(&plan, &options)
}

#[test]
fn a_file_has_all_rules_and_what_a_later_process_needs() {
    let rules = [
        rule(
            7,
            Family::Ipv4,
            "destination 203.0.113.5/32; then\n\"discard\" $X",
            vec![0, 255],
        ),
        rule(
            9,
            Family::Ipv6,
            "source 2001:db8::/32; then discard",
            vec![],
        ),
    ];
    let text = file(false, &rules);
    assert_eq!(
        text,
        "# Written by flowacl, which replaces it at every change and notices changes by others.\n\
         # For Spectrum with the TCAM profile default and Cumulus Linux 5.\n\
         # Entries for IPv4: 1 of 500; for IPv6: 5 of 250; port range checkers: 0 of 16.\n\
         \n\
         [iptables]\n\
         # rule r7 destination 203.0.113.5/32; then?\"discard\" ?X\n\
         # memo 00ff\n\
         -t mangle -A PREROUTING -i swp+ -j DROP\n\
         \n\
         [ip6tables]\n\
         # Not touched: IPv6 neighbor discovery\n\
         -t mangle -A PREROUTING -i swp+ -p icmpv6 --icmpv6-type 133 -m hl --hl-eq 255 -j ACCEPT\n\
         -t mangle -A PREROUTING -i swp+ -p icmpv6 --icmpv6-type 134 -m hl --hl-eq 255 -j ACCEPT\n\
         -t mangle -A PREROUTING -i swp+ -p icmpv6 --icmpv6-type 135 -m hl --hl-eq 255 -j ACCEPT\n\
         -t mangle -A PREROUTING -i swp+ -p icmpv6 --icmpv6-type 136 -m hl --hl-eq 255 -j ACCEPT\n\
         # rule r9 source 2001:db8::/32; then discard\n\
         -t mangle -A PREROUTING -i swp+ -j DROP\n\
         \n\
         # end of flowacl's rules\n"
    );
    let expected = [
        Recovered {
            id: RuleId(7),
            memo: vec![0, 255],
        },
        Recovered {
            id: RuleId(9),
            memo: vec![],
        },
    ];
    assert_eq!(recovered(&text), expected);
    assert_eq!(
        recovered(&file(true, &rules)),
        expected,
        "suspended, but not forgotten"
    );
    assert!(!file(true, &rules).contains("DROP"));
    for length in 0..text.len() - 1 {
        assert_eq!(recovered(&text[..length]), [], "cut after {length} octets");
    }
    assert_eq!(recovered(&text.replace("# memo 00ff", "# memo 0xf")), {
        let mut expected = expected.to_vec();
        expected[0].memo.clear();
        expected
    });
}

#[test]
fn comments_are_short() {
    let long: &'static str = "x".repeat(10_000).leak();
    let text = file(false, &[rule(1, Family::Ipv4, long, vec![])]);
    assert!(text.lines().all(|line| line.len() < 500));
}

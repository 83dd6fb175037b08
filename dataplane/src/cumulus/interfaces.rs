//! Which interfaces the lines of a rule are for.

use crate::desired::InterfacePattern;
use crate::rule::Match;

/// The interfaces that are filtered, each by one name.
pub fn filtered(patterns: &[InterfacePattern]) -> Result<Vec<String>, String> {
    let names: Vec<String> = patterns.iter().map(interface).collect::<Result<_, _>>()?;
    let mut kept: Vec<String> = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        let mut others = names.iter().enumerate().filter(|(at, _)| *at != index);
        // Of equal names the first stays.
        if !others.any(|(at, other)| covers(other, name) && (other != name || at < index)) {
            kept.push(name.clone());
        }
    }
    Ok(kept)
}

/// The interfaces of a rule: those of its set that are filtered, or all that are. None where nothing of its set is.
///
/// Fails for an interface that `*` in the settings seems to cover and does not, as it is all front panel ports: guards, and
/// the rules without a set that come before this one, have no lines for it.
pub fn of_rule(patterns: &[InterfacePattern], matches: &Match) -> Result<Vec<String>, String> {
    let Some(set) = &matches.rare.interfaces else {
        return filtered(patterns);
    };
    let patterns_without_all: Vec<InterfacePattern> = patterns
        .iter()
        .map(|pattern| match is_all(pattern) {
            true => InterfacePattern::new("swp*").expect("a name and a star are a pattern"),
            false => pattern.clone(),
        })
        .collect();
    let is_covered = |own: &InterfacePattern| {
        let mut others = patterns_without_all.iter();
        is_all(own) || others.any(|other| own.intersection(other).as_ref() == Some(own))
    };
    if patterns.iter().any(is_all)
        && let Some(own) = set.iter().find(|own| !is_covered(own))
    {
        return Err(format!(
            "{}: `*` in dataplane.interfaces is swp*, all front panel ports: name it there, too",
            own.as_str()
        ));
    }
    let both = |own: &InterfacePattern| -> Vec<InterfacePattern> {
        let others = patterns_without_all.iter();
        others.filter_map(|other| own.intersection(other)).collect()
    };
    let common: Vec<InterfacePattern> = set.iter().flat_map(both).collect();
    filtered(&common)
}

/// True for `*`.
fn is_all(pattern: &InterfacePattern) -> bool {
    pattern.split() == ("", true)
}

/// How many lines an entry of the rule takes for the interfaces of its set, before the settings leave some of them out; one
/// where it has none. Fails for an interface that no line can name.
pub fn count(matches: &Match) -> Result<usize, String> {
    match &matches.rare.interfaces {
        Some(set) => Ok(filtered(set)?.len()),
        None => Ok(1),
    }
}

/// True when every packet that the second name holds for comes in by the first, too.
fn covers(name: &str, other: &str) -> bool {
    match name.strip_suffix('+') {
        Some(beginning) => other.starts_with(beginning),
        None => name == other,
    }
}

/// An interface pattern as the tool has it; fails for what is not in hardware, or no wildcard that it knows.
///
/// `*` is all front panel ports.
pub fn interface(pattern: &InterfacePattern) -> Result<String, String> {
    match pattern.split() {
        ("" | "swp", true) => Ok("swp+".into()),
        ("bond", true) => Ok("bond+".into()),
        (name, true) => Err(format!(
            "{name}*: of all wildcards the switch knows swp* and bond*"
        )),
        (name, false) if name.starts_with("eth") || matches!(name, "lo" | "mgmt") => Err(format!(
            "{name}: is not an interface of the switch's hardware"
        )),
        (name, false) => Ok(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::RareFields;

    fn patterns(names: &[&str]) -> Vec<InterfacePattern> {
        let pattern = |name: &&str| InterfacePattern::new(name).unwrap();
        names.iter().map(pattern).collect()
    }

    #[test]
    fn only_ports_of_the_hardware_are_filtered() {
        let wildcard = "swp1*: of all wildcards the switch knows swp* and bond*";
        let rows: [(&str, Result<&str, &str>); 7] = [
            ("*", Ok("swp+")),
            ("swp*", Ok("swp+")),
            ("bond*", Ok("bond+")),
            ("swp1", Ok("swp1")),
            ("swp1*", Err(wildcard)),
            (
                "eth0",
                Err("eth0: is not an interface of the switch's hardware"),
            ),
            (
                "mgmt",
                Err("mgmt: is not an interface of the switch's hardware"),
            ),
        ];
        for (pattern, expected) in rows {
            let name = interface(&InterfacePattern::new(pattern).unwrap());
            let name = name.as_deref().map_err(String::as_str);
            assert_eq!(name, expected, "{pattern}");
        }
    }

    #[test]
    fn rules_have_lines_for_what_is_in_their_set_and_filtered() {
        type Names = &'static [&'static str];
        type Expected = Result<Names, &'static str>;
        let not_a_port =
            "bond2: `*` in dataplane.interfaces is swp*, all front panel ports: name it there, too";
        let rows: [(Names, Option<Names>, Expected); 12] = [
            (&["*"], None, Ok(&["swp+"])),
            (&["swp*", "swp1", "swp*"], None, Ok(&["swp+"])),
            (&["swp1", "swp10"], None, Ok(&["swp1", "swp10"])),
            (&["*"], Some(&["swp1"]), Ok(&["swp1"])),
            (&["*"], Some(&["*"]), Ok(&["swp+"])),
            // No guard is for a bond.
            (&["*"], Some(&["swp1", "bond2"]), Err(not_a_port)),
            (
                &["*", "bond*"],
                Some(&["swp1", "bond2"]),
                Ok(&["swp1", "bond2"]),
            ),
            (&["swp*"], Some(&["swp1", "bond2"]), Ok(&["swp1"])),
            (&["swp1", "swp2"], Some(&["swp*"]), Ok(&["swp1", "swp2"])),
            (&["swp*", "bond*"], Some(&["*"]), Ok(&["swp+", "bond+"])),
            (&["swp1", "swp*"], Some(&["swp1", "bond1"]), Ok(&["swp1"])),
            (&["swp*"], Some(&["bond*"]), Ok(&[])),
        ];
        for (filtered, set, expected) in rows {
            let rare = RareFields {
                interfaces: set.map(|set| patterns(set).into()),
                ..RareFields::default()
            };
            let matches = Match {
                rare: rare.into(),
                ..Match::default()
            };
            let names = of_rule(&patterns(filtered), &matches);
            let names: Result<Vec<&str>, &str> = match &names {
                Ok(names) => Ok(names.iter().map(String::as_str).collect()),
                Err(reason) => Err(reason),
            };
            assert_eq!(names, expected.map(<[_]>::to_vec), "{filtered:?} {set:?}");
        }
    }
}

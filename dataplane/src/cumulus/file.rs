//! The policy file: a plan as text, and back what a later process needs.

use std::fmt::Write as _;

use super::line::Line;
use super::plan::{Plan, PlannedRule};
use super::{Options, Release};
use crate::backend::Recovered;
use crate::rule::{Family, Rule, RuleId};

/// Longest comment: the text of a Flow Specification can have tens of thousands of octets.
const COMMENT_MAX: usize = 400;
/// What stands before the id of a rule.
const RULE: &str = "# rule ";
/// What stands before the memo of the rule above, in hex.
const MEMO: &str = "# memo ";
/// The last line, without which the file is cut.
const END: &str = "# end of flowacl's rules";

/// The file for a plan.
pub fn write(plan: &Plan, options: &Options) -> String {
    let mut text = String::new();
    let (used, room) = (plan.budget.used(), plan.budget.room());
    let of = |used, room| match room {
        usize::MAX => format!("{used}"),
        room => format!("{used} of {room}"),
    };
    let checkers = match plan.checkers.limit() {
        Some(limit) => format!("{} of {limit}", plan.checkers.used()),
        None => plan.checkers.used().to_string(),
    };
    let release = match options.release {
        Release::Four => "4",
        Release::Five => "5",
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "# Written by flowacl, which replaces it at every change and notices changes by others.\n\
         # For {} and Cumulus Linux {release}.\n\
         # Entries for IPv4: {}; for IPv6: {}; port range checkers: {checkers}.",
        options.profile.headline,
        of(used.ipv4, room.ipv4),
        of(used.ipv6, room.ipv6)
    );
    if plan.suspended {
        text.push_str("# No rule is in force, by order of the operator.\n");
    }
    for (family, section) in [(Family::Ipv4, "[iptables]"), (Family::Ipv6, "[ip6tables]")] {
        let _ = writeln!(text, "\n{section}");
        for (purpose, lines) in &plan.guards {
            if lines.iter().any(|line| line.entry.family == family) {
                let _ = writeln!(text, "# Not touched: {}", comment(purpose));
                write_lines(&mut text, lines, options.release);
            }
        }
        let of_family = |rule: &&PlannedRule| rule.rule.family == family;
        for planned in plan.rules.iter().filter(of_family) {
            write_comments(&mut text, &planned.rule);
            if !plan.suspended {
                write_lines(&mut text, &planned.lines, options.release);
            }
        }
    }
    let _ = writeln!(text, "\n{END}");
    text
}

/// What operators and later processes read of a rule.
fn write_comments(text: &mut String, rule: &Rule) {
    let label = comment(&rule.label.to_string());
    let _ = writeln!(text, "{RULE}{} {label}", rule.id);
    let memo = rule.memo();
    if !memo.is_empty() {
        text.push_str(MEMO);
        for octet in memo {
            let _ = write!(text, "{octet:02x}");
        }
        text.push('\n');
    }
}

fn write_lines(text: &mut String, lines: &[Line], release: Release) {
    for line in lines {
        text.push_str(&line.text(release));
        text.push('\n');
    }
}

/// One line of bounded length, without characters that mean something to the tool.
fn comment(text: &str) -> String {
    let harmless = |c: char| match c {
        ' '..='~' if !matches!(c, '$' | '`') => c,
        _ => '?',
    };
    let line: String = text.chars().map(harmless).take(COMMENT_MAX).collect();
    match text.chars().nth(COMMENT_MAX) {
        Some(_) => format!("{line}..."),
        None => line,
    }
}

/// The rules that an earlier process wrote; none of a file that is not ours, or cut.
pub fn recovered(text: &str) -> Vec<Recovered> {
    if text.trim_end().lines().next_back() != Some(END) {
        return Vec::new();
    }
    let mut rules: Vec<Recovered> = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix(RULE) {
            let name = rest.split(' ').next().unwrap_or_default();
            let id = name.strip_prefix('r').and_then(|id| id.parse().ok());
            rules.extend(id.map(|id| Recovered {
                id: RuleId(id),
                memo: Vec::new(),
            }));
        } else if let Some(hex) = line.strip_prefix(MEMO)
            && let Some(rule) = rules.last_mut()
        {
            rule.memo = octets(hex).unwrap_or_default();
        }
    }
    rules
}

/// The octets of hex digits.
fn octets(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits?;
    let octet = |pair: &[u32]| u8::try_from(pair.first()? << 4 | pair.get(1)?).ok();
    digits.chunks(2).map(octet).collect()
}

/// The rule whose line has this text; `None` when it is not a rule's.
pub fn owner(plan: &Plan, release: Release, text: &str) -> Option<RuleId> {
    let has_line = |rule: &&PlannedRule| rule.lines.iter().any(|line| line.text(release) == text);
    plan.rules.iter().find(has_line).map(|rule| rule.rule.id)
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;

//! What `cl-acltool` prints: whether it did what it was asked to, and how many packets met each line.

use crate::backend::Counter;
use crate::rule::Family;

use super::Release;
use super::line::{Line, prefix};
use crate::tcam::Entry;

/// What the tool says when the hardware is full.
pub const FULL: [&str; 3] = ["no more resources", "out of resources", "table full"];

/// A run that did not do what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the tool said, or that it said nothing.
    pub reason: String,
    /// The line at fault, where the tool quotes it.
    pub line: Option<String>,
}

/// The end of a run of the tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed, standard error behind standard output.
    pub text: String,
}

/// What the tool was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To install all policy files.
    Install,
    /// To try them.
    DryRun,
    /// To list rules.
    List,
}

impl Run {
    /// Fails unless everything says that the run did what was asked for: the exit code alone is no proof, and undocumented.
    pub fn outcome(&self, request: Request) -> Result<(), Failure> {
        let lines = || self.text.lines().map(str::trim);
        let is_error = |line: &&str| {
            let line = line.to_ascii_lowercase();
            line.starts_with("error:") || line.contains("rolling back")
        };
        let errors: Vec<&str> = lines().filter(is_error).collect();
        let crashed = self.text.contains("Traceback (most recent call last)");
        let done = lines().any(|line| line.to_ascii_lowercase().ends_with("done."));
        let reason = match (self.code, errors.is_empty()) {
            (_, false) => errors.join("; "),
            (_, true) if crashed => format!("it crashed: {}", self.last_words()),
            (None, true) => "it was ended by a signal".into(),
            (Some(0), true) if done || request != Request::Install => return Ok(()),
            (Some(0), true) => "it did not say that it is done".into(),
            (Some(code), true) => format!("exit code {code}: {}", self.last_words()),
        };
        Err(Failure {
            line: quoted_rule(&self.text),
            reason,
        })
    }

    /// Warnings that it printed.
    pub fn warnings(&self) -> Vec<String> {
        let lines = self.text.lines().map(str::trim);
        let warnings = lines.filter_map(|line| line.strip_prefix("warning:"));
        warnings.map(|line| line.trim().to_string()).collect()
    }

    fn last_words(&self) -> &str {
        let last = self.text.lines().rfind(|line| !line.trim().is_empty());
        last.map_or("it printed nothing", str::trim)
    }
}

/// The line that is quoted in `error processing rule '…'`.
fn quoted_rule(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("rule '")?;
    let (line, _) = rest.split_once('\'')?;
    Some(line.to_string())
}

/// A rule in a listing of `iptables -L -v -x -n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    counter: Counter,
    print: Fingerprint,
}

/// The columns by which a line is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint {
    target: String,
    protocol: u8,
    interface: String,
    source: String,
    destination: String,
}

/// The rules of our chain in a listing, in order; `None` when the chain is not in it.
pub fn chain(listing: &str, release: Release) -> Option<Vec<Listed>> {
    let (mut table, mut inside, mut found) = (None, false, None);
    for line in listing.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("TABLE"), Some(name)) => table = Some(name.trim_end_matches(':').to_string()),
            (Some("Chain"), Some(name)) => {
                let ours = table
                    .as_deref()
                    .is_none_or(|table| table == release.table());
                inside = ours && name == release.chain();
                if inside {
                    found.get_or_insert_with(Vec::new);
                }
            }
            _ if inside => {
                if let (Some(rule), Some(found)) = (listed(line), &mut found) {
                    found.push(rule);
                }
            }
            _ => {}
        }
    }
    found
}

/// One rule of a listing; `None` for headings.
fn listed(line: &str) -> Option<Listed> {
    let mut words = line.split_whitespace();
    let packets = words.next()?.parse().ok()?;
    let bytes = words.next()?.parse().ok()?;
    let target = words.next()?.to_string();
    let protocol = protocol(words.next()?)?;
    let mut interface = words.next()?;
    // Older versions leave the column of options empty for IPv6.
    if matches!(interface, "--" | "-f" | "!f") {
        interface = words.next()?;
    }
    let _out = words.next()?;
    Some(Listed {
        counter: Counter { packets, bytes },
        print: Fingerprint {
            target,
            protocol,
            interface: interface.to_string(),
            source: words.next()?.to_string(),
            destination: words.next()?.to_string(),
        },
    })
}

/// A protocol as listings have it.
fn protocol(name: &str) -> Option<u8> {
    match name {
        "all" => Some(0),
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmp" => Some(1),
        "icmpv6" | "ipv6-icmp" => Some(58),
        number => number.parse().ok(),
    }
}

/// The counters of our lines, found among those of others as a run of their own; `None` when they are not there.
pub fn counters(listed: &[Listed], ours: &[&Line], release: Release) -> Option<Vec<Counter>> {
    let prints: Vec<Fingerprint> = ours.iter().map(|line| fingerprint(line, release)).collect();
    if prints.is_empty() {
        return Some(Vec::new());
    }
    let is_ours = |run: &[Listed]| run.iter().map(|it| &it.print).eq(&prints);
    let run = listed.windows(prints.len()).find(|run| is_ours(run))?;
    Some(run.iter().map(|it| it.counter).collect())
}

/// How a listing shows one of our lines.
fn fingerprint(line: &Line, release: Release) -> Fingerprint {
    let Entry {
        family,
        source,
        destination,
        protocol,
        ..
    } = &line.entry;
    let address = |pattern| match pattern {
        None => match family {
            Family::Ipv4 => "0.0.0.0/0".to_string(),
            Family::Ipv6 => "::/0".to_string(),
        },
        Some(pattern) => {
            let text = prefix(pattern, *family);
            let host = format!("/{}", family.address_bits());
            text.strip_suffix(&host)
                .map_or(text.clone(), str::to_string)
        }
    };
    Fingerprint {
        target: line.target_name(release).to_string(),
        protocol: protocol.unwrap_or(0),
        interface: line.interface.clone(),
        source: address(*source),
        destination: address(*destination),
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;

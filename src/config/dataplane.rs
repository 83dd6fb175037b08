//! `[dataplane]`: what enforces the rules, and on which interfaces.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use ::dataplane::cumulus::{self as switch, interface};
use ::dataplane::desired::{InterfacePattern, Redirects, Sample, Settings, Unreachable};
use ::dataplane::sonic::Options;

use super::cumulus;
use super::reader::{Section, Value};
use super::sonic;

/// The packet filters that this build can drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// The kernel's, by netlink.
    Nftables,
    /// The hardware of a switch with Cumulus Linux.
    Cumulus,
    /// The ACL tables of a switch with SONiC, by its Redis databases.
    Sonic,
    /// None: rules are kept in memory. For trials and tests.
    Sim,
}

impl BackendKind {
    /// All of them.
    pub const ALL: [BackendKind; 4] = [
        BackendKind::Nftables,
        BackendKind::Cumulus,
        BackendKind::Sonic,
        BackendKind::Sim,
    ];

    /// The name used in configuration and commands.
    pub const fn name(self) -> &'static str {
        match self {
            BackendKind::Nftables => "nftables",
            BackendKind::Cumulus => "cumulus",
            BackendKind::Sonic => "sonic",
            BackendKind::Sim => "sim",
        }
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        if let Some(kind) = Self::ALL.into_iter().find(|kind| kind.name() == name) {
            return Ok(kind);
        }
        let names = Self::ALL.map(BackendKind::name).join(", ");
        Err(format!("{name:?} is not a backend; there are {names}"))
    }
}

/// What becomes of the rules when the daemon is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStop {
    /// They go.
    Remove,
    /// They stay in force for the next process.
    Keep,
}

impl FromStr for OnStop {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "remove" => Ok(OnStop::Remove),
            "keep" => Ok(OnStop::Keep),
            _ => Err(format!("{name:?} is neither \"remove\" nor \"keep\"")),
        }
    }
}

/// `[dataplane]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataplane {
    /// What enforces the rules.
    pub backend: BackendKind,
    /// The switch; there when the backend is [`BackendKind::Cumulus`].
    pub cumulus: Option<Box<switch::Options>>,
    /// The kernel's packet filter has all rules, too, and alone those that the hardware refuses.
    pub fallback: bool,
    /// Interfaces whose incoming packets are filtered.
    pub interfaces: Vec<InterfacePattern>,
    /// Where samples go.
    pub sample: Sample,
    /// Bits of the packet mark that the packet filter may use while it works: at least seven, contiguous.
    pub scratch_mark: u32,
    /// What may be used to send packets elsewhere.
    pub redirect: Redirects,
    /// How many sources all rules that limit each source by itself may have together.
    pub max_sources: u32,
    /// Where the kernel can, nobody else may change the table.
    pub own_table: bool,
    /// How rules get into the ACL tables of a switch with SONiC.
    pub sonic: Options,
    /// How long a daemon that starts keeps the rules of an earlier process for neighbors that have not resent them.
    pub restart: Duration,
    /// What becomes of the rules when the daemon is stopped.
    pub on_stop: OnStop,
}

impl Default for Dataplane {
    fn default() -> Self {
        let Settings {
            interfaces,
            guards: _,
            suspended: _,
            sample,
            scratch_mark,
            redirect,
            max_sources,
            own_table: _,
        } = Settings::default();
        Self {
            backend: BackendKind::Nftables,
            cumulus: None,
            fallback: false,
            interfaces,
            sample,
            scratch_mark,
            redirect,
            max_sources,
            own_table: true,
            sonic: Options::default(),
            restart: Duration::from_secs(120),
            on_stop: OnStop::Remove,
        }
    }
}

impl Dataplane {
    /// Reads the section; what is wrong is noted and stays at its default.
    pub(super) fn read(mut section: Section<'_, '_>) -> Self {
        let default = Self::default();
        let scratch_mark = section
            .optional("scratch_mark", scratch_mark)
            .unwrap_or(default.scratch_mark);
        let read = Self {
            backend: section
                .optional("backend", |value| value.text()?.parse())
                .unwrap_or(default.backend),
            cumulus: section
                .optional_table("cumulus")
                .and_then(cumulus::read)
                .map(Box::new),
            fallback: section
                .optional("fallback", |value| match value.text()? {
                    "nftables" => Ok(true),
                    other => Err(format!("{other:?} is no fallback; there is nftables")),
                })
                .unwrap_or(default.fallback),
            interfaces: section
                .optional("interfaces", interfaces)
                .unwrap_or(default.interfaces),
            sample: Sample {
                group: section
                    .optional("sample_group", |value| value.integer(0..=65535))
                    .and_then(|group| u16::try_from(group).ok())
                    .unwrap_or(default.sample.group),
                snap_length: section
                    .optional("sample_snap_length", |value| value.integer(0..=65535))
                    .and_then(|length| u32::try_from(length).ok())
                    .unwrap_or(default.sample.snap_length),
                one_in: section
                    .optional("sample_one_in", |value| {
                        value.integer(1..=u64::from(u32::MAX))
                    })
                    .and_then(|one_in| u32::try_from(one_in).ok())
                    .unwrap_or(default.sample.one_in),
            },
            scratch_mark,
            redirect: redirects(&mut section, default.redirect, scratch_mark),
            max_sources: section
                .optional("max_sources", |value| {
                    value.integer(0..=u64::from(u32::MAX))
                })
                .and_then(|sources| u32::try_from(sources).ok())
                .unwrap_or(default.max_sources),
            own_table: section
                .optional("own_table", |value| value.boolean())
                .unwrap_or(default.own_table),
            sonic: section
                .optional_table("sonic")
                .map_or(default.sonic, sonic::read),
            restart: section
                .optional("restart_secs", |value| value.integer(0..=65535))
                .map_or(default.restart, Duration::from_secs),
            on_stop: section
                .optional("on_stop", |value| value.text()?.parse())
                .unwrap_or(default.on_stop),
        };
        let is_hardware = matches!(read.backend, BackendKind::Cumulus | BackendKind::Sonic);
        if let (true, false, Some(place)) = (read.fallback, is_hardware, section.value("fallback"))
        {
            place.error("only hardware has a fallback, and the backend is none");
        }
        let everywhere = read.interfaces.contains(&InterfacePattern::any());
        if let (true, true, Some(place)) = (read.fallback, everywhere, section.value("fallback")) {
            place.error(
                "wants dataplane.interfaces to name those of the hardware, as in [\"swp*\"]: \
                 what comes in by others is limited by nobody",
            );
        }
        if read.backend == BackendKind::Cumulus {
            read.check_switch(&mut section);
        }
        section.finish();
        read
    }

    /// Notes what a switch needs and does not have.
    fn check_switch(&self, section: &mut Section<'_, '_>) {
        if !section.has("cumulus") {
            section.error("backend \"cumulus\" wants a table [dataplane.cumulus] with a profile");
        }
        let unknown = self.interfaces.iter().map(interface).find_map(Result::err);
        if let (Some(reason), Some(place)) = (unknown, section.value("interfaces")) {
            place.error(reason);
        }
    }
}

/// A non-empty list of interface patterns.
fn interfaces(value: &Value<'_, '_>) -> Result<Vec<InterfacePattern>, String> {
    value.non_empty_list(
        "no packet would ever be filtered; \"*\" is all but lo",
        |item| InterfacePattern::new(item.text()?),
    )
}

/// What may be used to send packets elsewhere.
fn redirects(section: &mut Section<'_, '_>, default: Redirects, scratch_mark: u32) -> Redirects {
    let number = |value: &Value<'_, '_>, greatest: u32| {
        let number = value.integer(1..=u64::from(greatest))?;
        Ok(u32::try_from(number).expect("the range was checked"))
    };
    let scratch = ("scratch_mark", scratch_mark);
    let mark = section.optional("redirect_mark", |value| own_mark(value, &[scratch]));
    if mark.is_none() && default.mark & scratch_mark != 0 {
        section.error("scratch_mark has bits of redirect_mark, which is 0x00ff0000");
    }
    let mark = mark.unwrap_or(default.mark);
    let taken = [scratch, ("redirect_mark", mark)];
    let copy_mark = section.optional("copy_mark", |value| own_mark(value, &taken));
    let octets = [default.copy_mark, 0xff, 0x00ff_0000, 0xff00_0000];
    let free = octets
        .into_iter()
        .find(|octet| octet & (scratch_mark | mark) == 0);
    let copy_mark = copy_mark.or(free).unwrap_or_else(|| {
        if mark & scratch_mark == 0 {
            section.error("scratch_mark and redirect_mark leave no octet for copy_mark");
        }
        default.copy_mark
    });
    let values = mark >> mark.trailing_zeros();
    Redirects {
        mark,
        // The rule behind ours and, at 32766, the main table.
        copy_mark,
        priority: section
            .optional("redirect_priority", |value| number(value, 32764))
            .unwrap_or(default.priority),
        tables: section
            .optional("redirect_tables", |value| {
                number(value, u32::MAX - values).and_then(|first| match first {
                    ..256 => Err("the tables up to 255 belong to the system".into()),
                    first => Ok(first),
                })
            })
            .unwrap_or(default.tables),
        protocol: section
            .optional("redirect_protocol", |value| number(value, 255))
            .and_then(|protocol| u8::try_from(protocol).ok())
            .unwrap_or(default.protocol),
        unreachable: section
            .optional("redirect_unreachable", |value| match value.text()? {
                "pass" => Ok(Unreachable::Pass),
                "discard" => Ok(Unreachable::Discard),
                other => Err(format!("{other:?} is neither \"pass\" nor \"discard\"")),
            })
            .unwrap_or(default.unreachable),
    }
}

/// Contiguous bits that are none of others: at most 16, a table or a target for each of their values.
fn own_mark(value: &Value<'_, '_>, taken: &[(&str, u32)]) -> Result<u32, String> {
    let mark = value.integer(1..=u64::from(u32::MAX))?;
    let mark = u32::try_from(mark).expect("the range was checked");
    let run = mark >> mark.trailing_zeros();
    if run.trailing_ones() != mark.count_ones() || mark.count_ones() > 16 {
        return Err(format!(
            "{mark:#x} is not a run of at most 16 bits, as 0xff0000 is"
        ));
    }
    match taken.iter().find(|(_, bits)| bits & mark != 0) {
        None => Ok(mark),
        Some((other, bits)) => Err(format!("{:#x} is in {other}, too", mark & bits)),
    }
}

/// At least seven contiguous bits.
fn scratch_mark(value: &Value<'_, '_>) -> Result<u32, String> {
    let mark = value.integer(0..=u64::from(u32::MAX))?;
    let mark = u32::try_from(mark).expect("the range was checked");
    let run = mark.checked_shr(mark.trailing_zeros()).unwrap_or(0);
    match mark.count_ones() >= 7 && run.trailing_ones() == mark.count_ones() {
        true => Ok(mark),
        false => Err(format!(
            "{mark:#x} is not a run of at least seven bits, as 0x7f000000 is"
        )),
    }
}

//! What each platform can match, do and hold.
//!
//! The figures are those of the vendors' documentation: "Access Control List Configuration" of Cumulus Linux 5 and "Netfilter -
//! ACLs" of Cumulus Linux 4.3, and of SONiC the source of `orchagent` and the YANG models of each release. Where documents
//! disagree or are silent, the profile says no.

use std::fmt;
use std::str::FromStr;

use crate::rule::Family;

/// Who programs the hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum System {
    /// Cumulus Linux with `cl-acltool`.
    Cumulus,
    /// SONiC with `orchagent`.
    Sonic,
}

/// A platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Who programs it.
    pub system: System,
    /// The name used in configuration and commands.
    pub name: &'static str,
    /// What it stands for.
    pub headline: &'static str,
    /// Cumulus Linux 5 runs on it; release 4 does on all of its platforms.
    pub release_five: bool,
    /// What entries can say.
    pub language: Language,
    /// How many different ranges of ports there can be at a time; `None`: as many as entries. Shared by all entries that
    /// look at the same ports of the same side.
    pub range_checkers: Option<usize>,
    /// How many entries there is room for; `None` where only the switch can tell.
    pub capacity: Option<Capacity>,
    /// How entries can limit rates.
    pub police: Police,
    /// Entries can write DSCP.
    pub mark: bool,
    /// A matching entry can leave the decision to later ones, if it only limits.
    pub limit_and_continue: bool,
}

/// What the entries of a platform can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Language {
    /// Fields of IPv4 packets.
    pub ipv4: Fields,
    /// Fields of IPv6 packets.
    pub ipv6: Fields,
    /// The TCP flags that can be compared.
    pub tcp_flag_bits: u16,
    /// Protocol 0 can be said, and does not stand for any protocol.
    pub protocol_zero: bool,
    /// The ICMP type that stands for any type, and so cannot be said.
    pub any_icmp_type: Option<u8>,
    /// A code can be matched without a type.
    pub icmp_code_alone: bool,
    /// ICMP type and code can be 0.
    pub icmp_zero: bool,
    /// A range of ports may begin at 0.
    pub port_range_from_zero: bool,
    /// Ranges of fewer ports than this are said port by port.
    pub least_port_range: u16,
    /// Entries can be for some of the interfaces that are filtered.
    pub interfaces: bool,
    /// Most entries of one rule.
    pub entries_per_rule: usize,
}

/// Fields that entries of one family can test, besides addresses and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// TCP and UDP ports.
    pub ports: bool,
    /// ICMP type and code.
    pub icmp: bool,
    /// TCP flags.
    pub tcp_flags: bool,
    /// DSCP.
    pub dscp: bool,
    /// Whether the fragment offset is not 0.
    pub later_fragments: bool,
}

/// How entries can limit rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Police {
    /// Not at all, and why.
    No(&'static str),
    /// Each entry has a policer of its own, so that several entries allow several times the rate.
    PerEntry,
}

/// How many entries a table has room for, beside the system's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// While changes are atomic, for which the hardware keeps half of its space.
    pub atomic: Room,
    /// While a change may interrupt traffic.
    pub non_atomic: Room,
}

/// Entries for each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// For IPv4, as long as there is none for IPv6.
    pub ipv4: usize,
    /// For IPv6, as long as there is none for IPv4.
    pub ipv6: usize,
}

impl Language {
    /// The fields of a family.
    pub fn fields(&self, family: Family) -> &Fields {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }
}

impl Room {
    /// The room for a family.
    pub fn of(self, family: Family) -> usize {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }
}

/// Most entries of one rule: more make the table of a switch a matter of a few rules.
const ENTRIES_PER_RULE: usize = 256;
/// The six flags of RFC 793, which both `iptables` and `orchagent` know.
const SIX_FLAGS: u16 = 0x3f;

/// Everything but fragments.
const ALL_FIELDS: Fields = Fields {
    ports: true,
    icmp: true,
    tcp_flags: true,
    dscp: true,
    later_fragments: false,
};

/// What the hardware makes of `iptables` rules.
///
/// To `iptables` 0 is any protocol and 255 any ICMP type. The documents of release 5 have fragments for IPv4 only, and those of
/// release 4 contradict them, so that there is none for release 4.
const fn cumulus_language(later_fragments: bool, least_port_range: u16) -> Language {
    Language {
        ipv4: Fields {
            later_fragments,
            ..ALL_FIELDS
        },
        ipv6: ALL_FIELDS,
        tcp_flag_bits: SIX_FLAGS,
        protocol_zero: false,
        any_icmp_type: Some(255),
        icmp_code_alone: false,
        icmp_zero: true,
        port_range_from_zero: true,
        least_port_range,
        interfaces: true,
        entries_per_rule: ENTRIES_PER_RULE,
    }
}

/// A platform of Cumulus Linux 5: NVIDIA Spectrum.
const fn spectrum(
    name: &'static str,
    headline: &'static str,
    atomic: (usize, usize),
    non_atomic: (usize, usize),
) -> Profile {
    Profile {
        system: System::Cumulus,
        name,
        headline,
        release_five: true,
        language: cumulus_language(true, 2),
        range_checkers: Some(16),
        capacity: capacity(atomic, non_atomic),
        police: Police::PerEntry,
        mark: true,
        limit_and_continue: true,
    }
}

/// A platform of Cumulus Linux 4 with a Broadcom ASIC, whose documents advise ranges for more than five ports only.
const fn broadcom(
    name: &'static str,
    headline: &'static str,
    police: Police,
    atomic: (usize, usize),
    non_atomic: (usize, usize),
) -> Profile {
    Profile {
        system: System::Cumulus,
        name,
        headline,
        release_five: false,
        language: cumulus_language(false, 6),
        range_checkers: Some(24),
        capacity: capacity(atomic, non_atomic),
        police,
        mark: true,
        limit_and_continue: true,
    }
}

/// Entries for IPv4 and IPv6.
const fn capacity(atomic: (usize, usize), non_atomic: (usize, usize)) -> Option<Capacity> {
    Some(Capacity {
        atomic: Room {
            ipv4: atomic.0,
            ipv6: atomic.1,
        },
        non_atomic: Room {
            ipv4: non_atomic.0,
            ipv6: non_atomic.1,
        },
    })
}

/// The platforms of Cumulus Linux.
pub static CUMULUS: [Profile; 11] = [
    spectrum(
        "spectrum1",
        "Spectrum with the TCAM profile default",
        (500, 250),
        (1000, 500),
    ),
    spectrum(
        "spectrum1-ipmc-heavy",
        "Spectrum with the TCAM profile ipmc-heavy",
        (750, 500),
        (1500, 1000),
    ),
    spectrum(
        "spectrum1-acl-heavy",
        "Spectrum with the TCAM profile acl-heavy",
        (1750, 1000),
        (3500, 2000),
    ),
    spectrum(
        "spectrum1-ipmc-max",
        "Spectrum with the TCAM profile ipmc-max",
        (1000, 500),
        (2000, 1000),
    ),
    spectrum(
        "spectrum1-ip-acl-heavy",
        "Spectrum with the TCAM profile ip-acl-heavy",
        (6000, 0),
        (12000, 0),
    ),
    spectrum(
        "spectrum2",
        "Spectrum-2, Spectrum-3 and Spectrum-4",
        (12500, 6250),
        (25000, 12500),
    ),
    broadcom(
        "tomahawk",
        "Broadcom Tomahawk",
        Police::No("it polices each of its pipelines, which allows several times the rate"),
        (256, 256),
        (768, 768),
    ),
    broadcom(
        "trident3",
        "Broadcom Trident3",
        Police::PerEntry,
        (768, 768),
        (2304, 2304),
    ),
    broadcom(
        "trident2+",
        "Broadcom Trident2+",
        Police::PerEntry,
        (2048, 3072),
        (6144, 6144),
    ),
    broadcom(
        "trident2",
        "Broadcom Trident2",
        Police::PerEntry,
        (512, 768),
        (1536, 1536),
    ),
    broadcom(
        "helix4",
        "Broadcom Helix4",
        Police::PerEntry,
        (768, 384),
        (1792, 896),
    ),
];

/// The platform of Cumulus Linux of this name.
pub fn cumulus(name: &str) -> Option<&'static Profile> {
    CUMULUS.iter().find(|profile| profile.name == name)
}

/// A release of SONiC, in order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Release {
    /// 202111: the first with table types of one's own.
    R202111,
    /// 202205: the first that tells the status of rules.
    R202205,
    /// 202305.
    R202305,
    /// 202311.
    R202311,
    /// 202405.
    R202405,
    /// 202411.
    R202411,
    /// 202505.
    R202505,
    /// 202511.
    R202511,
    /// 202605: the first that tries rules again for which there was no room.
    R202605,
    /// What comes after 202605: the first whose orchagent knows policers in ACL rules, which no YANG model does.
    Master,
}

impl Release {
    /// All of them, in order.
    pub const ALL: [Release; 10] = [
        Release::R202111,
        Release::R202205,
        Release::R202305,
        Release::R202311,
        Release::R202405,
        Release::R202411,
        Release::R202505,
        Release::R202511,
        Release::R202605,
        Release::Master,
    ];

    /// The name of the branch.
    pub const fn name(self) -> &'static str {
        match self {
            Release::R202111 => "202111",
            Release::R202205 => "202205",
            Release::R202305 => "202305",
            Release::R202311 => "202311",
            Release::R202405 => "202405",
            Release::R202411 => "202411",
            Release::R202505 => "202505",
            Release::R202511 => "202511",
            Release::R202605 => "202605",
            Release::Master => "master",
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Release {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = Release::ALL.map(Release::name).join(", ");
        let release = Release::ALL.into_iter().find(|it| it.name() == name);
        release.ok_or(format!("{name:?} is not a release of SONiC among {names}"))
    }
}

/// Whose ASIC a SONiC switch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asic {
    /// NVIDIA (Mellanox) Spectrum.
    Mellanox,
    /// Clounix.
    Clounix,
    /// Broadcom.
    Broadcom,
    /// Any other, and the virtual switch.
    Other,
}

impl Asic {
    /// All of them.
    pub const ALL: [Asic; 4] = [Asic::Mellanox, Asic::Clounix, Asic::Broadcom, Asic::Other];

    /// The name used in configuration; but for the last, that of the environment variable `ASIC_VENDOR` in SONiC.
    pub const fn name(self) -> &'static str {
        match self {
            Asic::Mellanox => "mellanox",
            Asic::Clounix => "clounix",
            Asic::Broadcom => "broadcom",
            Asic::Other => "other",
        }
    }
}

impl FromStr for Asic {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = Asic::ALL.map(Asic::name).join(", ");
        let asic = Asic::ALL.into_iter().find(|it| it.name() == name);
        asic.ok_or(format!("{name:?} is not an ASIC among {names}"))
    }
}

/// A switch with SONiC, in tables of a type of its own. Only the switch knows its capacity.
///
/// `orchagent` allows 16 ranges of ports on the ASICs whose limit it knows. Ranges from port 0 and ICMP type 0 are as the YANG
/// models have them; no table type has fragments or packet lengths.
pub fn sonic(release: Release, asic: Asic) -> Profile {
    Profile {
        system: System::Sonic,
        name: "sonic",
        headline: "SONiC",
        release_five: false,
        language: Language {
            ipv4: ALL_FIELDS,
            ipv6: ALL_FIELDS,
            tcp_flag_bits: SIX_FLAGS,
            protocol_zero: true,
            any_icmp_type: None,
            icmp_code_alone: true,
            icmp_zero: release != Release::R202205,
            port_range_from_zero: release <= Release::R202205,
            least_port_range: 2,
            interfaces: false,
            entries_per_rule: ENTRIES_PER_RULE,
        },
        range_checkers: match asic {
            Asic::Mellanox | Asic::Clounix => Some(16),
            Asic::Broadcom => Some(24),
            Asic::Other => None,
        },
        capacity: None,
        police: Police::No(no_policers(release)),
        mark: false,
        limit_and_continue: false,
    }
}

/// Why ACL rules of a release of SONiC limit no rate.
///
/// orchagent of master has `POLICER_ACTION`, but up to now `ACL_RULE` has no such leaf in the YANG model of any release: a
/// rule that has it would stand in the way of whoever patches the configuration.
pub const fn no_policers(release: Release) -> &'static str {
    match release {
        Release::Master => {
            "no YANG model of SONiC has a policer in ACL rules, although orchagent of master knows one"
        }
        Release::R202111
        | Release::R202205
        | Release::R202305
        | Release::R202311
        | Release::R202405
        | Release::R202411
        | Release::R202505
        | Release::R202511
        | Release::R202605 => "ACL rules of this release of SONiC have no policers",
    }
}

//! What is written to the database: keys and fields, as `orchagent` reads them and the YANG models of the release allow them.
//! Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::Options;
use crate::backend::Unsupported;
use crate::rule::RareActions;
use crate::rule::{Action, AddressPattern, Family};
use crate::tcam::profile::{Release, no_policers};
use crate::tcam::{Entry, Ports};

/// Which database the rules are written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// CONFIG_DB: part of the configuration, which `config save` makes permanent, and held against the YANG models
    /// whenever somebody patches it.
    ConfigDb,
    /// APPL_DB: gone with a restart of the switch's software.
    ApplDb,
}

impl Mode {
    /// The name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::ConfigDb => "config_db",
            Mode::ApplDb => "appl_db",
        }
    }
}

/// A kind of document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What entries of tables of this type can test and do.
    TableType,
    /// A table and where it is bound.
    Table,
    /// An entry of a table.
    Rule,
}

impl Kind {
    /// The name of the documents in CONFIG_DB.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::TableType => "ACL_TABLE_TYPE",
            Kind::Table => "ACL_TABLE",
            Kind::Rule => "ACL_RULE",
        }
    }
}

/// The name of the table for packets of a family.
pub const fn table_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "FLOWACL_V4",
        Family::Ipv6 => "FLOWACL_V6",
    }
}

/// The name of the type of that table.
///
/// Each database has its own: nobody confirms that a type was deleted, and orchagent might take a late deletion in one for
/// one in the other.
pub const fn type_name(mode: Mode, family: Family) -> &'static str {
    match (mode, family) {
        (Mode::ConfigDb, Family::Ipv4) => "FLOWACL_CONFIG_V4",
        (Mode::ConfigDb, Family::Ipv6) => "FLOWACL_CONFIG_V6",
        (Mode::ApplDb, Family::Ipv4) => "FLOWACL_APPL_V4",
        (Mode::ApplDb, Family::Ipv6) => "FLOWACL_APPL_V6",
    }
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text or a number.
    Text(String),
    /// Several words.
    List(Vec<String>),
}

/// Fields by their names.
pub type Fields = BTreeMap<&'static str, Value>;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It is dropped.
    Drop,
    /// It is forwarded, whatever entries of less priority say.
    Forward,
}

impl Verdict {
    /// The value of `PACKET_ACTION`.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Drop => "DROP",
            Verdict::Forward => "FORWARD",
        }
    }
}

/// The verdict that is all of the action, or what there is beyond it.
pub fn verdict(action: &Action, release: Release) -> Result<Verdict, Unsupported> {
    if action.discard && !action.sample {
        return Ok(Verdict::Drop);
    }
    let refuse = |what: &str| Err(Unsupported(what.into()));
    if action.sample {
        return refuse(
            "traffic-action sample: an ACL rule of SONiC drops or forwards, it does not sample as well",
        );
    }
    if !action.limits.is_empty() {
        return refuse(&format!("traffic-rate: {}", no_policers(release)));
    }
    if action.mark_dscp.is_some() {
        return refuse(
            "traffic-marking: no YANG model of SONiC lets an ACL rule of its own table type write DSCP",
        );
    }
    let RareActions {
        redirect,
        copy_to,
        source_limits,
    } = &*action.rare;
    if !source_limits.is_empty() {
        return refuse(
            "traffic-rate for each source: no ACL rule of SONiC tells the sources of its packets apart",
        );
    }
    if redirect.is_some() {
        return refuse(
            "redirect: SONiC redirects to ports and neighbors, not to VRFs or by routes",
        );
    }
    if copy_to.is_some() {
        return refuse(
            "copy: SONiC mirrors to sessions of its own configuration, not to addresses",
        );
    }
    if action.continue_evaluation {
        return refuse(
            "traffic-action: the first ACL rule that matches decides, evaluation cannot go on",
        );
    }
    Ok(Verdict::Forward)
}

/// How documents are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// For which database.
    pub mode: Mode,
    /// For which release.
    pub release: Release,
}

impl Dialect {
    /// What the options ask for.
    pub fn of(options: &Options) -> Self {
        Self {
            mode: options.mode,
            release: options.release,
        }
    }

    /// Refuses entries that the language of the ASIC has and the YANG models do not.
    pub fn check(self, entry: &Entry) -> Result<(), Unsupported> {
        let refuse = |reason: String| Err(Unsupported(reason));
        if self.mode == Mode::ApplDb {
            return Ok(());
        }
        if let Some(protocol @ (0 | 144..)) = entry.protocol {
            return refuse(format!(
                "protocol: CONFIG_DB takes the protocols 1 to 143, not {protocol}"
            ));
        }
        if self.release > Release::R202205 {
            return Ok(());
        }
        if entry.family == Family::Ipv6 {
            return refuse(
                "ipv6: CONFIG_DB of 202205 knows no ICMPv6 type above 44, so that neighbor discovery could not be \
                 exempt"
                    .into(),
            );
        }
        let range = |ports: Option<Ports>| ports.filter(|ports| ports.exact().is_none());
        let ports = [entry.source_port, entry.destination_port].into_iter();
        let greatest = ports.filter_map(range).map(|ports| ports.last).max();
        if let Some(greatest @ 65_300..) = greatest {
            return refuse(format!(
                "port: CONFIG_DB of 202205 takes no range that ends above 65299, not even at {greatest}"
            ));
        }
        match (entry.icmp_type, entry.icmp_code) {
            (Some(number @ (0 | 45..)), _) => refuse(format!(
                "icmp-type: CONFIG_DB of 202205 takes the types 1 to 44, not {number}"
            )),
            (_, Some(number @ (0 | 17..))) => refuse(format!(
                "icmp-code: CONFIG_DB of 202205 takes the codes 1 to 16, not {number}"
            )),
            (_, _) => Ok(()),
        }
    }

    /// The field for the upper-layer protocol.
    ///
    /// IPv6 has its own. No YANG model knows it, but `IP_PROTOCOL` is taken for it by most ASICs; one that does not
    /// refuses the table.
    const fn protocol(self, family: Family) -> &'static str {
        match (family, self.mode) {
            (Family::Ipv6, Mode::ApplDb) => "NEXT_HEADER",
            (Family::Ipv4, _) | (Family::Ipv6, Mode::ConfigDb) => "IP_PROTOCOL",
        }
    }

    /// The value of `IP_TYPE` for a family. orchagent takes both spellings, each YANG model its own.
    fn ip_type(self, family: Family) -> &'static str {
        match (family, self.release <= Release::R202205) {
            (Family::Ipv4, true) => "IPv4ANY",
            (Family::Ipv4, false) => "IPV4ANY",
            (Family::Ipv6, true) => "IPv6ANY",
            (Family::Ipv6, false) => "IPV6ANY",
        }
    }

    /// False where link aggregation groups cannot be bound: the YANG model of 202205 wants them to be called `LAG`, and
    /// its orchagent `PORTCHANNEL`.
    pub fn binds_groups(self) -> bool {
        self.mode == Mode::ApplDb || self.release > Release::R202205
    }

    /// The type of the table for a family.
    pub fn table_type(self, family: Family) -> Fields {
        let names = names(family);
        let mut bind_points = vec!["PORT"];
        if self.binds_groups() {
            bind_points.push("PORTCHANNEL");
        }
        let matches = [
            "IP_TYPE",
            names.source,
            names.destination,
            self.protocol(family),
            "L4_SRC_PORT",
            "L4_DST_PORT",
            "L4_SRC_PORT_RANGE",
            "L4_DST_PORT_RANGE",
            "TCP_FLAGS",
            names.icmp_type,
            names.icmp_code,
            "DSCP",
        ];
        Fields::from([
            ("MATCHES", list(&matches)),
            ("ACTIONS", list(&["PACKET_ACTION", "COUNTER"])),
            ("BIND_POINTS", list(&bind_points)),
        ])
    }

    /// The table for a family, bound to ports and link aggregation groups.
    pub fn table(self, family: Family, ports: &[String]) -> Fields {
        Fields::from([
            ("policy_desc", text("BGP FlowSpec, written by flowacl")),
            ("type", text(type_name(self.mode, family))),
            ("stage", text("ingress")),
            ("ports", Value::List(ports.to_vec())),
        ])
    }

    /// An entry of the table for its family.
    pub fn rule(self, entry: &Entry, verdict: Verdict, priority: u32) -> Fields {
        let names = names(entry.family);
        let mut fields = Fields::from([
            ("PRIORITY", text(priority)),
            ("PACKET_ACTION", text(verdict.word())),
            // A field of IP would match whatever stands there in packets that are not of IP.
            ("IP_TYPE", text(self.ip_type(entry.family))),
        ]);
        let mut put = |name, value: Option<String>| {
            if let Some(value) = value {
                fields.insert(name, Value::Text(value));
            }
        };
        put(
            names.source,
            entry.source.map(|it| prefix(entry.family, it)),
        );
        put(
            names.destination,
            entry.destination.map(|it| prefix(entry.family, it)),
        );
        put(
            self.protocol(entry.family),
            entry.protocol.map(|it| it.to_string()),
        );
        for (exact, range, ports) in [
            ("L4_SRC_PORT", "L4_SRC_PORT_RANGE", entry.source_port),
            ("L4_DST_PORT", "L4_DST_PORT_RANGE", entry.destination_port),
        ] {
            match ports {
                None => {}
                Some(Ports { first, last }) if first == last => put(exact, Some(first.to_string())),
                Some(Ports { first, last }) => put(range, Some(format!("{first}-{last}"))),
            }
        }
        put(
            "TCP_FLAGS",
            entry
                .tcp_flags
                .map(|cube| format!("{:#04x}/{:#04x}", cube.value, cube.mask)),
        );
        put(names.icmp_type, entry.icmp_type.map(|it| it.to_string()));
        put(names.icmp_code, entry.icmp_code.map(|it| it.to_string()));
        put("DSCP", entry.dscp.map(|it| it.to_string()));
        fields
    }
}

/// Fields that have another name in each family.
struct Names {
    source: &'static str,
    destination: &'static str,
    icmp_type: &'static str,
    icmp_code: &'static str,
}

/// The names of a family.
const fn names(family: Family) -> Names {
    match family {
        Family::Ipv4 => Names {
            source: "SRC_IP",
            destination: "DST_IP",
            icmp_type: "ICMP_TYPE",
            icmp_code: "ICMP_CODE",
        },
        Family::Ipv6 => Names {
            source: "SRC_IPV6",
            destination: "DST_IPV6",
            icmp_type: "ICMPV6_TYPE",
            icmp_code: "ICMPV6_CODE",
        },
    }
}

/// A value that is written as it is.
fn text(value: impl ToString) -> Value {
    Value::Text(value.to_string())
}

/// Several words.
fn list(words: &[&str]) -> Value {
    Value::List(words.iter().map(ToString::to_string).collect())
}

/// `192.0.2.0/24`; the length is never left out.
fn prefix(family: Family, pattern: AddressPattern) -> String {
    let mut text = String::new();
    let length = pattern.mask().count_ones();
    // Writing to a string cannot fail.
    let _ = match family {
        Family::Ipv4 => {
            let bits = u32::try_from(pattern.value() >> 96).expect("32 bits are left");
            write!(text, "{}/{length}", Ipv4Addr::from_bits(bits))
        }
        Family::Ipv6 => write!(text, "{}/{length}", Ipv6Addr::from_bits(pattern.value())),
    };
    text
}

/// Fields as they stand in a hash of the database: lists are joined by commas, and in CONFIG_DB their names end in `@`.
pub fn encode(mode: Mode, fields: &Fields) -> BTreeMap<String, String> {
    let pair = |(name, value): (&&'static str, &Value)| match (value, mode) {
        (Value::Text(text), _) => ((*name).to_string(), text.clone()),
        (Value::List(words), Mode::ConfigDb) => (format!("{name}@"), words.join(",")),
        // What reads APPL_DB takes the name as it is.
        (Value::List(words), Mode::ApplDb) => ((*name).to_string(), words.join(",")),
    };
    fields.iter().map(pair).collect()
}

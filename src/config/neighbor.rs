//! `[[neighbor]]`: who may send us Flow Specifications, and which of them we take.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::bgp::{self, Bgp};
use super::import;
use super::reader::{Section, Value};
use super::transport::Transport;
use crate::engine::policy::{ImportPolicy, Validation};
use crate::wire::capability::MAX_STALE_TIME;
use crate::wire::iana::{AfiSafi, FlowFamily, UnicastFamily};

/// One neighbor, or all neighbors of one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// The neighbor's address as a prefix of full length, or a shorter one from which any address may connect.
    pub remote: IpNetwork,
    /// The AS that it must have.
    pub remote_as: u32,
    /// True: wait for the neighbor to connect. False: dial as well.
    pub passive: bool,
    /// The port to dial.
    pub port: u16,
    /// FlowSpec families to offer.
    pub families: Vec<FlowFamily>,
    /// Unicast families to offer besides, for validation. There is at least one family of either sort.
    pub unicast: Vec<UnicastFamily>,
    /// Offer to take several paths for one NLRI (RFC 7911).
    pub add_path: bool,
    /// Hold time to propose: 0, or at least 3 seconds.
    pub hold_time_secs: u16,
    /// For the operator.
    pub description: Option<String>,
    /// Time between attempts to connect.
    pub connect_retry: Duration,
    /// The address to dial from; connections to any other of our addresses are refused.
    pub local_address: Option<IpAddr>,
    /// How connections with it are made.
    pub transport: Transport,
    /// Offer graceful restart (RFC 4724), so that its rules stay while it restarts.
    pub graceful_restart: bool,
    /// How long they stay at most until it has resent its routes.
    pub graceful_restart_max: Duration,
    /// How long they stay, as long-lived stale routes, when it does not come back in time (RFC 9494); zero: not at all.
    pub long_lived_stale: Duration,
    /// How long they stay when its session is lost and it has not negotiated graceful restart.
    pub hold_rules: Duration,
    /// Which of its routes we take.
    pub import: ImportPolicy,
}

impl Neighbor {
    /// True when a session with the one need not end for it to be one with the other: they differ at most in what can
    /// change while it is up.
    pub fn keeps_session_of(&self, other: &Self) -> bool {
        let changeable = Self {
            import: self.import.clone(),
            description: self.description.clone(),
            ..other.clone()
        };
        changeable == *self
    }

    /// All families to offer.
    pub fn afi_safis(&self) -> impl Iterator<Item = AfiSafi> {
        let flow = self.families.iter().map(|family| family.afi_safi());
        let unicast = self.unicast.iter().map(|family| family.afi_safi());
        flow.chain(unicast)
    }

    /// True when any address of a prefix may connect.
    pub fn is_dynamic(&self) -> bool {
        !is_host(self.remote)
    }
}

/// True for a prefix with one address.
fn is_host(prefix: IpNetwork) -> bool {
    prefix.prefix() == if prefix.is_ipv4() { 32 } else { 128 }
}

/// Reads all `[[neighbor]]` tables; those with errors are noted and left out.
pub(super) fn read_all(
    root: &mut Section<'_, '_>,
    bgp: Option<&Bgp>,
    import: &ImportPolicy,
) -> Vec<Neighbor> {
    let mut known = Vec::new();
    let mut neighbors = Vec::new();
    let mut places = Vec::new();
    for mut section in root.tables("neighbor") {
        let place = section.value("address");
        if let Some(neighbor) = Neighbor::read(section, bgp, import, &mut known) {
            neighbors.push(neighbor);
            places.push(place);
        }
    }
    check_passwords(&neighbors, &places);
    neighbors
}

/// Notes neighbors of which the kernel would demand a password that they do not have: it asks all addresses of a prefix
/// for the password of the prefix.
fn check_passwords(neighbors: &[Neighbor], places: &[Option<Value<'_, '_>>]) {
    let signed = neighbors
        .iter()
        .filter(|neighbor| neighbor.transport.md5.is_some());
    for (neighbor, place) in neighbors.iter().zip(places) {
        let remote = neighbor.remote;
        let around = signed.clone().find(|other| {
            other.remote.is_ipv4() == remote.is_ipv4()
                && other.remote.prefix() < remote.prefix()
                && other.remote.contains(remote.ip())
        });
        if let (None, Some(around), Some(place)) = (&neighbor.transport.md5, around, place) {
            place.error(format!(
                "lies in {}, whose MD5 password the kernel would demand here, too: \
                 give it a password of its own",
                around.remote
            ));
        }
    }
}

impl Neighbor {
    /// Reads one table. `known` are the addresses of those before it.
    fn read(
        mut section: Section<'_, '_>,
        bgp: Option<&Bgp>,
        global: &ImportPolicy,
        known: &mut Vec<IpNetwork>,
    ) -> Option<Self> {
        let mut transport = Transport::read(&mut section);
        let bound = transport.interface.is_some();
        let remote = section.required("address", |value| remote(value, bound, known));
        known.extend(remote);
        let remote_as = section.required("remote_as", bgp::autonomous_system);
        if bgp.map(|bgp| bgp.local_as) != remote_as {
            transport.keep_to_the_link();
        }
        let validation = section.optional("validation", validation);
        let (families, unicast) = families_of(&mut section, validation);
        let import = section
            .optional_table("import")
            .map_or_else(|| global.clone(), |section| import::read(section, global));
        let passive = section.optional("passive", Value::boolean).unwrap_or(true);
        let neighbor = Self {
            // A place holder keeps the remaining keys checked; the neighbor is dropped below.
            remote: remote.unwrap_or_else(|| IpNetwork::from(IpAddr::from([0, 0, 0, 0]))),
            remote_as: remote_as.unwrap_or_default(),
            passive,
            port: section.optional("port", port).unwrap_or(bgp::BGP_PORT),
            families,
            unicast,
            add_path: section.optional("add_path", Value::boolean).unwrap_or(true),
            hold_time_secs: section.optional("hold_time_secs", hold_time).unwrap_or(90),
            description: section.optional("description", Value::line),
            connect_retry: Duration::from_secs(
                section
                    .optional("connect_retry_secs", |value| value.integer(1..=65535))
                    .unwrap_or(10),
            ),
            local_address: section.optional("local_address", |value| local_address(value, remote)),
            transport,
            graceful_restart: section
                .optional("graceful_restart", Value::boolean)
                .unwrap_or(true),
            graceful_restart_max: seconds(
                &mut section,
                "graceful_restart_max_secs",
                1..=86_400,
                180,
            ),
            long_lived_stale: seconds(&mut section, "long_lived_stale_secs", 0..=MAX_STALE_TIME, 0),
            hold_rules: seconds(&mut section, "hold_rules_secs", 0..=A_WEEK, 0),
            import: ImportPolicy {
                validation: validation.unwrap_or(Validation::None),
                ..import
            },
        };
        if let (Some(remote), Some(bgp)) = (remote, bgp) {
            let listen = neighbor.transport.listen.as_ref().unwrap_or(&bgp.listen);
            check_reachable(&mut section, remote, passive, listen);
        }
        section.finish();
        (remote.is_some() && remote_as.is_some()).then_some(neighbor)
    }
}

/// The longest time for which rules of a lost neighbor can be held.
const A_WEEK: u32 = 7 * 86_400;

/// A number of seconds.
fn seconds(
    section: &mut Section<'_, '_>,
    key: &'static str,
    range: RangeInclusive<u32>,
    default: u32,
) -> Duration {
    let range = u64::from(*range.start())..=u64::from(*range.end());
    let secs = section.optional(key, |value| value.integer(range));
    Duration::from_secs(secs.unwrap_or(default.into()))
}

/// Checks that there is any way to have a session with the neighbor.
fn check_reachable(
    section: &mut Section<'_, '_>,
    remote: IpNetwork,
    passive: bool,
    listen: &[SocketAddr],
) {
    let place = section
        .value("passive")
        .or_else(|| section.value("address"));
    let Some(place) = place else { return };
    if !passive {
        if !is_host(remote) {
            place.error(format!(
                "{remote} is a prefix: flowacl cannot dial it, only be dialed"
            ));
        }
    } else if listen.is_empty() {
        place.error("the neighbor is passive, but bgp.listen is empty: nobody would ever connect");
    } else if !listen
        .iter()
        .any(|address| address.is_ipv4() == remote.is_ipv4())
    {
        let family = if remote.is_ipv4() { "IPv4" } else { "IPv6" };
        place.error(format!(
            "the neighbor is passive, but no address to listen on is {family}: it could not connect"
        ));
    }
}

/// The neighbor's address or prefix.
///
/// A link-local address says who is meant only when its interface is `bound`.
fn remote(value: &Value<'_, '_>, bound: bool, known: &[IpNetwork]) -> Result<IpNetwork, String> {
    let remote = value.prefix()?;
    let address = remote.ip();
    if is_host(remote) && (address.is_unspecified() || address.is_multicast()) {
        return Err(format!(
            "{address} is not an address that a neighbor can have"
        ));
    }
    let is_link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    if is_host(remote) && is_link_local && !bound {
        return Err(format!(
            "{address} is a link-local address, which says nothing without `interface`"
        ));
    }
    if known.contains(&remote) {
        return Err(format!("{} is configured twice", shown(remote)));
    }
    Ok(remote)
}

/// A prefix as the operator wrote it: an address alone without its length.
fn shown(remote: IpNetwork) -> String {
    if is_host(remote) {
        remote.ip().to_string()
    } else {
        remote.to_string()
    }
}

/// A TCP port.
fn port(value: &Value<'_, '_>) -> Result<u16, String> {
    Ok(u16::try_from(value.integer(1..=65535)?).expect("the range was checked"))
}

/// A family of either sort.
#[derive(Clone, Copy, PartialEq)]
enum AnyFamily {
    Flow(FlowFamily),
    Unicast(UnicastFamily),
}

/// The families to offer: those that are named, and the unicast families that the validation of the others needs.
fn families_of(
    section: &mut Section<'_, '_>,
    validation: Option<Validation>,
) -> (Vec<FlowFamily>, Vec<UnicastFamily>) {
    let named = section.optional("families", |value| {
        value.non_empty_list("the session would carry no routes", |item| {
            let name = item.text()?;
            let mut unicast = UnicastFamily::ALL.into_iter();
            match unicast.find(|family| family.name() == name) {
                Some(family) => Ok(AnyFamily::Unicast(family)),
                None => match name.parse() {
                    Ok(family) => Ok(AnyFamily::Flow(family)),
                    Err(error) => Err(format!("{error}, ipv4-unicast, ipv6-unicast")),
                },
            }
        })
    });
    let (mut flow, mut unicast) = (Vec::new(), Vec::new());
    match named {
        None => flow.extend([FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow]),
        Some(named) => {
            for family in named {
                match family {
                    AnyFamily::Flow(family) => flow.push(family),
                    AnyFamily::Unicast(family) => unicast.push(family),
                }
            }
        }
    }
    if validation.is_some_and(Validation::needs_unicast) {
        let needed = flow.iter().filter(|family| !family.is_vpn());
        unicast.extend(needed.map(|family| UnicastFamily::of(*family)));
        unicast.sort_unstable();
        unicast.dedup();
    }
    (flow, unicast)
}

/// How Flow Specifications are validated.
fn validation(value: &Value<'_, '_>) -> Result<Validation, String> {
    match value.text()? {
        "none" => Ok(Validation::None),
        "destination" => Ok(Validation::Destination),
        "rfc9117" => Ok(Validation::Rfc9117),
        "rfc9117-strict" => Ok(Validation::Rfc9117Strict),
        other => Err(format!(
            "{other:?} is not a validation; there are \"none\", \"destination\", \"rfc9117\" and \
             \"rfc9117-strict\""
        )),
    }
}

/// RFC 4271 §4.2: 0, or at least 3 seconds.
fn hold_time(value: &Value<'_, '_>) -> Result<u16, String> {
    match value.integer(0..=65535)? {
        secs @ 1..=2 => Err(format!(
            "{secs} is neither 0 nor at least 3 (RFC 4271 section 4.2)"
        )),
        secs => Ok(u16::try_from(secs).expect("the range was checked")),
    }
}

/// The address to dial from: of the neighbor's family.
fn local_address(value: &Value<'_, '_>, remote: Option<IpNetwork>) -> Result<IpAddr, String> {
    let text = value.text()?;
    let address: IpAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is not an address"))?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(format!(
            "{address} is not an address that this machine can have"
        ));
    }
    match remote {
        Some(remote) if remote.is_ipv4() != address.is_ipv4() => Err(format!(
            "{address} and the neighbor's address {} are of different families",
            shown(remote)
        )),
        _ => Ok(address),
    }
}

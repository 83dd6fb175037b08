//! How the TCP connections with a neighbor are made: the keys of `[[neighbor]]` about sockets.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ::dataplane::desired::InterfacePattern;

use super::reader::{Section, Value};

/// Octets of the longest password (`TCP_MD5SIG_MAXKEYLEN`).
const PASSWORD_MAX: usize = 80;

/// Options of all connections with one neighbor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transport {
    /// TCP MD5 signatures (RFC 2385) with this password.
    pub md5: Option<Password>,
    /// How far away the neighbor is.
    pub distance: Distance,
    /// The VRF or interface that connections go through; `None`: as routing says.
    pub interface: Option<String>,
    /// Where this neighbor connects to; `None`: as `bgp.listen` says.
    pub listen: Option<Vec<SocketAddr>>,
}

/// How far away a neighbor may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distance {
    /// Any number of hops, as far as the system's TTL reaches.
    #[default]
    Any,
    /// Our packets reach no further than so many hops: 1 to 255.
    AtMost(u8),
    /// Packets from further than so many hops are not taken (RFC 5082), 1 to 254: 1 is a neighbor on the link.
    Secured(u8),
}

impl Distance {
    /// The TTL or hop limit of what we send; `None`: the system's.
    pub fn ttl(self) -> Option<u8> {
        match self {
            Self::Any => None,
            Self::AtMost(hops) => Some(hops),
            Self::Secured(_) => Some(u8::MAX),
        }
    }

    /// The least TTL or hop limit of what we take (RFC 5082 §3).
    pub fn least_ttl(self) -> Option<u8> {
        match self {
            Self::Any | Self::AtMost(_) => None,
            Self::Secured(hops) => Some(u8::MAX - hops + 1),
        }
    }
}

/// A secret that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Vec<u8>);

impl Password {
    /// 1 to 80 octets.
    fn new(octets: &[u8]) -> Result<Self, String> {
        match octets.len() {
            0 => Err("the password is empty".into()),
            length if length > PASSWORD_MAX => Err(format!(
                "the password has {length} octets; TCP takes {PASSWORD_MAX}"
            )),
            _ => Ok(Self(octets.into())),
        }
    }

    /// Reads the first line of a file. Fails with the reason.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let line = text.split(|octet| *octet == b'\n').next();
        let line = line.unwrap_or_default();
        Self::new(line.strip_suffix(b"\r").unwrap_or(line))
            .map_err(|reason| format!("{}: {reason}", path.display()))
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

impl Transport {
    /// Of a neighbor of another AS, unless something else was said: it is on the same link, as most routers have it.
    pub(super) fn keep_to_the_link(&mut self) {
        if self.distance == Distance::Any {
            self.distance = Distance::AtMost(1);
        }
    }

    /// Reads the keys of a neighbor.
    pub(super) fn read(section: &mut Section<'_, '_>) -> Self {
        let password = section.optional("md5_password", |value| {
            Password::new(value.text()?.as_bytes())
        });
        let from_file = section.optional("md5_password_file", password_file);
        if let (Some(_), Some(_)) = (&password, &from_file)
            && let Some(place) = section.value("md5_password_file")
        {
            place.error("md5_password is there, too: which of them?");
        }
        let hops = |greatest| {
            move |value: &Value<'_, '_>| {
                let hops = value.integer(1..=greatest)?;
                Ok(u8::try_from(hops).expect("the range was checked"))
            }
        };
        let secured = section.optional("ttl_security", hops(254));
        let at_most = section.optional("multihop", hops(255));
        let distance = match (secured, at_most) {
            (Some(_), Some(_)) => {
                if let Some(place) = section.value("multihop") {
                    place.error(
                        "ttl_security says already how far away the neighbor may be (RFC 5082)",
                    );
                }
                Distance::Any
            }
            (Some(hops), None) => Distance::Secured(hops),
            (None, Some(hops)) => Distance::AtMost(hops),
            (None, None) => Distance::Any,
        };
        Self {
            md5: password.or(from_file),
            distance,
            interface: section.optional("interface", interface),
            listen: section.optional("listen", |value| {
                value.non_empty_list("the neighbor could not connect", Value::socket_address)
            }),
        }
    }
}

/// The password in a file that not everybody may use.
fn password_file(value: &Value<'_, '_>) -> Result<Password, String> {
    let path = Path::new(value.text()?);
    if !path.is_absolute() {
        return Err(format!("{} is not an absolute path", path.display()));
    }
    let readable = |error| format!("cannot read {}: {error}", path.display());
    let mode = std::fs::metadata(path).map_err(readable)?.permissions();
    if mode.mode() & 0o007 != 0 {
        return Err(format!(
            "everybody may use {}: chmod o-rwx it",
            path.display()
        ));
    }
    Password::read(path)
}

/// The name of one interface.
fn interface(value: &Value<'_, '_>) -> Result<String, String> {
    let name = value.text()?;
    let pattern = InterfacePattern::new(name)?;
    match pattern.split() {
        (name, false) => Ok(name.into()),
        (_, true) => Err(format!("{name:?} is not the name of one interface")),
    }
}

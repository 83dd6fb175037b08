//! The configuration file: TOML text in, a [`Config`] that is valid as a whole out, or every error at once.
//!
//! Each error names its line, column and key. The modules follow the tables of the file.

mod bgp;
mod control;
mod cumulus;
mod dataplane;
mod error;
mod import;
mod interface_set;
mod keys;
mod neighbor;
mod protect;
mod redirect;
mod reader;
mod sonic;
mod transport;
mod vrf;

use std::path::Path;

pub use bgp::Bgp;
pub use control::{Control, DEFAULT_SOCKET, Group, Metrics};
pub use cumulus::profile_called;
pub use dataplane::{BackendKind, Dataplane, OnStop};
pub use error::{ConfigError, ConfigErrors};
pub use interface_set::InterfaceSet;
pub use keys::{KeyChange, Keys};
pub use neighbor::Neighbor;
pub use protect::Protect;
pub use redirect::Redirect;
pub use transport::{Distance, Password, Transport};
pub use vrf::Vrf;

use crate::engine::policy::{ImportPolicy, TotalLimit};
use reader::{Reader, Section};

/// Where the daemon and `check` look for the file when none is named.
pub const DEFAULT_PATH: &str = "/etc/flowacl/flowacl.toml";

/// Everything an operator can say, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[bgp]`: who we are.
    pub bgp: Bgp,
    /// `[[neighbor]]`: who may send us routes, in the order of the file.
    pub neighbors: Vec<Neighbor>,
    /// `[[protect]]`: what no rule ever touches.
    pub protect: Vec<Protect>,
    /// `[import]`, as far as it is about all neighbors together.
    pub total: TotalLimit,
    /// `[[redirect]]`: where the packets of route targets go.
    pub redirects: Vec<Redirect>,
    /// `[[vrf]]`: the VRFs that import route targets, in the order of the file.
    pub vrfs: Vec<Vrf>,
    /// `[[interface_set]]`: which interfaces are in a group.
    pub interface_sets: Vec<InterfaceSet>,
    /// `[dataplane]`: what enforces the rules, and where.
    pub dataplane: Dataplane,
    /// `[control]`: where the command line finds the daemon.
    pub control: Control,
    /// `[metrics]`: `None` when nothing is to be served.
    pub metrics: Option<Metrics>,
    /// What stands in the file, to be compared with that of another.
    pub keys: Keys,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// Fails with everything that is wrong with it; a file that cannot be read is one error without a line.
    pub fn load(path: &Path) -> Result<Self, ConfigErrors> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text).map_err(|errors| errors.in_file(path)),
            Err(error) => Err(ConfigErrors::unreadable(path, &error)),
        }
    }

    /// Checks the text of a configuration file.
    ///
    /// Where the text is not TOML, what can still be understood is checked too.
    pub fn parse(text: &str) -> Result<Self, ConfigErrors> {
        let reader = Reader::new(text);
        let (document, syntax_errors) = toml::de::DeTable::parse_recoverable(text);
        reader.syntax_errors(&syntax_errors);
        let mut root = Section::root(&reader, &document);
        let config = Self::read(&mut root);
        root.finish();
        let mut config = reader.into_result(config)?;
        config.keys = Keys::of(text, document.get_ref());
        Ok(config)
    }

    /// Reads all tables, then checks what spans several of them.
    fn read(root: &mut Section<'_, '_>) -> Option<Self> {
        let bgp = root.table("bgp").and_then(Bgp::read);
        let (import, total) = match root.optional_table("import") {
            Some(section) => import::read_global(section),
            None => (ImportPolicy::default(), TotalLimit::default()),
        };
        let neighbors = neighbor::read_all(root, bgp.as_ref(), &import);
        let protect = protect::read_all(root);
        let redirects = redirect::read_all(root);
        let vrfs = vrf::read_all(root);
        let interface_sets = interface_set::read_all(root);
        let dataplane = match root.optional_table("dataplane") {
            Some(section) => Dataplane::read(section),
            None => Dataplane::default(),
        };
        let control = root
            .optional_table("control")
            .map(Control::read)
            .unwrap_or_default();
        let metrics = root.optional_table("metrics").and_then(Metrics::read);
        Some(Self {
            bgp: bgp?,
            neighbors,
            protect,
            redirects,
            vrfs,
            interface_sets,
            total,
            dataplane,
            control,
            metrics,
            keys: Keys::default(),
        })
    }

    /// The neighbor that `address` belongs to: the longest of the configured prefixes that contain it.
    pub fn neighbor_for(&self, address: std::net::IpAddr) -> Option<&Neighbor> {
        self.neighbors
            .iter()
            .filter(|neighbor| neighbor.remote.contains(address))
            .max_by_key(|neighbor| neighbor.remote.prefix())
    }
}

#[cfg(test)]
mod tests;

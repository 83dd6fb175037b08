//! What is written to CONFIG_DB, held against SONiC's YANG models of each release by libyang.

use std::path::{Path, PathBuf};
use std::process::Command;

use dataplane::tcam::profile::Release;
use serde_json::{Map, Value, json};

/// The folder of the models, unless `FLOWACL_SONIC_YANG` names another: beside the repository.
const DEFAULT: &str = "../shared/sonic-yang";

/// The models of all releases.
pub struct Models(PathBuf);

/// Modules that documents of ACLs, ports and groups are of.
const MODULES: [&str; 4] = ["device_metadata", "port", "portchannel", "acl"];

impl Models {
    /// Finds them; on CI nothing may be missing.
    pub fn find() -> Option<Self> {
        let named = std::env::var_os("FLOWACL_SONIC_YANG").map(PathBuf::from);
        let folder = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(DEFAULT));
        let releases = folder.join("releases");
        let has_yanglint = Command::new("yanglint").arg("--version").output().is_ok();
        let lacks = match (releases.is_dir(), has_yanglint) {
            (true, true) => return Some(Self(releases)),
            (false, _) => format!(
                "{} has no YANG models of SONiC: FLOWACL_SONIC_YANG names a folder with releases/202305/sonic-acl.yang \
                 and so on, from src/sonic-yang-models of sonic-buildimage",
                folder.display()
            ),
            (true, false) => "yanglint (libyang2-tools) is not installed".into(),
        };
        assert!(std::env::var_os("CI").is_none(), "{lacks}");
        eprintln!("skipped: {lacks}");
        None
    }

    /// Holds a configuration in the form of `config_db.json` against the models of a release.
    pub fn validate(&self, release: Release, config: &Value) -> Result<(), String> {
        let models = self.0.join(release.name());
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, sonic_yang(config).to_string()).unwrap();
        let output = Command::new("yanglint")
            .args(["-i", "-p"])
            .arg(&models)
            .args(["-p", "/usr/share/yang/modules/libyang", "-t", "config"])
            .args(MODULES.map(|module| models.join(format!("sonic-{module}.yang"))))
            .arg(&file)
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

/// Fields whose values are numbers in the models.
const NUMBERS: [&str; 9] = [
    "PRIORITY",
    "IP_PROTOCOL",
    "L4_SRC_PORT",
    "L4_DST_PORT",
    "ICMP_TYPE",
    "ICMP_CODE",
    "ICMPV6_TYPE",
    "ICMPV6_CODE",
    "DSCP",
];

/// The same in the form that SONiC's own translation (`sonic_yang`) gives it, with the ports of a switch.
fn sonic_yang(config: &Value) -> Value {
    let table = |name: &str, keys: &[&str]| {
        let documents = config[name].as_object();
        let list = documents.into_iter().flatten().map(|(key, fields)| {
            let mut entry = Map::new();
            for (name, part) in keys.iter().zip(key.splitn(keys.len(), '|')) {
                entry.insert((*name).into(), part.into());
            }
            for (field, value) in fields.as_object().unwrap() {
                let number = value.as_str().and_then(|text| text.parse::<u64>().ok());
                let value = match number.filter(|_| NUMBERS.contains(&field.as_str())) {
                    Some(number) => json!(number),
                    None => value.clone(),
                };
                entry.insert(field.clone(), value);
            }
            Value::Object(entry)
        });
        json!({ format!("{name}_LIST"): list.collect::<Vec<_>>() })
    };
    let port = |name: &str, lanes: &str| json!({"name": name, "lanes": lanes, "speed": 100_000, "alias": format!("alias-{name}")});
    json!({
        "sonic-port:sonic-port": {"PORT": {"PORT_LIST": [
            port("Ethernet0", "0,1,2,3"), port("Ethernet4", "4,5,6,7"),
        ]}},
        "sonic-portchannel:sonic-portchannel": {"PORTCHANNEL": {"PORTCHANNEL_LIST": [
            {"name": "PortChannel1", "admin_status": "up"},
        ]}},
        "sonic-acl:sonic-acl": {
            "ACL_TABLE_TYPE": table("ACL_TABLE_TYPE", &["ACL_TABLE_TYPE_NAME"]),
            "ACL_TABLE": table("ACL_TABLE", &["ACL_TABLE_NAME"]),
            "ACL_RULE": table("ACL_RULE", &["ACL_TABLE_NAME", "RULE_NAME"]),
        },
    })
}

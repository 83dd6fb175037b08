//! A switch with Cumulus Linux in a folder: policy files and the stand-in for `cl-acltool`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dataplane::cumulus::{Cumulus, Options};
use dataplane::rule::{Rule, RuleId};
use dataplane::tcam::profile::cumulus;
use flowacl::engine::bindings::Bindings;
use flowacl::engine::lower::lower;
use flowacl::flowspec::text::parse_flows;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The folder of a switch.
pub struct Switch {
    directory: TempDir,
    pub options: Options,
}

impl Switch {
    /// A switch with this hardware, and room for as many entries as its profile says. `kernel`: its rules go to the kernel of the
    /// network namespace, too, or of the namespace with this file.
    pub fn new(profile: &str, kernel: impl Into<Value>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("policy.d")).unwrap();
        let includes = format!("include {}/*.rules\n", at("policy.d").display());
        fs::write(at("policy.conf"), includes).unwrap();
        let stand_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/switch/cl-acltool");
        let script = format!(
            "#!/bin/sh\nexec {} --stand-in {} \"$@\"\n",
            stand_in.display(),
            directory.path().display()
        );
        fs::write(at("cl-acltool"), script).unwrap();
        fs::set_permissions(at("cl-acltool"), fs::Permissions::from_mode(0o755)).unwrap();
        let options = Options {
            policy_file: at("policy.d/40_flowacl.rules"),
            policy_conf: at("policy.conf"),
            tool: at("cl-acltool"),
            timeout: Duration::from_secs(30),
            ..Options::new(cumulus(profile).unwrap())
        };
        let switch = Self { directory, options };
        let room = switch.options.room();
        switch.set_hardware(json!({
            "release": if profile.starts_with("spectrum") { 5 } else { 4 },
            "ipv4": room.ipv4,
            "ipv6": room.ipv6,
            "range_checkers": switch.options.profile.range_checkers,
            "kernel": kernel.into(),
        }));
        switch
    }

    /// A file of the switch.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Says what the hardware can hold.
    pub fn set_hardware(&self, switch: Value) {
        fs::write(self.path("switch.json"), switch.to_string()).unwrap();
    }

    /// Less room than the profile says.
    pub fn shrink(&self, ipv4: usize, ipv6: usize) {
        let text = fs::read_to_string(self.path("switch.json")).unwrap();
        let mut switch: Value = serde_json::from_str(&text).unwrap();
        (switch["ipv4"], switch["ipv6"]) = (json!(ipv4), json!(ipv6));
        self.set_hardware(switch);
    }

    /// From now on each run of the tool goes wrong like this.
    pub fn set_fault(&self, fault: &str) {
        fs::write(self.path("fault"), fault).unwrap();
    }

    /// The tool is in order again.
    pub fn repair(&self) {
        fs::remove_file(self.path("fault")).unwrap();
    }

    /// The backend of this switch.
    pub fn backend(&self) -> Cumulus {
        Cumulus::new(self.options.clone())
    }

    /// Our policy file; `None` when there is none.
    pub fn file(&self) -> Option<String> {
        fs::read_to_string(&self.options.policy_file).ok()
    }

    /// The lines that the hardware has.
    pub fn hardware(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("hardware.json")).unwrap_or("[]".into());
        let lines: Vec<[String; 4]> = serde_json::from_str(&text).unwrap();
        lines.into_iter().map(|[.., line]| line).collect()
    }

    /// How often the tool was asked to install.
    pub fn installations(&self) -> usize {
        let runs = fs::read_to_string(self.path("runs")).unwrap_or_default();
        runs.lines().filter(|line| *line == "-i").count()
    }
}

/// The rules that some flows in text form become, with ids from 1.
pub fn rules(flows: &str) -> Vec<Arc<Rule>> {
    let flows = parse_flows(flows).unwrap();
    let numbered = flows.into_iter().zip(1..);
    let lowered = numbered.map(|(flow, id)| {
        let actions = Arc::new(flow.actions);
        lower(&flow.nlri, &actions, RuleId(id), &Bindings::default()).unwrap()
    });
    lowered.map(|lowered| Arc::new(lowered.rule)).collect()
}

/// True when this machine can run the stand-in; on CI it must.
pub fn has_python() -> bool {
    let version = Command::new("python3")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    let found = version.is_ok_and(|status| status.success());
    assert!(found || std::env::var_os("CI").is_none(), "no python3");
    if !found {
        eprintln!("skipped: there is no python3");
    }
    found
}

/// True when the kernel has what the stand-in needs; on CI it must.
pub fn has_iptables() -> bool {
    let mut found = has_python();
    for program in ["iptables-legacy-restore", "ip6tables-legacy-restore"] {
        let version = Command::new(program)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        found &= version.is_ok_and(|status| status.success());
    }
    assert!(found || std::env::var_os("CI").is_none(), "no iptables");
    if !found {
        eprintln!("skipped: there is no iptables");
    }
    found
}

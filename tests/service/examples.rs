//! Every example: read by the program that it is for, and run.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::network::{Network, find};
use super::program::{Program, ask, run, try_run};
use super::{REPOSITORY, available, told};
use crate::waiting::eventually;

/// What `examples/controllers/` announces of the attack that `examples/ntp-reflection` plays.
const REFLECTION: &str = "flow route { match { destination 203.0.113.5/32; protocol =udp; \
    source-port =123; packet-length >=200; } then { discard; } }";

/// An example.
fn example(name: &str) -> PathBuf {
    Path::new(REPOSITORY).join("examples").join(name)
}

/// The router of the examples, with its own configuration.
struct Router<'network> {
    network: &'network Network,
    _daemon: Program,
}

impl<'network> Router<'network> {
    /// Starts it.
    fn start(network: &'network Network) -> Self {
        let mut text = fs::read_to_string(example("router.toml")).unwrap();
        text += &format!(
            "[control]\nsocket = {:?}\nstate_directory = {:?}\n",
            network.path("flowacl.sock"),
            network.path("")
        );
        let configuration = network.path("flowacl.toml");
        fs::write(&configuration, text).unwrap();
        let mut command = network.on_router(env!("CARGO_BIN_EXE_flowacl"));
        command.arg("run").arg("--config").arg(&configuration);
        Self {
            network,
            _daemon: Program::start(&mut command, &network.path("flowacl.log")),
        }
    }

    /// Waits until just these flows are in force.
    fn enforces(&self, flows: &[&str]) {
        let expected: BTreeSet<_> = flows.iter().map(|flow| (*flow).to_owned()).collect();
        let socket = self.network.path("flowacl.sock");
        eventually("the rules", || {
            let report = ask(&socket, "rules")?;
            let rules = report["rules"].as_array().ok_or("no rules")?;
            let installed = rules.iter().all(|rule| rule["state"] == "installed");
            let flows = rules.iter().filter_map(|rule| rule["flow"].as_str());
            let found: BTreeSet<_> = flows.map(str::to_owned).collect();
            match installed && found == expected {
                true => Ok(()),
                false => Err(format!("{report:#}\nexpected {expected:#?}")),
            }
        });
    }
}

/// ExaBGP with its example, changed as an operator would: where its pipe is, and who is who.
struct ExaBgp {
    pipe: PathBuf,
    _program: Program,
}

impl ExaBgp {
    /// Starts it on the controller's side.
    fn start(network: &Network, changes: &[(&str, &str)]) -> Self {
        let pipe = network.path("exabgp.pipe");
        let commands = example("controllers/exabgp-commands");
        let mut text = fs::read_to_string(example("controllers/exabgp.conf")).unwrap();
        let places = [
            (
                "/etc/exabgp/exabgp-commands",
                commands.display().to_string(),
            ),
            ("/run/exabgp/commands;", format!("{};", pipe.display())),
        ];
        for (from, to) in &places {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let path = network.path("exabgp.conf");
        fs::write(&path, text).unwrap();
        let mut command = network.on_controller("exabgp");
        command.arg(&path);
        for (key, value) in [("daemon.user", "root"), ("api.cli", "false")] {
            command.env(format!("exabgp.{key}"), value);
        }
        command.env("exabgp.api.ack", "false");
        Self {
            _program: Program::start(&mut command, &network.path("exabgp.log")),
            pipe,
        }
    }

    /// Writes a command to the pipe, as any program may.
    fn command(&self, line: &str) {
        eventually("the pipe is there", || {
            let exists = self.pipe.exists();
            exists.then_some(()).ok_or("not there".to_owned())
        });
        let mut pipe = fs::File::options().write(true).open(&self.pipe).unwrap();
        writeln!(pipe, "{line}").unwrap();
    }
}

/// The words of the comments of an example that begin with a program's name.
fn commands(text: &str, program: &str) -> Vec<Vec<String>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("#   "));
    let lines = lines.filter(|line| line.starts_with(program));
    lines
        .map(|line| line.split(' ').map(|word| word.replace('\'', "")).collect())
        .collect()
}

#[test]
fn configurations_are_right() {
    let files = fs::read_dir(example("")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    let configurations = files
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let mut count = 0;
    for path in configurations {
        let mut check = Command::new(env!("CARGO_BIN_EXE_flowacl"));
        let output = told(check.arg("check").arg("--config").arg(path));
        assert!(output.contains("right: AS"), "{output}");
        assert!(!output.contains("note:"), "{output}");
        count += 1;
    }
    assert!(count > 0, "no examples");
}

#[test]
fn controllers_read_theirs() {
    let rows: &[(&str, &[&str], &str)] = &[
        ("exabgp", &["--test"], "exabgp.conf"),
        ("gobgpd", &["--dry-run", "-f"], "gobgpd.toml"),
        ("bird", &["-p", "-c"], "bird.conf"),
        ("bgpd", &["--dryrun", "-f"], "frr.conf"),
        ("vtysh", &["-C", "-f"], "frr.conf"),
        ("sh", &["-n"], "fastnetmon-advanced.sh"),
    ];
    for (program, options, file) in rows {
        if available(&[program]) {
            let mut command = Command::new(find(program).unwrap());
            told(
                command
                    .args(*options)
                    .arg(example("controllers").join(file)),
            );
        }
    }
}

#[test]
fn exabgp_and_fastnetmon_announce_and_take_back() {
    let Some(network) = Network::new(&["exabgp"]) else {
        return;
    };
    let router = Router::start(&network);
    let exabgp = ExaBgp::start(&network, &[]);
    router.enforces(&[REFLECTION]);

    let text = fs::read_to_string(example("controllers/exabgp.conf")).unwrap();
    let echo = commands(&text, "echo").remove(0);
    let line = echo[1..].join(" ");
    let (line, _) = line.split_once(" >").unwrap();
    let limited =
        "flow route { match { destination 203.0.113.7/32; } then { rate-limit 125000; } }";
    exabgp.command(line);
    router.enforces(&[REFLECTION, limited]);
    exabgp.command(&line.replace("announce", "withdraw"));
    router.enforces(&[REFLECTION]);

    let notify = |address: &str, direction: &str, action: &str| {
        let mut notify = Command::new(example("controllers/fastnetmon-notify"));
        notify.env("EXABGP_PIPE", &exabgp.pipe);
        run(notify.args([address, direction, "250000", action]));
    };
    let amplified = [
        "flow route { match { destination 203.0.113.9/32; protocol =udp; \
            source-port [ =17 =19 =123 =161 =389 =1900 =11211 ]; packet-length >=200; } \
            then { discard; } }",
        "flow route { match { destination 203.0.113.9/32; protocol =udp; source-port =53; \
            packet-length >=600; } then { rate-limit 1000000; } }",
        "flow route { match { destination 2001:db8:100::9/128; next-header =udp; \
            source-port [ =17 =19 =123 =161 =389 =1900 =11211 ]; packet-length >=200; } \
            then { discard; } }",
        "flow route { match { destination 2001:db8:100::9/128; next-header =udp; \
            source-port =53; packet-length >=600; } then { rate-limit 1000000; } }",
    ];
    for address in ["203.0.113.9", "2001:db8:100::9"] {
        notify(address, "outgoing", "ban");
        notify(address, "incoming", "ban");
        notify(address, "incoming", "attack_details");
    }
    router.enforces(&[&[REFLECTION], &amplified[..]].concat());
    notify("2001:db8:100::9", "incoming", "unban");
    router.enforces(&[&[REFLECTION], &amplified[..2]].concat());
    notify("203.0.113.9", "incoming", "unban");
    router.enforces(&[REFLECTION]);
}

#[test]
fn gobgp_announces() {
    let Some(network) = Network::new(&["gobgpd", "gobgp"]) else {
        return;
    };
    let router = Router::start(&network);
    let file = example("controllers/gobgpd.toml");
    let mut command = network.on_controller("gobgpd");
    command.arg("-f").arg(&file);
    let _program = Program::start(
        command.args(["--api-hosts", "127.0.0.1:50051"]),
        &network.path("gobgpd.log"),
    );
    eventually("gobgpd answers", || {
        try_run(network.on_controller("gobgp").arg("global"))
    });
    let commands = commands(&fs::read_to_string(file).unwrap(), "gobgp ");
    assert_eq!(commands.len(), 2);
    for command in &commands {
        run(network.on_controller("gobgp").args(&command[1..]));
    }
    let web = "flow route { match { destination 2001:db8:100::5/128; next-header =tcp; \
        destination-port =80; } then { rate-limit 125000; } }";
    router.enforces(&[REFLECTION, web]);
    let take_back = commands[0][1..].iter();
    let take_back = take_back.map(|word| if word == "add" { "del" } else { word });
    run(network.on_controller("gobgp").args(take_back));
    router.enforces(&[web]);
}

#[test]
fn bird_announces() {
    let Some(network) = Network::new(&["bird"]) else {
        return;
    };
    let router = Router::start(&network);
    let mut command = network.on_controller("bird");
    command.args(["-f", "-c"]);
    command.arg(example("controllers/bird.conf"));
    command.arg("-s").arg(network.path("bird.ctl"));
    let _program = Program::start(&mut command, &network.path("bird.log"));
    router.enforces(&[
        "flow route { match { destination 203.0.113.5/32; protocol =udp; source-port =123; \
            packet-length [ >=200&<=65535 ]; } then { discard; } }",
        "flow route { match { destination 203.0.113.7/32; fragment =is-fragment; } \
            then { rate-limit 125000; } }",
        "flow route { match { destination 2001:db8:100::5/128; next-header =tcp; \
            destination-port =80; } then { rate-limit 125000; } }",
    ]);
}

#[test]
fn frr_passes_on_what_exabgp_announces() {
    let Some(network) = Network::new(&["bgpd", "exabgp"]) else {
        return;
    };
    run(network
        .on_controller("ip")
        .args(["address", "add", "192.0.2.10/32", "dev", "lo"]));
    let router = Router::start(&network);
    let sockets = network.path("frr");
    fs::create_dir(&sockets).unwrap();
    let mut command = network.on_controller("bgpd");
    command.arg("--no_zebra").arg("-f");
    command.arg(example("controllers/frr.conf")).arg("-i");
    command.arg(sockets.join("bgpd.pid")).arg("--vty_socket");
    command
        .arg(&sockets)
        .args(["-u", "root", "-g", "root", "-S"]);
    let _program = Program::start(&mut command, &network.path("bgpd.log"));
    let _feeder = ExaBgp::start(
        &network,
        &[
            ("192.0.2.1;", "192.0.2.10;"),
            ("neighbor 192.0.2.2 ", "neighbor 192.0.2.1 "),
            ("peer-as 65140;", "peer-as 65070;"),
        ],
    );
    router.enforces(&[REFLECTION]);
}

#[test]
fn the_lab_plays_its_attack() {
    if !available(&["ip", "python3", "exabgp"]) {
        return;
    }
    for options in [&["--bridge"][..], &["--exabgp"]] {
        let mut lab = Command::new(example("ntp-reflection"));
        lab.args(options)
            .env("FLOWACL", env!("CARGO_BIN_EXE_flowacl"));
        let output = run(&mut lab);
        for line in [
            "400 packets of 468 octets sent, 400 arrived",
            "400 packets of 468 octets sent, 0 arrived",
            "As it should be.",
        ] {
            assert!(output.contains(line), "{options:?}: {output}");
        }
    }
}

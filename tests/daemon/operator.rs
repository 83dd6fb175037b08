//! What an operator orders: rules out of force, for one moment or beyond a restart.

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::*;
use crate::waiting::eventually;

impl Daemon {
    /// Gives an order, which must be carried out; returns what was said.
    pub(super) fn order(&self, arguments: &[&str]) -> String {
        let (succeeded, said) = self.try_order(arguments);
        assert!(succeeded, "{arguments:?}: {said}");
        said
    }

    /// Gives an order; returns whether it was carried out, and what was said.
    pub(super) fn try_order(&self, arguments: &[&str]) -> (bool, String) {
        let output = flowacl(arguments)
            .arg("--socket")
            .arg(self.path("flowacl.sock"))
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    }

    /// Ends it with a signal and starts it anew.
    fn restart(&mut self) {
        assert_eq!(self.program.stop(), Some(0));
        let config = self.path("flowacl.toml");
        self.program = Program::start_again(&mut program::daemon(&config), &self.path("log"));
        eventually("the daemon answers again", || self.try_show("summary"));
    }

    /// The rules out of force by an order of their own.
    fn disabled(&self) -> usize {
        let summary = self.show("summary");
        summary["disabled"].as_array().map_or(0, Vec::len)
    }
}

#[test]
fn a_rule_is_disabled_and_enabled() {
    let mut daemon = Daemon::start(ANYBODY);
    let controller = daemon.announce("127.0.0.2", &[FLOW, OTHER_FLOW]);
    let both = [
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.2", "installed"),
    ];
    let one = [
        (NLRI, "127.0.0.2", "rejected"),
        (OTHER_NLRI, "127.0.0.2", "installed"),
    ];
    daemon.has_rules(&both);
    let said = daemon.order(&["disable", "destination 203.0.113.5/32;"]);
    assert!(said.contains("announced by 127.0.0.2"), "{said}");
    daemon.has_rules(&one);
    let reason = daemon.show("rules")["rules"][0]["reason"].clone();
    assert!(
        reason
            .as_str()
            .unwrap()
            .contains("disabled by the operator"),
        "{reason}"
    );
    assert_eq!(daemon.show("dataplane")["facts"][0][1], "1");
    drop(controller);
    daemon.has_rules(&[]);
    let _controller = daemon.announce("127.0.0.2", &[FLOW, OTHER_FLOW]);
    daemon.has_rules(&one);
    daemon.logged("disable uid=");

    daemon.order(&["enable", NLRI]);
    daemon.has_rules(&both);

    // Only what is to be kept is.
    daemon.order(&["disable", NLRI]);
    let said = daemon.order(&["disable", "--persist", OTHER_NLRI]);
    assert!(said.contains("also after a restart"), "{said}");
    assert_eq!(daemon.disabled(), 2);
    daemon.restart();
    assert_eq!(daemon.disabled(), 1);
    let _controller = daemon.announce("127.0.0.2", &[FLOW, OTHER_FLOW]);
    daemon.has_rules(&[
        (NLRI, "127.0.0.2", "installed"),
        (OTHER_NLRI, "127.0.0.2", "rejected"),
    ]);
    daemon.order(&["enable", OTHER_NLRI]);
    daemon.has_rules(&both);
    daemon.restart();
    assert_eq!(daemon.disabled(), 0);
}

#[test]
fn orders_that_make_no_sense_are_refused_in_words() {
    let daemon = Daemon::start(ANYBODY);
    let rows: [(&[&str], &str); 3] = [
        (&["disable", "r17"], "no route has a rule called r17"),
        (&["disable", "everything"], "neither the id of a rule"),
        (&["enable", NLRI], "no route is"),
    ];
    for (arguments, wanted) in rows {
        let (succeeded, said) = daemon.try_order(arguments);
        assert!(!succeeded && said.contains(wanted), "{arguments:?}: {said}");
    }
}

#[test]
fn a_panic_takes_everything_out_of_force_and_keeps_the_sessions() {
    let mut daemon = Daemon::start(ANYBODY);
    let _controller = daemon.announce("127.0.0.2", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    let explain = |daemon: &Daemon| {
        daemon.order(&["explain", "udp 198.51.100.7:123 > 203.0.113.5:4444 len 468"])
    };
    assert!(explain(&daemon).starts_with("discard"));
    daemon.order(&["panic"]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "rejected")]);
    assert!(explain(&daemon).contains("panic"), "{}", explain(&daemon));
    assert_eq!(daemon.show("summary")["suspended"], true);
    assert_eq!(daemon.neighbor("127.0.0.2").unwrap()["ups"], 1);
    let shown = daemon.order(&["show", "summary"]);
    assert!(shown.contains("PANIC"), "{shown}");
    daemon.order(&["resume"]);
    daemon.has_rules(&[(NLRI, "127.0.0.2", "installed")]);
    assert_eq!(daemon.neighbor("127.0.0.2").unwrap()["ups"], 1);

    daemon.order(&["panic", "--persist"]);
    daemon.restart();
    assert_eq!(daemon.show("summary")["suspended"], true);
    let _controller = daemon.announce("127.0.0.3", &[FLOW]);
    daemon.has_rules(&[(NLRI, "127.0.0.3", "rejected")]);
    daemon.order(&["resume"]);
    daemon.has_rules(&[(NLRI, "127.0.0.3", "installed")]);
    daemon.restart();
    assert_eq!(daemon.show("summary")["suspended"], false);
}

#[test]
fn damaged_orders_put_nothing_in_force_and_say_so() {
    let mut daemon = Daemon::start(ANYBODY);
    fs::create_dir(daemon.path("state")).unwrap();
    fs::write(daemon.path("state/orders.json"), "{ \"version\": 1, \"dis").unwrap();
    daemon.restart();
    daemon.logged("orders.json: is damaged");
    daemon.logged("no rule is in force until `flowacl resume`");
    assert_eq!(daemon.show("summary")["suspended"], Value::Bool(true));
    daemon.order(&["resume"]);
    daemon.restart();
    assert_eq!(daemon.show("summary")["suspended"], Value::Bool(false));
}

/// The thread of a process that has this name.
fn thread(process: u32, name: &str) -> i32 {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut tasks = tasks.map(|task| task.unwrap().path());
    let task = tasks.find(|task| fs::read_to_string(task.join("comm")).unwrap().trim() == name);
    let task = task.expect(name);
    task.file_name().unwrap().to_str().unwrap().parse().unwrap()
}

#[test]
fn systemd_hears_nothing_while_the_packet_filter_hangs() {
    const LIMIT: Duration = Duration::from_millis(600);
    let directory = tempfile::tempdir().unwrap();
    let notify = UnixDatagram::bind(directory.path().join("notify")).unwrap();
    // The next thing that systemd is told, within the time after which it loses patience.
    let told = || {
        notify.set_read_timeout(Some(LIMIT)).unwrap();
        let mut octets = [0; 256];
        let length = notify.recv(&mut octets).ok()?;
        Some(String::from_utf8_lossy(&octets[..length]).into_owned())
    };
    let config = directory.path().join("flowacl.toml");
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    fs::write(&config, configuration(port, &directory, ANYBODY)).unwrap();
    let mut command = program::daemon(&config);
    command
        .env("NOTIFY_SOCKET", directory.path().join("notify"))
        .env("WATCHDOG_USEC", LIMIT.as_micros().to_string());
    let program = Program::start(&mut command, &directory.path().join("log"));
    eventually("it is ready", || match told() {
        Some(told) if told.contains("READY=1") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    for _ in 0..3 {
        let told = told();
        assert!(
            told.as_ref()
                .is_some_and(|told| told.contains("WATCHDOG=1")),
            "{told:?}"
        );
    }
    let thread = Pid::from_raw(thread(program.id(), "flowacl-filter"));
    if let Err(error) = ptrace::seize(thread, ptrace::Options::empty()) {
        assert!(
            std::env::var_os("CI").is_none(),
            "cannot hold a thread: {error}"
        );
        return eprintln!("skipped: cannot hold a thread: {error}");
    }
    ptrace::interrupt(thread).unwrap();
    waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
    // One may have been on its way.
    eventually("nothing is told", || match told() {
        None => Ok(()),
        Some(told) => Err(told),
    });
    ptrace::detach(thread, None).unwrap();
    let told = told();
    assert!(
        told.as_ref()
            .is_some_and(|told| told.contains("WATCHDOG=1")),
        "{told:?}"
    );
}

#[test]
fn orders_do_not_wait_for_routes() {
    use super::scale::rule;
    let daemon = Daemon::start(ANYBODY);
    let mut controller = RawController::connect(daemon.port);
    let routes: Vec<_> = (0..20_000).map(rule).collect();
    // One by one: each is an input of its own for the engine.
    let storm = std::thread::spawn(move || {
        controller.send(&routes, 1, false);
        controller
    });
    eventually("the storm has begun", || {
        match daemon.rules().len() {
            0 => Err("no rule"),
            _ => Ok(()),
        }
        .map_err(str::to_owned)
    });
    let start = Instant::now();
    daemon.order(&["panic"]);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let nlri = hex::encode(rule(1).encoded());
    let start = Instant::now();
    daemon.order(&["disable", &format!("ipv4-flow {nlri}")]);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let _controller = storm.join().unwrap();
    daemon.order(&["resume"]);
    eventually("all but one are in force", || {
        match daemon.show("summary") {
            summary if summary["installed"] == 19_999 && summary["rejected"] == 1 => Ok(()),
            summary => Err(summary.to_string()),
        }
    });
}

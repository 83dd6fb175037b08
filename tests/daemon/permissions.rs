//! Who may ask the daemon, and who may give it orders: other users on the same machine.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use super::*;

/// A user that has nothing to do with the daemon.
const NOBODY: &str = "65534";
/// Groups that every Linux machine has, with their numbers.
const READERS: (&str, &str) = ("daemon", "1");
/// See [`READERS`].
const WRITERS: (&str, &str) = ("adm", "4");

/// A daemon that others may reach, and a copy of the program that they may run.
fn reachable(control: &str) -> Option<(Daemon, PathBuf)> {
    let root = nix::unistd::Uid::effective().is_root();
    let setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if !root || !setpriv {
        assert!(std::env::var_os("CI").is_none(), "needs root and setpriv");
        eprintln!("skipped: needs root and setpriv");
        return None;
    }
    let daemon = Daemon::start_with(|port, directory| {
        let text = configuration(port, directory, ANYBODY);
        text.replace("[control]\n", &format!("[control]\n{control}"))
    });
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(daemon.directory.path(), open).unwrap();
    let program = daemon.path("flowacl");
    fs::copy(env!("CARGO_BIN_EXE_flowacl"), &program).unwrap();
    Some((daemon, program))
}

/// Runs a command as nobody with these groups.
fn as_nobody(
    (daemon, program): &(Daemon, PathBuf),
    groups: &[&str],
    arguments: &[&str],
) -> (bool, String) {
    let groups = match groups {
        [] => "--clear-groups".to_owned(),
        groups => format!("--groups={}", groups.join(",")),
    };
    let output = Command::new("setpriv")
        .args([
            &format!("--reuid={NOBODY}"),
            &format!("--regid={NOBODY}"),
            &groups,
        ])
        .arg(program)
        .args(arguments)
        .args(["--socket", daemon.path("flowacl.sock").to_str().unwrap()])
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn without_groups_the_socket_is_for_root_alone() {
    let Some(reachable) = reachable("") else {
        return;
    };
    let metadata = fs::metadata(reachable.0.path("flowacl.sock")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let (succeeded, said) = as_nobody(&reachable, &[], &["show", "summary"]);
    assert!(!succeeded && said.contains("Permission denied"), "{said}");
    reachable.0.show("summary");
}

#[test]
fn groups_may_ask_and_change_what_they_may() {
    let groups = format!(
        "read_group = {:?}\nwrite_group = {:?}\n",
        READERS.0, WRITERS.0
    );
    let Some(reachable) = reachable(&groups) else {
        return;
    };
    let metadata = fs::metadata(reachable.0.path("flowacl.sock")).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    assert_eq!(metadata.gid().to_string(), READERS.1);

    let (show, panic) = (&["show", "summary"][..], &["panic"][..]);
    let reader = &[READERS.1][..];
    let writer = &[READERS.1, WRITERS.1][..];
    let rows = [
        ("a stranger asks", &[][..], show, false, "Permission denied"),
        ("a reader asks", reader, show, true, "established"),
        (
            "a reader asks for the difference",
            reader,
            &["reload", "--dry-run"],
            true,
            "nothing has changed",
        ),
        (
            "a reader changes",
            reader,
            panic,
            false,
            "only root and members of the group adm may (control.write_group)",
        ),
        (
            "a reader reloads",
            reader,
            &["reload"],
            false,
            "control.write_group",
        ),
        (
            "a reader disables",
            reader,
            &["disable", NLRI],
            false,
            "control.write_group",
        ),
        ("a writer asks", writer, show, true, "established"),
        (
            "a writer changes",
            writer,
            panic,
            true,
            "no rule is in force",
        ),
    ];
    for (name, groups, arguments, allowed, wanted) in rows {
        let (succeeded, said) = as_nobody(&reachable, groups, arguments);
        assert_eq!(succeeded, allowed, "{name}: {said}");
        assert!(said.contains(wanted), "{name}: {said}");
    }
    let daemon = &reachable.0;
    assert_eq!(daemon.show("summary")["suspended"], true);
    daemon.logged(&format!("refused: uid {NOBODY} may not change the daemon"));
    daemon.logged(&format!(
        "panic: no rule is in force any more uid={NOBODY} pid="
    ));
}

#[test]
fn a_group_that_does_not_exist_is_an_error_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let text = configuration(1790, &directory, ANYBODY)
        .replace("[control]\n", "[control]\nread_group = \"no-such-group\"\n");
    let error = Config::parse(&text).unwrap_err().to_string();
    assert!(
        error.contains("8:14: control.read_group: there is no group"),
        "{error}"
    );
}

//! Sessions with MD5 passwords, from the daemon's and from the controller's side.

use std::fs;

use super::{Daemon, FLOW, NLRI, OTHER_FLOW, OTHER_NLRI};
use crate::waiting::eventually;

/// Writes a password that only we may read, and names the file.
fn secret(daemon: &Daemon, name: &str, password: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = daemon.path(name);
    fs::write(&path, password).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn another_password_restarts_its_session_and_no_other() {
    let daemon = Daemon::start("");
    let (first, second) = (
        secret(&daemon, "first", "rosebud\n"),
        secret(&daemon, "second", "xanadu\n"),
    );
    let neighbors = format!(
        "[[neighbor]]\naddress = \"127.0.0.2\"\nremote_as = 65070\nmd5_password_file = \"{first}\"\n\
         [[neighbor]]\naddress = \"127.0.0.3\"\nremote_as = 65070\nmd5_password_file = \"{second}\"\n"
    );
    let text = super::configuration(daemon.port, &daemon.directory, &neighbors);
    daemon.reload(&text);
    daemon.logged("reloaded the configuration");
    let option = "--md5-password-file";
    let patience = ["--patience", "60"];
    let _first = daemon.announce(
        "127.0.0.2",
        &[&[option, &first][..], &patience, &[FLOW]].concat(),
    );
    let _second = daemon.announce(
        "127.0.0.3",
        &[&[option, &second][..], &patience, &[OTHER_FLOW]].concat(),
    );
    let first_rule = (NLRI, "127.0.0.2", "installed");
    let second_rule = (OTHER_NLRI, "127.0.0.3", "installed");
    daemon.has_rules(&[first_rule, second_rule]);

    secret(&daemon, "first", "kane\n");
    daemon.reload(&text);
    daemon.has_rules(&[second_rule]);
    let late = daemon.path("late");
    fs::write(&late, "kane\n").unwrap();
    let late = late.to_str().unwrap();
    let _late = daemon.announce(
        "127.0.0.2",
        &[&[option, late][..], &patience, &[FLOW]].concat(),
    );
    daemon.has_rules(&[first_rule, second_rule]);
    assert_eq!(daemon.neighbor("127.0.0.3").unwrap()["ups"], 1);
    let shown = format!("{}{}", daemon.show("neighbors"), daemon.log());
    for password in ["rosebud", "xanadu", "kane"] {
        assert!(!shown.contains(password), "{password}: {shown}");
    }
}

#[test]
fn a_controller_without_the_password_is_not_heard_and_that_is_shown() {
    let daemon = Daemon::start("");
    let path = secret(&daemon, "secret", "rosebud");
    let neighbors = format!(
        "[[neighbor]]\naddress = \"127.0.0.2\"\nremote_as = 65070\nmd5_password_file = \"{path}\"\n"
    );
    daemon.reload(&super::configuration(
        daemon.port,
        &daemon.directory,
        &neighbors,
    ));
    daemon.logged("reloaded the configuration");
    let _controller = daemon.announce("127.0.0.2", &[FLOW]);
    eventually("the reason", || {
        let neighbor = daemon.neighbor("127.0.0.2").unwrap();
        let reason = neighbor["last_error"].as_str().unwrap_or_default();
        match reason.contains("has the neighbor the same MD5 password?") {
            true => Ok(()),
            false => Err(neighbor.to_string()),
        }
    });
    daemon.has_rules(&[]);
}

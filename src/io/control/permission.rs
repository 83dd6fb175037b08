//! Who may ask the daemon, and who may give it orders.

use std::fmt;
use std::os::fd::AsFd;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use nix::unistd::Uid;
use tokio::net::{UnixListener, UnixStream};

use super::sys;
use crate::config::{Control, Group};

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// To be told something.
    Read,
    /// To change what the daemon does.
    Change,
}

/// Who is at the other end, as the kernel knew when the connection was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Effective user; `None` when the kernel does not say.
    pub(super) uid: Option<u32>,
    /// Process; likewise.
    pub(super) pid: Option<i32>,
    /// Effective and supplementary groups.
    groups: Vec<u32>,
}

impl Caller {
    /// Whoever has connected.
    fn of(stream: &UnixStream) -> Self {
        let credentials = stream.peer_cred().ok();
        let mut groups = sys::peer_groups(stream.as_fd()).unwrap_or_else(|error| {
            tracing::warn!("cannot read the groups of whoever asks: {error}");
            Vec::new()
        });
        groups.extend(credentials.map(|credentials| credentials.gid()));
        Self {
            uid: credentials.map(|credentials| credentials.uid()),
            pid: credentials.and_then(|credentials| credentials.pid()),
            groups,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            Some(uid) => write!(f, "uid {uid}"),
            None => f.write_str("somebody unknown"),
        }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self::of(stream.io())
    }
}

/// Who has which right. Root and the daemon's own user have both.
#[derive(Clone, Debug)]
pub(in crate::io) struct Permissions {
    own_uid: u32,
    read_group: Option<Group>,
    write_group: Option<Group>,
}

impl Permissions {
    /// As configured.
    pub(in crate::io) fn new(control: &Control) -> Self {
        Self {
            own_uid: Uid::effective().as_raw(),
            read_group: control.read_group.clone(),
            write_group: control.write_group.clone(),
        }
    }

    /// Fails with what to tell a caller that does not have the right.
    pub(super) fn check(&self, caller: &Caller, right: Right) -> Result<(), String> {
        let trusted = [0, self.own_uid];
        if caller.uid.is_some_and(|uid| trusted.contains(&uid)) {
            return Ok(());
        }
        let (groups, what): (&[&Option<Group>], _) = match right {
            Right::Read => (&[&self.read_group, &self.write_group], "ask"),
            Right::Change => (&[&self.write_group], "change"),
        };
        let mut groups = groups.iter().copied().flatten();
        if groups
            .clone()
            .any(|group| caller.groups.contains(&group.gid))
        {
            return Ok(());
        }
        let who = match groups.next() {
            Some(group) => format!("root and members of the group {}", group.name),
            None => "root".into(),
        };
        let key = match right {
            Right::Read => "control.read_group",
            Right::Change => "control.write_group",
        };
        Err(format!(
            "{caller} may not {what} the daemon: only {who} may ({key})"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_follow_user_and_groups() {
        use Right::{Change, Read};
        let group = |gid| {
            Some(Group {
                name: format!("g{gid}"),
                gid,
            })
        };
        let rows = [
            ("root", 0, vec![], None, None, Read, true),
            ("root changes", 0, vec![], None, None, Change, true),
            ("ourselves", 990, vec![], None, None, Change, true),
            ("a stranger", 1000, vec![1000], None, None, Read, false),
            (
                "a reader",
                1000,
                vec![1000, 7],
                group(7),
                group(8),
                Read,
                true,
            ),
            (
                "a reader changes",
                1000,
                vec![7],
                group(7),
                group(8),
                Change,
                false,
            ),
            ("a writer", 1000, vec![8], group(7), group(8), Change, true),
            (
                "a writer reads",
                1000,
                vec![8],
                group(7),
                group(8),
                Read,
                true,
            ),
            (
                "a reader, nobody may write",
                1000,
                vec![7],
                group(7),
                None,
                Change,
                false,
            ),
            (
                "a stranger with groups",
                1000,
                vec![9],
                group(7),
                group(8),
                Read,
                false,
            ),
        ];
        for (name, uid, groups, read_group, write_group, right, allowed) in rows {
            let permissions = Permissions {
                own_uid: 990,
                read_group,
                write_group,
            };
            let caller = Caller {
                uid: Some(uid),
                pid: Some(1),
                groups,
            };
            let answer = permissions.check(&caller, right);
            assert_eq!(answer.is_ok(), allowed, "{name}: {answer:?}");
        }
        let nobody = Caller {
            uid: None,
            pid: None,
            groups: Vec::new(),
        };
        let permissions = Permissions::new(&Control::default());
        let refusal = permissions.check(&nobody, Change).unwrap_err();
        assert!(
            refusal.contains("only root may (control.write_group)"),
            "{refusal}"
        );
    }
}

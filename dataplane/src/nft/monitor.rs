//! Who else changes the ruleset: the kernel's announcements of new generations.
//!
//! What is announced carries the name of the program that made the change. The answer to a question
//! for the generation looks alike, but names who asks.

use std::io;

use netlink_sys::{Socket, protocols::NETLINK_NETFILTER};
use socket2::{SockFilter, SockRef};

use super::message::{NEW_GENERATION, find_string, find_u32};
use super::reply::{Reply, replies};

/// `NFNLGRP_NFTABLES`: the group to which changes are announced.
const GROUP: u32 = 7;
/// Announcements of generations are shorter than this.
const ANNOUNCEMENT_MAX: usize = 4096;

/// A socket that hears of changes by anybody, ourselves included.
///
/// While anybody listens, in whatever network namespace, the kernel writes an announcement of each object of a change: a
/// transaction of 100,000 takes several times as long.
pub(super) struct Monitor {
    socket: Socket,
    datagram: Vec<u8>,
}

/// A change of the ruleset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The generation that it made.
    pub(super) generation: u32,
    /// The thread that made it, as the initial PID namespace numbers it.
    pub(super) pid: u32,
    /// The name of that thread: of the program, unless it names its threads.
    pub(super) program: String,
}

impl Monitor {
    /// Listens in the network namespace of this thread.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        // Of a large change everything is announced, its generation last: only that may take room.
        SockRef::from(&socket).attach_filter(&only_generations())?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        socket.add_membership(GROUP)?;
        Ok(Self {
            socket,
            datagram: Vec::with_capacity(ANNOUNCEMENT_MAX),
        })
    }

    /// Hands over what was announced since the last call, oldest first, without waiting. Of a flood
    /// the kernel keeps the beginning.
    pub(super) fn changes(&mut self, mut each: impl FnMut(Change)) -> io::Result<()> {
        loop {
            self.datagram.clear();
            match self.socket.recv(&mut self.datagram, 0) {
                Ok(_) => replies(&self.datagram)
                    .filter_map(|announcement| change(&announcement))
                    .for_each(&mut each),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The kernel says once that there was no room for more.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The change that an announcement speaks of; `None` for another message.
fn change(announcement: &Reply<'_>) -> Option<Change> {
    if announcement.kind != NEW_GENERATION {
        return None;
    }
    let attributes = announcement.attributes();
    Some(Change {
        generation: find_u32(attributes, 1)?,
        pid: find_u32(attributes, 2)?,
        program: find_string(attributes, 3)?.to_string(),
    })
}

/// A socket filter that lets only new generations pass.
fn only_generations() -> [SockFilter; 4] {
    /// `BPF_LD | BPF_H | BPF_ABS`.
    const LOAD_U16: u16 = 0x28;
    /// `BPF_JMP | BPF_JEQ | BPF_K`.
    const JUMP_IF_EQUAL: u16 = 0x15;
    /// `BPF_RET | BPF_K`.
    const RETURN: u16 = 0x06;
    /// Where the type stands in the netlink header.
    const KIND_OFFSET: u32 = 4;
    // The filter loads it as if it were big-endian.
    let kind = u16::from_be_bytes(NEW_GENERATION.to_ne_bytes());
    [
        SockFilter::new(LOAD_U16, 0, 0, KIND_OFFSET),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from(kind)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NLM_F_CREATE;

    use super::*;
    use crate::nft::message::{Attributes, Kind, Message};
    use crate::nft::namespace::{in_namespace, run};
    use crate::nft::transport::Transport;

    /// The changes announced by now.
    fn changes(monitor: &mut Monitor) -> Vec<Change> {
        let mut changes = Vec::new();
        monitor.changes(|change| changes.push(change)).unwrap();
        changes
    }

    #[test]
    fn changes_are_announced_with_their_author() {
        in_namespace(|| {
            let mut monitor = Monitor::open().unwrap();
            assert_eq!(changes(&mut monitor), []);
            let mut transport = Transport::open().unwrap();
            let start = transport.generation().unwrap();
            let table = Message::new(Kind::NewTable, NLM_F_CREATE, Attributes::of_table());
            let ours = transport.transact(&[table], Some(start)).unwrap();
            run("nft", &["add", "chain", "inet", "flowacl", "foreign"]);
            run("nft", &["flush", "ruleset"]);

            let found = changes(&mut monitor);
            let generations: Vec<u32> = found.iter().map(|change| change.generation).collect();
            assert_eq!(generations, [ours, ours + 1, ours + 2]);
            assert_eq!(found[1].program, "nft");
            assert_eq!(found[2].program, "nft");
            assert_ne!(found[1].pid, found[2].pid);
            assert_ne!(found[0].program, "nft");
            assert_eq!(changes(&mut monitor), []);
        });
    }

    #[test]
    fn a_large_change_does_not_crowd_out_its_generation() {
        in_namespace(|| {
            let mut monitor = Monitor::open().unwrap();
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let rules = "add rule inet other long tcp dport 1-7 counter accept\n".repeat(5000);
            let text = format!("add table inet other\nadd chain inet other long\n{rules}");
            io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            run("nft", &["-f", file.path().to_str().unwrap()]);
            run("nft", &["flush", "ruleset"]);
            let programs: Vec<String> = changes(&mut monitor)
                .into_iter()
                .map(|change| change.program)
                .collect();
            assert_eq!(programs, ["nft", "nft"]);
        });
    }
}

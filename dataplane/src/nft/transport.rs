//! The netlink socket: sends transactions, reads errors and dumps.

use std::io;

use netlink_packet_core::{
    ErrorBuffer, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTIPART,
    NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::message::{BATCH_OVERHEAD, HEADERS_LEN, Message, encode_batch, find_string, find_u32};
use crate::backend::BackendError;
use crate::rule::RuleId;

/// Receive buffer: errors of every message of a large batch.
const RECEIVE_BUFFER: usize = 8 << 20;
/// What the send buffer must hold besides the message itself.
const SEND_OVERHEAD: usize = 1024;
/// Reply datagrams are at most this long.
const REPLY_MAX: usize = 1 << 16;
/// How often an interrupted dump is begun anew.
const DUMP_ATTEMPTS: usize = 20;
/// `NLMSGERR_ATTR_MSG`: the kernel's explanation in words.
const ATTRIBUTE_EXPLANATION: u16 = 1;
/// `MSG_DONTWAIT`.
const DO_NOT_WAIT: i32 = nix::libc::MSG_DONTWAIT;

/// Why a transaction did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It does not fit the send buffer, which this process may not enlarge. Nothing was sent.
    TooLarge { octets: usize, limit: usize },
    /// The kernel refused it as a whole.
    Refused {
        rule: Option<RuleId>,
        errno: Errno,
        reason: String,
    },
    /// No answer came: it may have been carried out or not.
    Unanswered(String),
    /// The socket failed before anything was sent.
    Socket(String),
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TooLarge { octets, limit } => Self::Unavailable(format!(
                "a transaction of {octets} octets does not fit the netlink send buffer of {limit}; \
                 raise net.core.wmem_max or run with CAP_NET_ADMIN in the initial user namespace"
            )),
            Failure::Refused { rule, reason, .. } => Self::Refused { rule, reason },
            Failure::Unanswered(reason) | Failure::Socket(reason) => Self::Unavailable(reason),
        }
    }
}

/// A socket to nf_tables of the network namespace in which it was opened.
pub(super) struct Transport {
    socket: Socket,
    sequence: u32,
    send_limit: usize,
}

/// One message of a reply.
struct Reply {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: Vec<u8>,
}

impl Transport {
    /// Opens a socket in the network namespace of this thread.
    pub(super) fn open() -> Result<Self, BackendError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // Explanations are a comfort, older kernels do without.
            let _ = socket.set_ext_ack(true);
            let _ = socket.set_cap_ack(true);
            if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
                let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
            }
            Ok::<_, io::Error>(socket)
        };
        let socket = open().map_err(|error| {
            BackendError::Unavailable(format!("netlink socket to nf_tables: {error}"))
        })?;
        Ok(Self {
            socket,
            sequence: 0,
            send_limit: 0,
        })
    }

    /// Makes the send buffer hold `octets` if that is allowed, and says how many it holds.
    fn reserve(&mut self, octets: usize) -> usize {
        if self.send_limit < octets {
            // The kernel doubles the number for its own bookkeeping; what counts here is the
            // doubled one.
            let wanted = octets + SEND_OVERHEAD;
            if setsockopt(&self.socket, sockopt::SndBufForce, &wanted).is_err() {
                let _ = setsockopt(&self.socket, sockopt::SndBuf, &wanted);
            }
            let doubled = nix::sys::socket::getsockopt(&self.socket, sockopt::SndBuf).unwrap_or(0);
            self.send_limit = doubled.saturating_sub(SEND_OVERHEAD);
        }
        self.send_limit
    }

    /// Carries out all messages or none.
    pub(super) fn transact(&mut self, messages: &[Message]) -> Result<(), Failure> {
        if messages.is_empty() {
            return Ok(());
        }
        let octets = messages.iter().map(Message::encoded_len).sum::<usize>() + BATCH_OVERHEAD;
        let limit = self.reserve(octets);
        if octets > limit {
            return Err(Failure::TooLarge { octets, limit });
        }
        self.discard_replies();
        let begin = self.take_sequences(messages.len() + 2);
        let batch = encode_batch(messages, begin);
        loop {
            match self.socket.send(&batch, 0) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => {
                    return Err(Failure::TooLarge { octets, limit });
                }
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Err(Failure::Unanswered(
                        "netlink: no buffer for the answer".into(),
                    ));
                }
                Err(error) => return Err(Failure::Socket(format!("netlink send: {error}"))),
            }
        }
        self.read_outcome(messages, begin)
    }

    /// Reads what the kernel has said about a transaction. It has answered by the time that the
    /// send returns.
    fn read_outcome(&mut self, messages: &[Message], begin: u32) -> Result<(), Failure> {
        let last = begin.wrapping_add(messages.len() as u32);
        let mut acknowledged = false;
        let mut overrun = false;
        let mut refused = None;
        loop {
            let replies = match self.receive(DO_NOT_WAIT) {
                Ok(replies) => replies,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    overrun = true;
                    continue;
                }
                Err(error) => return Err(Failure::Unanswered(format!("netlink receive: {error}"))),
            };
            for reply in replies.iter().filter(|reply| reply.kind == NLMSG_ERROR) {
                let index = reply.sequence.wrapping_sub(begin);
                if index as usize > messages.len() + 1 {
                    continue;
                }
                match error_of(reply) {
                    None => acknowledged |= reply.sequence == last,
                    Some((errno, explanation)) => {
                        let message = (index as usize)
                            .checked_sub(1)
                            .and_then(|i| messages.get(i));
                        let failure = refusal(message, errno, &explanation);
                        refused.get_or_insert(failure);
                    }
                }
            }
        }
        match refused {
            Some(failure) => Err(failure),
            None if acknowledged => Ok(()),
            None if overrun => Err(Failure::Unanswered("netlink: answers were lost".into())),
            None => Err(Failure::Unanswered(
                "netlink: no answer to a transaction".into(),
            )),
        }
    }

    /// All objects that a dump request lists: the attributes of each.
    pub(super) fn dump(&mut self, request: &Message) -> Result<Vec<Vec<u8>>, BackendError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(objects) = self.dump_once(request)? {
                return Ok(objects);
            }
        }
        Err(BackendError::Unavailable(
            "nf_tables changed during every attempt to read it".into(),
        ))
    }

    /// One attempt; `None` when the ruleset changed meanwhile.
    fn dump_once(&mut self, request: &Message) -> Result<Option<Vec<Vec<u8>>>, BackendError> {
        let unavailable = |reason: String| BackendError::Unavailable(reason);
        let sequence = self.request(request, NLM_F_DUMP)?;
        let mut objects = Vec::new();
        loop {
            let replies = match self.receive(0) {
                Ok(replies) => replies,
                // What was lost is read again.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Ok(None);
                }
                Err(error) => return Err(unavailable(format!("netlink receive: {error}"))),
            };
            for reply in replies.iter().filter(|reply| reply.sequence == sequence) {
                if reply.flags & NLM_F_DUMP_INTR != 0 {
                    self.discard_replies();
                    return Ok(None);
                }
                match reply.kind {
                    NLMSG_DONE => return Ok(Some(objects)),
                    NLMSG_OVERRUN => return Ok(None),
                    NLMSG_ERROR => match error_of(reply) {
                        Some((Errno::EINTR, _)) => return Ok(None),
                        Some((Errno::ENOENT, _)) => return Ok(Some(Vec::new())),
                        Some((errno, explanation)) => {
                            let reason = describe(errno, &explanation);
                            return Err(unavailable(format!("reading nf_tables: {reason}")));
                        }
                        None => return Ok(Some(objects)),
                    },
                    _ => {
                        objects.push(reply.payload.get(4..).unwrap_or_default().to_vec());
                        if reply.flags & NLM_F_MULTIPART == 0 {
                            return Ok(Some(objects));
                        }
                    }
                }
            }
        }
    }

    /// Asks for one object; `None` when there is none.
    pub(super) fn get(&mut self, request: &Message) -> Result<Option<Vec<u8>>, BackendError> {
        let sequence = self.request(request, 0)?;
        loop {
            let replies = self
                .receive(0)
                .map_err(|error| BackendError::Unavailable(format!("netlink receive: {error}")))?;
            let Some(reply) = replies.into_iter().find(|reply| reply.sequence == sequence) else {
                continue;
            };
            if reply.kind != NLMSG_ERROR {
                return Ok(Some(reply.payload.get(4..).unwrap_or_default().to_vec()));
            }
            return match error_of(&reply) {
                None | Some((Errno::ENOENT, _)) => Ok(None),
                Some((errno, explanation)) => Err(BackendError::Unavailable(format!(
                    "reading nf_tables: {}",
                    describe(errno, &explanation)
                ))),
            };
        }
    }

    /// The number of the ruleset's generation: it grows with every change that anyone makes.
    pub(super) fn generation(&mut self) -> Result<u32, BackendError> {
        use super::message::{Attributes, FAMILY_ANY, Kind};
        let mut request = Message::new(Kind::GetGeneration, 0, Attributes::new());
        request.family = FAMILY_ANY;
        let reply = self.get(&request)?;
        reply
            .and_then(|attributes| find_u32(&attributes, 1))
            .ok_or_else(|| BackendError::Unavailable("nf_tables names no generation".into()))
    }

    /// Sends a single request and returns its sequence number.
    fn request(&mut self, request: &Message, flags: u16) -> Result<u32, BackendError> {
        self.discard_replies();
        let sequence = self.take_sequences(1);
        let mut octets = Vec::with_capacity(request.encoded_len());
        request.encode(sequence, flags, &mut octets);
        self.socket
            .send(&octets, 0)
            .map_err(|error| BackendError::Unavailable(format!("netlink send: {error}")))?;
        Ok(sequence)
    }

    /// Reserves sequence numbers and returns the first.
    fn take_sequences(&mut self, count: usize) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count as u32);
        first
    }

    /// Throws away what an earlier request left unread, lest it be taken for an answer.
    fn discard_replies(&mut self) {
        loop {
            match self.receive(DO_NOT_WAIT) {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
                Err(_) => break,
            }
        }
    }

    /// Receives one datagram of replies.
    fn receive(&mut self, flags: i32) -> io::Result<Vec<Reply>> {
        let mut buffer = Vec::with_capacity(REPLY_MAX);
        loop {
            match self.socket.recv(&mut buffer, flags) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let mut replies = Vec::new();
        let mut rest = buffer.as_slice();
        while let Ok(reply) = NetlinkBuffer::new_checked(rest) {
            replies.push(Reply {
                kind: reply.message_type(),
                flags: reply.flags(),
                sequence: reply.sequence_number(),
                payload: reply.payload().to_vec(),
            });
            let length = (reply.length() as usize).next_multiple_of(4);
            match rest.get(length..) {
                Some(more) if length > 0 => rest = more,
                _ => break,
            }
        }
        Ok(replies)
    }
}

/// The error that an `NLMSG_ERROR` reply carries, with the kernel's explanation; `None`: it
/// acknowledges.
fn error_of(reply: &Reply) -> Option<(Errno, String)> {
    let error = ErrorBuffer::new_checked(reply.payload.as_slice()).ok()?;
    let errno = Errno::from_raw(error.code()?.get().wrapping_neg());
    // Behind the code stands the header of the request, and the whole request unless the reply is
    // capped.
    let header = error.payload();
    let request_len = match reply.flags & NLM_F_CAPPED {
        0 => NetlinkBuffer::new_checked(header).map_or(0, |request| request.length() as usize),
        _ => HEADERS_LEN - 4,
    };
    let explanation = (reply.flags & NLM_F_ACK_TLVS != 0)
        .then(|| header.get(request_len.next_multiple_of(4)..))
        .flatten()
        .and_then(|attributes| find_string(attributes, ATTRIBUTE_EXPLANATION));
    Some((errno, explanation.unwrap_or_default().to_string()))
}

/// The failure that one message's error means for the transaction.
fn refusal(message: Option<&Message>, errno: Errno, explanation: &str) -> Failure {
    let reason = describe(errno, explanation);
    match message {
        Some(message) => Failure::Refused {
            rule: message.rule,
            errno,
            reason: format!("kernel refuses {:?}: {reason}", message.kind),
        },
        None => Failure::Refused {
            rule: None,
            errno,
            reason: format!("kernel refuses the transaction: {reason}"),
        },
    }
}

/// An error number and the kernel's words.
fn describe(errno: Errno, explanation: &str) -> String {
    let hint = match errno {
        Errno::EPERM => " (CAP_NET_ADMIN is needed)",
        Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT => " (the kernel has no nf_tables)",
        _ => "",
    };
    match explanation {
        "" => format!("{}{hint}", errno.desc()),
        words => format!("{}: {words}{hint}", errno.desc()),
    }
}

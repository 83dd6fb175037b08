//! The netlink socket: sends transactions, reads errors and dumps.
//!
//! The kernel carries out a request inside the `send` and has answered when that returns: reading
//! never waits, and an answer that is not there has been lost.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_MULTIPART};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::message::{
    Attributes, FAMILY_ANY, Kind, Message, NEW_GENERATION, batch_len, encode_batch, find_u32,
};
use super::reply::{KernelError, replies};
use crate::backend::BackendError;
use crate::rule::RuleId;

/// Receive buffer: errors of every message of a large batch.
const RECEIVE_BUFFER: usize = 8 << 20;
/// What the send buffer must hold besides the message itself.
const SEND_OVERHEAD: usize = 1024;
/// Datagrams from the kernel are at most this long; those of a dump have 32 KiB.
const REPLY_MAX: usize = 1 << 16;
/// Objects asked for in one datagram: the answers have room in the receive buffer.
const OBJECTS_PER_DATAGRAM: usize = 256;
/// How often an interrupted dump is begun anew.
const DUMP_ATTEMPTS: usize = 20;
/// `MSG_DONTWAIT`, and `MSG_TRUNC` to notice what does not fit.
const RECEIVE_FLAGS: i32 = nix::libc::MSG_DONTWAIT | nix::libc::MSG_TRUNC;

/// Why a transaction did not do what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It does not fit the send buffer, which this process may not enlarge. Nothing was sent.
    TooLarge { octets: usize, limit: usize },
    /// The ruleset is no longer of the generation that the transaction builds on. Nothing of it
    /// was carried out.
    Stale,
    /// The kernel refused it as a whole.
    Refused {
        rule: Option<RuleId>,
        errno: Errno,
        reason: String,
    },
    /// No answer came, and somebody has changed the ruleset: it was carried out or not. The ruleset
    /// has now this generation, where that is known.
    Unanswered {
        generation: Option<u32>,
        reason: String,
    },
    /// The socket failed and nothing was carried out: trying again is safe.
    Socket(String),
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::TooLarge { octets, limit } => Self::Unavailable(format!(
                "a transaction of {octets} octets does not fit the netlink send buffer of {limit}; \
                 raise net.core.wmem_max or run with CAP_NET_ADMIN in the initial user namespace"
            )),
            Failure::Stale => {
                Self::Unavailable("somebody else changed nf_tables at the same time".into())
            }
            Failure::Refused { rule, reason, .. } => Self::Refused { rule, reason },
            Failure::Unanswered { reason, .. } | Failure::Socket(reason) => {
                Self::Unavailable(reason)
            }
        }
    }
}

/// A socket to nf_tables of the network namespace in which it was opened.
pub(super) struct Transport {
    socket: Socket,
    sequence: u32,
    send_limit: usize,
    /// The datagram received last.
    datagram: Vec<u8>,
}

/// What the kernel has said about a transaction.
#[derive(Debug, Default)]
struct Answers {
    /// The last message is acknowledged.
    acknowledged: bool,
    /// A change by the first message is reported: the transaction went in.
    echoed: bool,
    /// The generation that the transaction made: it went in.
    generation: Option<u32>,
    /// The first error.
    refused: Option<Failure>,
    /// Answers were lost, and why.
    lost: Option<String>,
}

impl Transport {
    /// Opens a socket in the network namespace of this thread.
    pub(super) fn open() -> Result<Self, BackendError> {
        Self::with_receive_buffer(RECEIVE_BUFFER)
    }

    /// Opens a socket that holds about this many octets of unread answers.
    pub(super) fn with_receive_buffer(octets: usize) -> Result<Self, BackendError> {
        let open = || {
            let mut socket = Socket::new(NETLINK_NETFILTER)?;
            socket.bind_auto()?;
            socket.connect(&SocketAddr::new(0, 0))?;
            // Explanations are a comfort, older kernels do without.
            let _ = socket.set_ext_ack(true);
            let _ = socket.set_cap_ack(true);
            if setsockopt(&socket, sockopt::RcvBufForce, &octets).is_err() {
                let _ = setsockopt(&socket, sockopt::RcvBuf, &octets);
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
            datagram: Vec::with_capacity(REPLY_MAX),
        })
    }

    /// The socket's number, by which the kernel knows the owner of a table.
    pub(super) fn port(&self) -> Result<u32, BackendError> {
        let mut address = SocketAddr::new(0, 0);
        self.socket
            .get_address(&mut address)
            .map_err(|error| BackendError::Unavailable(format!("netlink socket: {error}")))?;
        Ok(address.port_number())
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

    /// Carries out all messages or none, and says of which generation the ruleset is by that.
    ///
    /// With `expected` nothing happens unless the ruleset still has that generation. The generation
    /// returned is then `expected` if the messages changed nothing and the one after it if they did;
    /// whoever later finds another one knows that somebody else has changed something.
    ///
    /// No messages need no kernel: they return `expected`, or ask for the generation.
    pub(super) fn transact(
        &mut self,
        messages: &[Message],
        expected: Option<u32>,
    ) -> Result<u32, Failure> {
        if messages.is_empty() {
            let now = || {
                self.generation()
                    .map_err(|error| Failure::Socket(error.to_string()))
            };
            return expected.map_or_else(now, Ok);
        }
        let octets = batch_len(messages);
        let limit = self.reserve(octets);
        if octets > limit {
            return Err(Failure::TooLarge { octets, limit });
        }
        self.discard_replies();
        let answers = self.exchange(messages, expected)?;
        self.settle(messages, expected, answers)
    }

    /// Sends a transaction and reads the answers.
    fn exchange(
        &mut self,
        messages: &[Message],
        expected: Option<u32>,
    ) -> Result<Answers, Failure> {
        let first = self.take_sequences(messages.len() + 2);
        let batch = encode_batch(messages, first, expected);
        self.send(&batch)
            .map_err(|error| match error.raw_os_error() {
                Some(errno) if errno == Errno::EMSGSIZE as i32 => Failure::TooLarge {
                    octets: batch.len(),
                    limit: self.send_limit,
                },
                // The kernel begins to read a batch only after all that can fail here.
                _ => Failure::Socket(format!("netlink send: {error}")),
            })?;
        Ok(self.read_answers(messages, first))
    }

    /// Reads what the kernel has said about a transaction.
    fn read_answers(&mut self, messages: &[Message], first: u32) -> Answers {
        let last = first.wrapping_add(messages.len() as u32);
        let mut answers = Answers::default();
        loop {
            match self.receive() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return answers,
                Err(error) => {
                    answers.lost = Some(format!("netlink receive: {error}"));
                    if is(&error, Errno::ENOBUFS) {
                        // What came before the loss is still there.
                        continue;
                    }
                    return answers;
                }
            }
            for reply in replies(&self.datagram) {
                let index = reply.sequence.wrapping_sub(first) as usize;
                if index > messages.len() + 1 {
                    continue;
                }
                match reply.verdict() {
                    Some(Ok(())) => answers.acknowledged |= reply.sequence == last,
                    Some(Err(error)) => {
                        let message = index.checked_sub(1).and_then(|i| messages.get(i));
                        answers
                            .refused
                            .get_or_insert_with(|| refusal(message, &error));
                    }
                    None if reply.kind == NEW_GENERATION => {
                        answers.generation = find_u32(reply.attributes(), 1);
                    }
                    None => answers.echoed = true,
                }
            }
        }
    }

    /// What became of a transaction.
    fn settle(
        &mut self,
        messages: &[Message],
        expected: Option<u32>,
        answers: Answers,
    ) -> Result<u32, Failure> {
        if let Some(failure) = answers.refused {
            return Err(failure);
        }
        if let Some(generation) = answers.generation {
            return Ok(generation);
        }
        let went_in = answers.acknowledged || answers.echoed;
        let changed = answers.echoed || messages.first().is_some_and(|first| !first.may_echo());
        match expected {
            Some(expected) if went_in && changed => return Ok(generation_after(expected)),
            Some(expected) if went_in && answers.lost.is_none() => return Ok(expected),
            _ => {}
        }
        let reason = answers
            .lost
            .unwrap_or_else(|| "netlink: no answer to a transaction".into());
        let generation = self.generation();
        match (generation, expected) {
            (Ok(generation), _) if went_in => Ok(generation),
            (Ok(generation), Some(expected)) if generation == expected => {
                Err(Failure::Socket(reason))
            }
            (generation, _) => Err(Failure::Unanswered {
                generation: generation.ok(),
                reason,
            }),
        }
    }

    /// Collects what a dump request lists: `each` is called with the attributes of one object after
    /// the other. When the ruleset changes meanwhile the dump begins anew, with a new collection.
    pub(super) fn dump<T: Default>(
        &mut self,
        request: &Message,
        mut each: impl FnMut(&mut T, &[u8]),
    ) -> Result<T, BackendError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(collection) = self.dump_once(request, &mut each)? {
                return Ok(collection);
            }
        }
        Err(BackendError::Unavailable(
            "nf_tables changed during every attempt to read it".into(),
        ))
    }

    /// One attempt; `None` when the ruleset changed meanwhile, or a part was lost.
    fn dump_once<T: Default>(
        &mut self,
        request: &Message,
        each: &mut impl FnMut(&mut T, &[u8]),
    ) -> Result<Option<T>, BackendError> {
        let sequence = self.request(request, NLM_F_DUMP)?;
        let mut collection = T::default();
        loop {
            match self.receive() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is(&error, Errno::ENOBUFS) => return Ok(None),
                Err(error) => return Err(receive_error(&error)),
            }
            for reply in replies(&self.datagram).filter(|reply| reply.sequence == sequence) {
                if reply.flags & NLM_F_DUMP_INTR != 0 {
                    return Ok(None);
                }
                match reply.verdict() {
                    Some(Ok(())) => return Ok(Some(collection)),
                    Some(Err(error)) => {
                        return match error.errno {
                            Errno::EINTR | Errno::ENOBUFS => Ok(None),
                            Errno::ENOENT => Ok(Some(T::default())),
                            _ => Err(read_error(&error)),
                        };
                    }
                    None => {
                        each(&mut collection, reply.attributes());
                        if reply.flags & NLM_F_MULTIPART == 0 {
                            return Ok(Some(collection));
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
            self.receive().map_err(|error| receive_error(&error))?;
            let mut answers = replies(&self.datagram);
            let Some(reply) = answers.find(|reply| reply.sequence == sequence) else {
                continue;
            };
            return match reply.verdict() {
                None => Ok(Some(reply.attributes().to_vec())),
                Some(Ok(())) => Ok(None),
                Some(Err(error)) if error.errno == Errno::ENOENT => Ok(None),
                Some(Err(error)) => Err(read_error(&error)),
            };
        }
    }

    /// Asks for many objects one by one, and calls `each` with the number of the request and the
    /// attributes of its object. What does not exist is left out.
    ///
    /// Beside a dump this is no snapshot, but neither can changes by others disturb it; and where the
    /// kernel's dump takes time that grows with the square of the number of objects, as that of
    /// named objects does, this takes time in proportion.
    pub(super) fn get_each(
        &mut self,
        requests: impl IntoIterator<Item = Message>,
        mut each: impl FnMut(usize, &[u8]),
    ) -> Result<(), BackendError> {
        let mut requests = requests.into_iter();
        let mut begin = 0;
        loop {
            let part: Vec<Message> = requests.by_ref().take(OBJECTS_PER_DATAGRAM).collect();
            if part.is_empty() {
                return Ok(());
            }
            let mut answered = vec![false; part.len()];
            self.get_part(&part, &mut answered, |index, attributes| {
                each(begin + index, attributes)
            })?;
            for (index, message) in part.iter().enumerate() {
                // For a single answer there is always room.
                if !answered[index]
                    && let Some(attributes) = self.get(message)?
                {
                    each(begin + index, &attributes);
                }
            }
            begin += part.len();
        }
    }

    /// Asks for objects in one datagram, and marks those about which there was an answer.
    fn get_part(
        &mut self,
        requests: &[Message],
        answered: &mut [bool],
        mut each: impl FnMut(usize, &[u8]),
    ) -> Result<(), BackendError> {
        self.discard_replies();
        let first = self.take_sequences(requests.len());
        let mut octets = Vec::with_capacity(requests.iter().map(Message::encoded_len).sum());
        for (index, request) in requests.iter().enumerate() {
            request.encode(first.wrapping_add(index as u32), 0, &mut octets);
        }
        self.reserve(octets.len());
        self.send(&octets).map_err(|error| send_error(&error))?;
        loop {
            match self.receive() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is(&error, Errno::ENOBUFS) => continue,
                Err(error) => return Err(receive_error(&error)),
            }
            for reply in replies(&self.datagram) {
                let index = reply.sequence.wrapping_sub(first) as usize;
                let Some(answered) = answered.get_mut(index) else {
                    continue;
                };
                *answered = true;
                match reply.verdict() {
                    None => each(index, reply.attributes()),
                    Some(Ok(())) => {}
                    Some(Err(error)) if error.errno == Errno::ENOENT => {}
                    Some(Err(error)) => return Err(read_error(&error)),
                }
            }
        }
    }

    /// The number of the ruleset's generation: each transaction that changes anything, whoever
    /// makes it, raises it by one. It is never 0.
    pub(super) fn generation(&mut self) -> Result<u32, BackendError> {
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
        self.send(&octets).map_err(|error| send_error(&error))?;
        Ok(sequence)
    }

    /// Reserves sequence numbers and returns the first.
    fn take_sequences(&mut self, count: usize) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count as u32);
        first
    }

    /// Throws away what an earlier request left unread: it must not be taken for an answer, nor
    /// take the room of one.
    fn discard_replies(&mut self) {
        loop {
            match self.receive() {
                Ok(()) => {}
                Err(error) if is(&error, Errno::ENOBUFS) => {}
                Err(_) => break,
            }
        }
    }

    /// Sends one datagram.
    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send(datagram, 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives one datagram into `self.datagram`, without waiting for it.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.datagram.clear();
            match self.socket.recv(&mut self.datagram, RECEIVE_FLAGS) {
                Ok(length) if length > self.datagram.len() => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("netlink datagram of {length} octets"),
                    ));
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The generation that a transaction makes of this one.
fn generation_after(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(1)
}

/// Whether an error is this one.
fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// The failure that one message's error means for the transaction.
fn refusal(message: Option<&Message>, error: &KernelError) -> Failure {
    match message {
        None if error.errno == Errno::ERESTART => Failure::Stale,
        Some(message) if !error.is_of_whole() => Failure::Refused {
            rule: message.rule,
            errno: error.errno,
            reason: format!("kernel refuses {:?}: {error}", message.kind),
        },
        _ => Failure::Refused {
            rule: None,
            errno: error.errno,
            reason: format!("kernel refuses the transaction: {error}"),
        },
    }
}

/// An error of the socket while asking.
fn send_error(error: &io::Error) -> BackendError {
    BackendError::Unavailable(format!("netlink send: {error}"))
}

/// An error of the socket while reading.
fn receive_error(error: &io::Error) -> BackendError {
    BackendError::Unavailable(format!("netlink receive: {error}"))
}

/// The kernel's refusal to read something out.
fn read_error(error: &KernelError) -> BackendError {
    BackendError::Unavailable(format!("reading nf_tables: {error}"))
}

#[cfg(test)]
mod tests;

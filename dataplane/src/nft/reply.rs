//! What the kernel answers: the messages of a datagram, and the errors among them.

use netlink_packet_core::{
    NLM_F_ACK_TLVS, NLM_F_CAPPED, NLMSG_DONE, NLMSG_ERROR, NLMSG_OVERRUN, NetlinkBuffer,
};
use nix::errno::Errno;

use super::message::{HEADERS_LEN, find_string};

/// `NLMSGERR_ATTR_MSG`: the kernel's explanation in words.
const ATTRIBUTE_EXPLANATION: u16 = 1;
/// Octets of the netfilter header between the netlink header and the attributes.
const NETFILTER_HEADER_LEN: usize = 4;

/// One message of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    /// Message type: the subsystem in the high octet.
    pub(super) kind: u16,
    /// Netlink flags.
    pub(super) flags: u16,
    /// Sequence number of the request that it answers.
    pub(super) sequence: u32,
    /// What follows the netlink header.
    payload: &'a [u8],
}

impl<'a> Reply<'a> {
    /// The attributes of an object; of an error they mean nothing.
    pub(super) fn attributes(&self) -> &'a [u8] {
        self.payload.get(NETFILTER_HEADER_LEN..).unwrap_or_default()
    }

    /// The verdict on a request, be it an acknowledgement or the end of a dump: `None` when this is
    /// neither.
    pub(super) fn verdict(&self) -> Option<Result<(), KernelError>> {
        let errno = match self.kind {
            NLMSG_ERROR => self.error_number(),
            // Older kernels end a dump without a number.
            NLMSG_DONE if self.payload.is_empty() => None,
            NLMSG_DONE => self.error_number(),
            NLMSG_OVERRUN => Some(Errno::ENOBUFS),
            _ => return None,
        };
        let Some(errno) = errno else {
            return Some(Ok(()));
        };
        let explanation = self.explanation().unwrap_or_default().to_string();
        Some(Err(KernelError { errno, explanation }))
    }

    /// The negative error number with which a verdict begins; `None` when it is 0.
    fn error_number(&self) -> Option<Errno> {
        match self.payload.first_chunk() {
            Some(&octets) => match i32::from_ne_bytes(octets) {
                0 => None,
                code => Some(Errno::from_raw(code.wrapping_neg())),
            },
            // What is broken off is no good news.
            None => Some(Errno::EBADMSG),
        }
    }

    /// The kernel's words about an error.
    fn explanation(&self) -> Option<&'a str> {
        if self.kind != NLMSG_ERROR || self.flags & NLM_F_ACK_TLVS == 0 {
            return None;
        }
        // Behind the number stands the header of the request, and the whole request unless the
        // reply is capped.
        let request = self.payload.get(size_of::<i32>()..)?;
        let request_len = match self.flags & NLM_F_CAPPED {
            0 => NetlinkBuffer::new_checked(request).ok()?.length() as usize,
            _ => HEADERS_LEN - NETFILTER_HEADER_LEN,
        };
        let attributes = request.get(request_len.next_multiple_of(4)..)?;
        find_string(attributes, ATTRIBUTE_EXPLANATION)
    }
}

/// The messages of one datagram. What is broken off at its end is left out.
pub(super) fn replies(datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let reply = NetlinkBuffer::new_checked(rest).ok()?;
        let length = (reply.length() as usize).next_multiple_of(4);
        rest = rest.get(length..).unwrap_or_default();
        Some(Reply {
            kind: reply.message_type(),
            flags: reply.flags(),
            sequence: reply.sequence_number(),
            payload: reply.payload(),
        })
    })
}

/// An error number and the kernel's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KernelError {
    /// The error number.
    pub(super) errno: Errno,
    /// The explanation; empty where there is none.
    explanation: String,
}

impl KernelError {
    /// True when the error concerns the transaction, although it names one of its messages: what
    /// fails only at the commit is reported as an error of the first message.
    pub(super) fn is_of_whole(&self) -> bool {
        matches!(
            self.errno,
            Errno::ENOMEM | Errno::EAGAIN | Errno::EINTR | Errno::ELOOP | Errno::EMLINK
        )
    }
}

impl std::fmt::Display for KernelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.errno.desc())?;
        if !self.explanation.is_empty() {
            write!(f, ": {}", self.explanation)?;
        }
        match self.errno {
            Errno::EPERM => {
                f.write_str(" (CAP_NET_ADMIN is needed, and that no other process owns the table)")
            }
            Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT => {
                f.write_str(" (the kernel has no nf_tables)")
            }
            _ => Ok(()),
        }
    }
}

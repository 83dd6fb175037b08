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

#[cfg(test)]
mod tests {
    use super::*;

    /// A netlink message with its length filled in, and padded.
    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut octets = (16 + payload.len() as u32).to_ne_bytes().to_vec();
        octets.extend_from_slice(&kind.to_ne_bytes());
        octets.extend_from_slice(&flags.to_ne_bytes());
        octets.extend_from_slice(&sequence.to_ne_bytes());
        octets.extend_from_slice(&[0; 4]);
        octets.extend_from_slice(payload);
        octets.resize(octets.len().next_multiple_of(4), 0);
        octets
    }

    /// The payload of an error: its number, the request it is about, an explanation.
    fn error(code: i32, request: &[u8], explanation: &str) -> Vec<u8> {
        let mut payload = code.to_ne_bytes().to_vec();
        payload.extend_from_slice(request);
        if !explanation.is_empty() {
            let length = 4 + explanation.len() as u16 + 1;
            payload.extend_from_slice(&length.to_ne_bytes());
            payload.extend_from_slice(&ATTRIBUTE_EXPLANATION.to_ne_bytes());
            payload.extend_from_slice(explanation.as_bytes());
            payload.push(0);
        }
        payload
    }

    #[test]
    fn verdicts_are_read_with_their_explanation() {
        let request = message(0x0a00, 0, 0, &[0; 24]);
        let header = &request[..16];
        let capped = NLM_F_CAPPED | NLM_F_ACK_TLVS;
        let exist = -(Errno::EEXIST as i32);
        let no = |errno, words: &str| {
            Some(Err(KernelError {
                errno,
                explanation: words.to_string(),
            }))
        };
        let yes = Some(Ok(()));
        let rows = [
            (
                "acknowledged",
                NLMSG_ERROR,
                NLM_F_CAPPED,
                error(0, header, ""),
                yes.clone(),
            ),
            (
                "refused",
                NLMSG_ERROR,
                NLM_F_CAPPED,
                error(exist, header, ""),
                no(Errno::EEXIST, ""),
            ),
            (
                "explained",
                NLMSG_ERROR,
                capped,
                error(exist, header, "why"),
                no(Errno::EEXIST, "why"),
            ),
            (
                "whole request",
                NLMSG_ERROR,
                NLM_F_ACK_TLVS,
                error(exist, &request, "why"),
                no(Errno::EEXIST, "why"),
            ),
            (
                "request broken off",
                NLMSG_ERROR,
                NLM_F_ACK_TLVS,
                error(exist, &request[..20], ""),
                no(Errno::EEXIST, ""),
            ),
            (
                "broken off",
                NLMSG_ERROR,
                0,
                vec![0, 0, 0],
                no(Errno::EBADMSG, ""),
            ),
            (
                "smallest number",
                NLMSG_ERROR,
                0,
                error(i32::MIN, header, ""),
                no(Errno::UnknownErrno, ""),
            ),
            ("end of a dump", NLMSG_DONE, 0, vec![0; 4], yes.clone()),
            ("end of an old dump", NLMSG_DONE, 0, Vec::new(), yes),
            (
                "failed dump",
                NLMSG_DONE,
                0,
                error(-(Errno::EINTR as i32), &[], ""),
                no(Errno::EINTR, ""),
            ),
            (
                "overrun",
                NLMSG_OVERRUN,
                0,
                Vec::new(),
                no(Errno::ENOBUFS, ""),
            ),
            ("object", 0x0a00, 0, vec![1; 8], None),
        ];
        for (name, kind, flags, payload, expected) in rows {
            let octets = message(kind, flags, 7, &payload);
            let found: Vec<_> = replies(&octets).collect();
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!(found[0].sequence, 7, "{name}");
            assert_eq!(found[0].verdict(), expected, "{name}");
        }
    }

    #[test]
    fn datagrams_are_taken_apart_up_to_where_they_are_whole() {
        let mut datagram = message(1, 0, 1, &[0, 0, 0, 0, 5]);
        let second = datagram.len();
        datagram.extend(message(2, 0, 2, &[0, 0]));
        for cut in 0..=datagram.len() {
            let found: Vec<(u32, usize)> = replies(&datagram[..cut])
                .map(|reply| (reply.sequence, reply.attributes().len()))
                .collect();
            let expected: &[(u32, usize)] = match cut {
                _ if cut >= second + 18 => &[(1, 1), (2, 0)],
                _ if cut >= 21 => &[(1, 1)],
                _ => &[],
            };
            assert_eq!(found, expected, "cut at {cut}");
        }
        assert_eq!(replies(&[0; 64]).count(), 0, "length 0");
    }
}

//! TCP segments that the kernel dropped before any program saw them: why a session does not come up.

use crate::config::Neighbor;

/// The counters of the network namespace that the calling thread is in.
const COUNTERS: &str = "/proc/thread-self/net/netstat";

/// Segments dropped for their MD5 signatures (RFC 2385), of all neighbors together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KernelDrops {
    /// There was no signature, or a wrong one.
    unsigned: u64,
    /// There was a signature, and no password to check it with.
    signed: u64,
}

impl KernelDrops {
    /// Reads the counters; nothing where the kernel does not tell.
    pub(super) fn read() -> Self {
        let text = std::fs::read_to_string(COUNTERS);
        text.map(|text| Self::parse(&text)).unwrap_or_default()
    }

    /// Reads lines of names and of values, which alternate.
    fn parse(text: &str) -> Self {
        let mut drops = Self::default();
        let mut lines = text.lines();
        while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
            for (name, value) in names.split(' ').zip(values.split(' ')) {
                let value = value.parse().unwrap_or(0);
                match name {
                    "TCPMD5NotFound" | "TCPMD5Failure" => drops.unsigned += value,
                    "TCPMD5Unexpected" => drops.signed += value,
                    _ => {}
                }
            }
        }
        drops
    }

    /// What the drops since `before` may mean for a neighbor that has no session; `None`: nothing.
    pub(super) fn explain(self, before: Self, neighbor: &Neighbor) -> Option<String> {
        let unsigned = self.unsigned.saturating_sub(before.unsigned);
        let signed = self.signed.saturating_sub(before.signed);
        match &neighbor.transport.md5 {
            Some(_) if unsigned > 0 => Some(format!(
                "the kernel has dropped {unsigned} TCP segments without the right MD5 signature: \
                 has the neighbor the same MD5 password?"
            )),
            None if signed > 0 => Some(format!(
                "the kernel has dropped {signed} TCP segments with an MD5 signature: \
                 does the neighbor sign? There is no MD5 password for it here"
            )),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn counters_explain_what_they_can() {
        let text = "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure\n\
                    TcpExt: 9 1 2 4\nIpExt: InNoRoutes\nIpExt: 3\n";
        let drops = KernelDrops::parse(text);
        let expected = KernelDrops {
            unsigned: 5,
            signed: 2,
        };
        assert_eq!(drops, expected);
        let neighbor = |line| {
            let text = format!(
                "[bgp]\nlocal_as = 65140\nrouter_id = \"192.0.2.2\"\n\
                 [[neighbor]]\naddress = \"192.0.2.1\"\nremote_as = 65070\n{line}"
            );
            Config::parse(&text).unwrap().neighbors[0].clone()
        };
        let with = neighbor("md5_password = \"a\"");
        let none = KernelDrops::default();
        let rows = [
            (
                "with a password",
                none,
                &with,
                Some("dropped 5 TCP segments without"),
            ),
            (
                "without",
                none,
                &neighbor(""),
                Some("dropped 2 TCP segments with an"),
            ),
            ("before it was configured", drops, &with, None),
        ];
        for (name, before, neighbor, expected) in rows {
            let found = drops.explain(before, neighbor).unwrap_or_default();
            assert_eq!(found.is_empty(), expected.is_none(), "{name}: {found}");
            assert!(
                found.contains(expected.unwrap_or_default()),
                "{name}: {found}"
            );
        }
    }
}

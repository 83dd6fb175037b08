//! A neighbor that announces: no more of BGP than that takes.

use std::io::{Read, Write};
use std::net::TcpStream;

use flowacl::wire::capability::Capability;
use flowacl::wire::iana::FlowFamily;
use flowacl::wire::message::{self, MAX_MESSAGE_LENGTH, Message};
use flowacl::wire::open::Open;

use super::daemon::Daemon;
use super::updates::CONTROLLER_AS;

/// A session that is up; it ends with this value.
pub struct Controller {
    stream: TcpStream,
}

impl Controller {
    /// Dials the daemon and waits for the session. No hold time, so nothing more needs to be sent.
    pub fn connect(daemon: &Daemon) -> std::io::Result<Self> {
        let to = daemon.address();
        let mut stream = daemon.controller.run(move || TcpStream::connect(to))?;
        stream.set_nodelay(true)?;
        let families = [FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow];
        let mut capabilities: Vec<Capability> = families
            .iter()
            .map(|family| Capability::MultiProtocol(family.afi_safi()))
            .collect();
        capabilities.push(Capability::FourOctetAs(CONTROLLER_AS));
        let open = Message::Open(Open {
            asn: CONTROLLER_AS,
            hold_time_secs: 0,
            router_id: [192, 0, 2, 1].into(),
            capabilities,
        });
        stream.write_all(&open.encode())?;
        let mut buffer = Vec::new();
        loop {
            match message::split(&mut buffer, MAX_MESSAGE_LENGTH) {
                Ok(Some(Message::Open(_))) => stream.write_all(&Message::Keepalive.encode())?,
                Ok(Some(Message::Keepalive)) => return Ok(Self { stream }),
                Ok(None) => {
                    let mut octets = [0; 4096];
                    let length = stream.read(&mut octets)?;
                    if length == 0 {
                        return Err(std::io::ErrorKind::UnexpectedEof.into());
                    }
                    buffer.extend_from_slice(&octets[..length]);
                }
                other => return Err(std::io::Error::other(format!("{other:?}"))),
            }
        }
    }

    /// Writes messages to the session.
    pub fn send(&mut self, octets: &[u8]) {
        self.stream
            .write_all(octets)
            .expect("the daemon keeps the session");
    }
}

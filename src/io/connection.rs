//! One TCP connection: octets in, octets out, both bounded.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::socket;
use crate::config::{Distance, Transport};
use crate::session::ConnectionId;

/// Octets taken from the socket at once.
const READ_SIZE: usize = 16 * 1024;

/// Writes that may wait: a neighbor that reads nothing while this many messages are due is cut off.
pub(super) const OUTBOX_MESSAGES: usize = 256;

/// How long octets may take to leave after the session closed the connection, and the neighbor to close its side.
const LINGER: Duration = Duration::from_secs(2);

/// What a connection reports.
#[derive(Debug)]
pub(super) enum Arrival {
    /// A dial came to its end.
    Dialed(io::Result<TcpStream>),
    /// Octets.
    Octets(Vec<u8>),
    /// Nothing more will come or go, and why.
    Closed(String),
}

/// Where connections report. Bounded: a connection whose report is not taken stops reading.
pub(super) type Inbox = mpsc::Sender<(ConnectionId, Arrival)>;

/// Where to dial, and how connections are made.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The neighbor's address and port.
    pub(crate) remote: SocketAddr,
    /// Our address, where it matters.
    pub(crate) local: Option<IpAddr>,
    /// Options of the connections.
    pub(crate) transport: Transport,
}

impl Target {
    /// What an operator should look at first when dialing fails like this.
    pub(super) fn hint(&self, error: &io::Error) -> &'static str {
        let no_answer = matches!(
            error.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable
        );
        match (&self.transport.md5, self.transport.distance) {
            (Some(_), _) if no_answer => " (has the neighbor the same MD5 password?)",
            (None, Distance::Secured(_)) if no_answer => " (is it as near as ttl_security says?)",
            _ => "",
        }
    }
}

/// Dials. `send_hold` as for [`run`].
pub(super) async fn dial(target: &Target, send_hold: Duration) -> io::Result<TcpStream> {
    let (socket, remote) = socket::to_dial(target.remote, target.local, &target.transport)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let stream = socket.connect(remote).await?;
    prepare(&stream, target, send_hold)?;
    Ok(stream)
}

/// Sets the options of a connection that is open.
pub(super) fn prepare(stream: &TcpStream, target: &Target, send_hold: Duration) -> io::Result<()> {
    let remote = target.remote.ip();
    socket::prepare(stream.into(), remote, &target.transport, send_hold)
}

/// Moves octets between `stream` and the driver until either side ends.
///
/// Ends when `outbox` is closed and drained, when the neighbor closes, or when nothing can be written for `send_hold`
/// (RFC 9687). The driver is told of any end but its own.
pub(super) async fn run(
    id: ConnectionId,
    stream: TcpStream,
    mut outbox: mpsc::Receiver<Vec<u8>>,
    inbox: Inbox,
    send_hold: Duration,
) {
    let (mut reader, mut writer) = stream.into_split();
    let reason = {
        let reading = read(id, &mut reader, &inbox);
        let writing = write(&mut writer, &mut outbox, send_hold);
        tokio::select! {
            reason = reading => reason,
            result = writing => match result {
                Ok(()) => {
                    linger(&mut reader, &mut writer).await;
                    return;
                }
                Err(error) => error.to_string(),
            },
        }
    };
    // The driver may have gone: then nobody wants to know.
    let _ = inbox.send((id, Arrival::Closed(reason))).await;
    // What the session has to say in answer to the last octets, a NOTIFICATION perhaps, still goes out.
    let _ = timeout(LINGER, write(&mut writer, &mut outbox, send_hold)).await;
}

/// Reads until the end; says why it ended.
async fn read(id: ConnectionId, reader: &mut OwnedReadHalf, inbox: &Inbox) -> String {
    loop {
        let Ok(permit) = inbox.reserve().await else {
            return String::new();
        };
        let mut octets = Vec::with_capacity(READ_SIZE);
        match reader.read_buf(&mut octets).await {
            Ok(0) => return "closed by the neighbor".into(),
            Ok(_) => permit.send((id, Arrival::Octets(octets))),
            Err(error) => return error.to_string(),
        }
    }
}

/// Writes what comes until the other end of `outbox` is dropped.
async fn write(
    writer: &mut OwnedWriteHalf,
    outbox: &mut mpsc::Receiver<Vec<u8>>,
    send_hold: Duration,
) -> io::Result<()> {
    while let Some(octets) = outbox.recv().await {
        let mut rest = octets.as_slice();
        while !rest.is_empty() {
            let written = timeout(send_hold, writer.write(rest)).await.map_err(|_| {
                let secs = send_hold.as_secs();
                let reason = format!("the neighbor took nothing for {secs} s (RFC 9687)");
                io::Error::new(io::ErrorKind::TimedOut, reason)
            })??;
            rest = &rest[written..];
        }
    }
    Ok(())
}

/// Closes our side and waits a moment for the neighbor to close its own.
///
/// Closing with unread octets would make the kernel send a reset, which can overtake our NOTIFICATION.
async fn linger(reader: &mut OwnedReadHalf, writer: &mut OwnedWriteHalf) {
    let drain = async {
        writer.shutdown().await?;
        let mut octets = [0; 1024];
        while reader.read(&mut octets).await? > 0 {}
        io::Result::Ok(())
    };
    // However it ends, the connection is over.
    let _ = timeout(LINGER, drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Both ends of a connection on loopback.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Target {
            remote: address,
            local: None,
            transport: Transport::default(),
        };
        let (dialed, accepted) =
            tokio::join!(dial(&target, Duration::from_secs(5)), listener.accept());
        (dialed.unwrap(), accepted.unwrap().0)
    }

    /// Runs a test that waits.
    fn block_on(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async { timeout(Duration::from_secs(20), test).await.unwrap() });
    }

    #[test]
    fn a_neighbor_that_reads_nothing_is_given_up() {
        block_on(async {
            let (ours, _theirs) = pair().await;
            let (outbox, due) = mpsc::channel(OUTBOX_MESSAGES);
            let (inbox, mut reports) = mpsc::channel(1);
            let send_hold = Duration::from_millis(100);
            let id = ConnectionId(7);
            tokio::spawn(run(id, ours, due, inbox, send_hold));
            // More than the kernel takes for both ends.
            for _ in 0..OUTBOX_MESSAGES {
                outbox.send(vec![0; 1 << 18]).await.unwrap();
                if let Ok((reported, Arrival::Closed(reason))) = reports.try_recv() {
                    assert_eq!(reported, id);
                    assert!(reason.contains("RFC 9687"), "{reason}");
                    return;
                }
            }
            let report = reports.recv().await;
            assert!(
                matches!(report, Some((_, Arrival::Closed(_)))),
                "{report:?}"
            );
        });
    }

    #[test]
    fn what_is_due_goes_out_before_the_end() {
        block_on(async {
            let (ours, mut theirs) = pair().await;
            let (outbox, due) = mpsc::channel(OUTBOX_MESSAGES);
            let (inbox, _reports) = mpsc::channel(1);
            let task = tokio::spawn(run(ConnectionId(1), ours, due, inbox, LINGER));
            outbox.send(b"NOTIFI".to_vec()).await.unwrap();
            outbox.send(b"CATION".to_vec()).await.unwrap();
            drop(outbox);
            // Octets that nobody reads would turn the end into a reset.
            theirs.write_all(&[0; 100]).await.unwrap();
            let mut octets = Vec::new();
            theirs.read_to_end(&mut octets).await.unwrap();
            assert_eq!(octets, b"NOTIFICATION");
            drop(theirs);
            task.await.unwrap();
        });
    }

    #[test]
    fn reading_stops_while_nobody_takes_the_reports() {
        block_on(async {
            let (ours, theirs) = pair().await;
            let (_outbox, due) = mpsc::channel(OUTBOX_MESSAGES);
            let (inbox, mut reports) = mpsc::channel(1);
            tokio::spawn(run(ConnectionId(1), ours, due, inbox, LINGER));
            // The neighbor sends until TCP takes no more.
            let mut sent = 0;
            while let Ok(result) = timeout(Duration::from_millis(300), theirs.writable()).await {
                result.unwrap();
                sent += theirs.try_write(&[0; READ_SIZE]).unwrap_or(0);
            }
            assert!(sent > READ_SIZE, "TCP took something");
            drop(theirs);
            let mut received = 0;
            while let Some((_, arrival)) = reports.recv().await {
                match arrival {
                    Arrival::Octets(octets) => received += octets.len(),
                    Arrival::Closed(_) => break,
                    Arrival::Dialed(_) => unreachable!("nobody dialed"),
                }
            }
            assert_eq!(received, sent, "nothing is lost");
        });
    }
}

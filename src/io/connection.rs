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
    /// The neighbor takes nothing any more (RFC 9687).
    Stalled,
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
            (None, Distance::AtMost(1)) if no_answer => {
                " (is it further away than a hop, which needs multihop? does it ask for TTL security?)"
            }
            _ => "",
        }
    }

    /// What an operator should look at first when the neighbor closes a connection before it has said anything.
    pub(super) fn hint_unheard(&self) -> &'static str {
        match self.transport.distance {
            Distance::Any | Distance::AtMost(2..) => " (has it us as a neighbor?)",
            Distance::AtMost(0..=1) => {
                " (has it us as a neighbor? does it ask for TTL security, which we need ttl_security for?)"
            }
            Distance::Secured(_) => " (has it us as a neighbor? does it send with TTL 255?)",
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

/// Sets the options of a connection that is open. TCP itself gives up a little later than we do, so that a last word is
/// tried.
pub(super) fn prepare(stream: &TcpStream, target: &Target, send_hold: Duration) -> io::Result<()> {
    let remote = target.remote.ip();
    let give_up = send_hold.saturating_add(2 * LINGER);
    socket::prepare(stream.into(), remote, &target.transport, give_up)
}

/// What is on its way to the neighbor.
struct Outgoing {
    outbox: mpsc::Receiver<Vec<u8>>,
    /// What was taken from there.
    octets: Vec<u8>,
    /// How much of it is written.
    written: usize,
}

/// Why nothing more can be written.
#[derive(Debug)]
enum WriteError {
    /// The neighbor has taken nothing for too long.
    Stalled,
    /// TCP failed.
    Failed(io::Error),
}

/// Moves octets between `stream` and the driver until either side ends.
///
/// Ends when `outbox` is closed and drained, when the neighbor closes, or when nothing can be written for `send_hold`
/// (RFC 9687). The driver is told of any end but its own.
pub(super) async fn run(
    id: ConnectionId,
    stream: TcpStream,
    outbox: mpsc::Receiver<Vec<u8>>,
    inbox: Inbox,
    send_hold: Duration,
) {
    let (mut reader, mut writer) = stream.into_split();
    let mut outgoing = Outgoing {
        outbox,
        octets: Vec::new(),
        written: 0,
    };
    let end = {
        let reading = read(id, &mut reader, &inbox);
        let writing = write(&mut writer, &mut outgoing, send_hold);
        tokio::select! {
            reason = reading => Arrival::Closed(reason),
            result = writing => match result {
                Ok(()) => {
                    linger(&mut reader, &mut writer).await;
                    return;
                }
                Err(WriteError::Stalled) => Arrival::Stalled,
                Err(WriteError::Failed(error)) => Arrival::Closed(error.to_string()),
            },
        }
    };
    // The driver may have gone: then nobody wants to know.
    let _ = inbox.send((id, end)).await;
    // What the session has to say to that, a NOTIFICATION perhaps, still goes out if the neighbor takes it, behind the
    // rest of the message that was under way.
    let farewell = timeout(LINGER, write(&mut writer, &mut outgoing, LINGER)).await;
    if let Ok(Ok(())) = farewell {
        linger(&mut reader, &mut writer).await;
    }
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

/// Writes what comes until the other end of the outbox is dropped. Cancel-safe.
async fn write(
    writer: &mut OwnedWriteHalf,
    outgoing: &mut Outgoing,
    send_hold: Duration,
) -> Result<(), WriteError> {
    loop {
        while outgoing.written < outgoing.octets.len() {
            let rest = &outgoing.octets[outgoing.written..];
            let written = timeout(send_hold, writer.write(rest)).await;
            let written = written.map_err(|_| WriteError::Stalled)?;
            outgoing.written += written.map_err(WriteError::Failed)?;
        }
        match outgoing.outbox.recv().await {
            Some(octets) => (outgoing.octets, outgoing.written) = (octets, 0),
            None => return Ok(()),
        }
    }
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

    /// Connections whose other ends take nothing, `send_hold` later. Returns ours, our outbox, and theirs.
    async fn stalled(
        send_hold: Duration,
    ) -> (
        mpsc::Sender<Vec<u8>>,
        mpsc::Receiver<(ConnectionId, Arrival)>,
        TcpStream,
    ) {
        let (ours, theirs) = pair().await;
        let (outbox, due) = mpsc::channel(OUTBOX_MESSAGES);
        let (inbox, mut reports) = mpsc::channel(1);
        let id = ConnectionId(7);
        tokio::spawn(run(id, ours, due, inbox, send_hold));
        // More than the kernel takes for both ends.
        let mut sent = 0;
        let report = loop {
            tokio::select! {
                report = reports.recv() => break report,
                result = outbox.send(vec![0; 1 << 18]), if sent < 64 => {
                    result.unwrap();
                    sent += 1;
                }
            }
        };
        assert!(
            matches!(report, Some((ConnectionId(7), Arrival::Stalled))),
            "{report:?}"
        );
        (outbox, reports, theirs)
    }

    #[test]
    fn a_neighbor_that_takes_nothing_is_given_up() {
        block_on(async {
            let (outbox, mut reports, theirs) = stalled(Duration::from_millis(100)).await;
            drop(outbox);
            assert!(reports.recv().await.is_none(), "the connection has ended");
            drop(theirs);
        });
    }

    #[test]
    fn a_neighbor_that_reads_again_hears_why_it_was_given_up() {
        block_on(async {
            let (outbox, _reports, mut theirs) = stalled(Duration::from_millis(100)).await;
            let reading = tokio::spawn(async move {
                let mut octets = Vec::new();
                theirs.read_to_end(&mut octets).await.unwrap();
                octets
            });
            outbox.send(b"NOTIFICATION".to_vec()).await.unwrap();
            drop(outbox);
            let octets = reading.await.unwrap();
            assert!(octets.ends_with(b"NOTIFICATION"));
            let before = octets.len() - b"NOTIFICATION".len();
            assert_eq!(before % (1 << 18), 0, "no message is cut short");
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
                    Arrival::Closed(_) | Arrival::Stalled => break,
                    Arrival::Dialed(_) => unreachable!("nobody dialed"),
                }
            }
            assert_eq!(received, sent, "nothing is lost");
        });
    }
}

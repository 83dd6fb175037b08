//! `flowacl announce`: a small controller for labs and tests.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::flows::{self, Route};
use crate::config::{Distance, Password, Transport};
use crate::io::connection::Target;
use crate::io::driver::{Driver, Happening};
use crate::io::words::describe_down;
use crate::session::{Input, Negotiated, RestartConfig, SessionConfig, SessionEvent};
use crate::wire::attribute::{AsPathSegment, AsPathSegmentKind, Attributes, Origin};
use crate::wire::iana::{AfiSafi, FlowFamily};
use crate::wire::update::Update;

/// Time between attempts to connect.
const CONNECT_RETRY: Duration = Duration::from_secs(2);

/// LOCAL_PREF within our AS.
const LOCAL_PREF: u32 = 100;

/// Announce Flow Specifications to a BGP speaker
///
/// Dials the speaker, announces the given flows, and holds the session until Ctrl-C or for the time given with --for: when
/// the session ends, the receiver forgets them. Any FlowSpec receiver will do, not only flowacl.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowacl announce --to 127.0.0.1:1790 --local-as 65070 --remote-as 65140 \\
      'flow route { match { destination 203.0.113.5/32; protocol udp; source-port =123; } then { discard; } }'
  flowacl announce --to 192.0.2.2 --local-as 65070 --remote-as 65140 --file flows.txt --withdraw-after 60")]
pub(super) struct Arguments {
    /// Whom to dial
    #[arg(long, value_name = "ADDR[:PORT]", value_parser = target)]
    to: SocketAddr,
    /// Our AS
    #[arg(long, value_name = "AS", value_parser = clap::value_parser!(u32).range(1..))]
    local_as: u32,
    /// The AS of the other side
    #[arg(long, value_name = "AS", value_parser = clap::value_parser!(u32).range(1..))]
    remote_as: u32,
    /// Our BGP identifier
    #[arg(long, value_name = "ID", default_value = "192.0.2.254", value_parser = router_id)]
    router_id: Ipv4Addr,
    /// Dial from this address
    #[arg(long, value_name = "ADDR")]
    from: Option<IpAddr>,
    /// Sign with the TCP MD5 password in the first line of this file (RFC 2385)
    #[arg(long, value_name = "FILE")]
    md5_password_file: Option<PathBuf>,
    /// TTL of the packets sent; 255 for a speaker with TTL security (RFC 5082)
    #[arg(long, value_name = "HOPS", value_parser = clap::value_parser!(u8).range(1..))]
    ttl: Option<u8>,
    /// Withdraw everything after so many seconds; the session stays
    #[arg(long, value_name = "SECS", conflicts_with = "hold")]
    withdraw_after: Option<u64>,
    /// Never withdraw anything, which is the default
    #[arg(long)]
    hold: bool,
    /// End the session after so many seconds
    #[arg(long = "for", value_name = "SECS")]
    duration: Option<u64>,
    /// Give up when there is no session after so many seconds
    #[arg(long, value_name = "SECS", default_value_t = 15)]
    patience: u64,
    /// Read flows, or lines of FAMILY HEX, from a file; - is stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Flows in the text form of ExaBGP
    #[arg(value_name = "FLOW", required_unless_present = "file")]
    flows: Vec<String>,
}

/// How the connection is made.
fn transport(arguments: &Arguments) -> anyhow::Result<Transport> {
    let path = arguments.md5_password_file.as_deref();
    let md5 = path.map(|path| Password::read(path).map_err(anyhow::Error::msg));
    Ok(Transport {
        md5: md5.transpose()?,
        distance: arguments.ttl.map_or(Distance::Any, Distance::AtMost),
        ..Transport::default()
    })
}

/// An address with or without a port; without: 179.
fn target(text: &str) -> Result<SocketAddr, String> {
    let address: Result<IpAddr, _> = text.parse();
    match address {
        Ok(address) => Ok((address, 179).into()),
        Err(_) => text.parse().map_err(|_| {
            "an address is wanted, as in 192.0.2.2, 192.0.2.2:1790 or [2001:db8::2]:1790".into()
        }),
    }
}

/// A BGP identifier.
fn router_id(text: &str) -> Result<Ipv4Addr, String> {
    match text.parse() {
        Ok(Ipv4Addr::UNSPECIFIED) | Err(_) => Err("an IPv4 address but 0.0.0.0 is wanted".into()),
        Ok(id) => Ok(id),
    }
}

/// Carries out the command.
pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let routes = routes(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let end = async {
            tokio::select! {
                () = after(arguments.duration) => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        let withdraw = after(arguments.withdraw_after);
        announce(arguments, &routes, withdraw, end, output).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What to announce: something.
pub(super) fn routes(arguments: &Arguments) -> anyhow::Result<Vec<Route>> {
    let mut routes = Vec::new();
    for flow in &arguments.flows {
        routes.extend(flows::parse(flow, "argument")?);
    }
    if let Some(path) = &arguments.file {
        routes.extend(flows::read(path)?);
    }
    if routes.is_empty() {
        bail!("there is nothing to announce");
    }
    Ok(routes)
}

/// Announces the routes, withdraws them once `withdraw` is ready, and ends the session once `end` is.
pub(super) async fn announce(
    arguments: &Arguments,
    routes: &[Route],
    withdraw: impl Future<Output = ()>,
    end: impl Future<Output = ()>,
    output: &mut dyn Write,
) -> anyhow::Result<()> {
    tokio::pin!(withdraw, end);
    let mut withdrawn = false;
    let mut driver = Driver::new(
        session_config(arguments, routes),
        Target {
            remote: arguments.to,
            local: arguments.from,
            transport: transport(arguments)?,
        },
    );
    let negotiated = connect(arguments, &mut driver).await?;
    writeln!(
        output,
        "session up with {}: AS {}, router id {}",
        arguments.to, arguments.remote_as, negotiated.remote_open.router_id
    )?;
    let missing = |route: &&Route| !negotiated.families.contains(&route.nlri.family());
    if let Some(route) = routes.iter().find(missing) {
        bail!("the other side does not take {}", route.nlri.family());
    }
    for update in announcements(arguments, routes, &negotiated.families) {
        send(&mut driver, update).await?;
    }
    writeln!(output, "announced {}", count(routes.len()))?;
    output.flush()?;

    loop {
        tokio::select! {
            happening = driver.next(true) => if let Some(reason) = end_of_session(happening) {
                bail!("the session ended: {reason}");
            },
            () = &mut withdraw, if !withdrawn => {
                withdrawn = true;
                for update in withdrawals(routes) {
                    send(&mut driver, update).await?;
                }
                writeln!(output, "withdrew {}", count(routes.len()))?;
                output.flush()?;
            }
            () = &mut end => break,
        }
    }
    driver.stop(CEASE_SHUTDOWN, "flowacl announce ends").await;
    writeln!(output, "session ended")?;
    Ok(())
}

/// Cease subcode of an administrative shutdown (RFC 4486).
const CEASE_SHUTDOWN: u8 = 2;

/// `1 flow` or `7 flows`.
fn count(flows: usize) -> String {
    if flows == 1 {
        "1 flow".into()
    } else {
        format!("{flows} flows")
    }
}

/// Our half of the session.
fn session_config(arguments: &Arguments, routes: &[Route]) -> SessionConfig {
    let mut families = vec![FlowFamily::Ipv4Flow, FlowFamily::Ipv6Flow];
    for route in routes {
        if !families.contains(&route.nlri.family()) {
            families.push(route.nlri.family());
        }
    }
    SessionConfig {
        local_as: arguments.local_as,
        router_id: arguments.router_id,
        remote_as: arguments.remote_as,
        remote_address: arguments.to.ip(),
        unicast: Vec::new(),
        families,
        hold_time_secs: 90,
        passive: false,
        connect_retry: CONNECT_RETRY,
        announces: true,
        add_path: None,
        restart: RestartConfig::default(),
        jitter_seed: rand::random(),
    }
}

/// Waits until the session is up. When it does not come up, the last trouble says why.
async fn connect(arguments: &Arguments, driver: &mut Driver) -> anyhow::Result<Negotiated> {
    let mut last_trouble = None;
    driver.input(Input::Start);
    let up = async {
        loop {
            match driver.next(true).await {
                Happening::Up(negotiated) => return Ok(negotiated),
                // The other side has an opinion: trying again would not change it.
                Happening::Event(SessionEvent::NotificationReceived(notification)) => {
                    return Err(format!(
                        "the other side refused the session: NOTIFICATION {notification}"
                    ));
                }
                Happening::Event(SessionEvent::Malformed(error)) => return Err(error.to_string()),
                Happening::Event(SessionEvent::Rejected(_, reason)) => {
                    // What broke the connection says more.
                    last_trouble.get_or_insert(reason);
                }
                Happening::Transport(reason) => last_trouble = Some(reason),
                Happening::Event(_) | Happening::Update(_) | Happening::Refresh(..) => {}
                Happening::Down(reason, _) => return Err(describe_down(&reason)),
            }
        }
    };
    let up = timeout(Duration::from_secs(arguments.patience), up).await;
    match up {
        Ok(Ok(negotiated)) => Ok(negotiated),
        Ok(Err(reason)) => bail!("no session with {}: {reason}", arguments.to),
        Err(_) => {
            let reason = last_trouble.unwrap_or_else(|| "the other side says nothing".into());
            bail!(
                "no session with {} after {} s: {reason}",
                arguments.to,
                arguments.patience
            )
        }
    }
}

/// Sends one UPDATE, at the pace of the other side.
async fn send(driver: &mut Driver, update: Update) -> anyhow::Result<()> {
    let ready = driver.ready_to_send();
    tokio::pin!(ready);
    loop {
        let happening = tokio::select! {
            () = &mut ready => break,
            happening = driver.next(true) => happening,
        };
        if let Some(reason) = end_of_session(happening) {
            bail!("the session ended: {reason}");
        }
    }
    driver.input(Input::SendUpdate(Box::new(update)));
    Ok(())
}

/// Why the session has ended, if it has.
fn end_of_session(happening: Happening) -> Option<String> {
    match happening {
        Happening::Down(reason, _) => Some(describe_down(&reason)),
        Happening::Event(SessionEvent::NotSent(routes)) => Some(format!(
            "{} flows are too long for a BGP message",
            routes.len()
        )),
        Happening::Up(_)
        | Happening::Update(_)
        | Happening::Refresh(..)
        | Happening::Event(_)
        | Happening::Transport(_) => None,
    }
}

/// One UPDATE for each route, and End-of-RIB for each family.
fn announcements(
    arguments: &Arguments,
    routes: &[Route],
    families: &[FlowFamily],
) -> impl Iterator<Item = Update> {
    let ibgp = arguments.local_as == arguments.remote_as;
    let as_path = match ibgp {
        true => Vec::new(),
        false => vec![AsPathSegment {
            kind: AsPathSegmentKind::Sequence,
            asns: vec![arguments.local_as],
        }],
    };
    let announce = move |route: &Route| Update {
        announced: vec![route.nlri.clone().into()],
        attributes: Attributes {
            origin: Some(Origin::Igp),
            as_path: as_path.clone(),
            local_pref: ibgp.then_some(LOCAL_PREF),
            ..route.attributes()
        },
        ..Update::default()
    };
    let end_of_rib = |family: &FlowFamily| {
        let family: AfiSafi = family.afi_safi();
        Update {
            end_of_rib: Some(family),
            ..Update::default()
        }
    };
    routes
        .iter()
        .map(announce)
        .chain(families.iter().map(end_of_rib))
}

/// Withdraws all routes.
fn withdrawals(routes: &[Route]) -> impl Iterator<Item = Update> {
    routes.iter().map(|route| Update {
        withdrawn: vec![route.nlri.clone().into()],
        ..Update::default()
    })
}

/// Returns after so many seconds; never without a number.
async fn after(secs: Option<u64>) {
    match secs {
        Some(secs) => sleep(Duration::from_secs(secs)).await,
        None => std::future::pending().await,
    }
}

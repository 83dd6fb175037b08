//! `flowacl plan`: what would be installed, without a daemon and without root.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use dataplane::backend::{Backend, BackendError};
use dataplane::desired::Settings;
use dataplane::rule::Rule;

use super::flows::{self, Route};
use super::show::print_plan;
use crate::config::{BackendKind, Config, Dataplane};
use crate::engine::policy::{ImportPolicy, LocalSpeaker};
use crate::engine::status::{RouteState, RulesReport};
use crate::engine::{Engine, Event};
use crate::io::{backends, settings};
use crate::session::NegotiatedRestart;
use crate::wire::attribute::{Attributes, Origin};
use crate::wire::iana::FlowFamily;
use crate::wire::update::Update;

/// Print exactly what would be installed for some flows
///
/// Reads flows in the text form of ExaBGP, or lines of a family and an NLRI in hex, and prints the rules in precedence order
/// in the packet filter's own language. Needs no daemon and no root, and changes nothing. Flows that cannot be
/// enforced exactly are listed with the reason.
///
/// Two flows with the same match are one route: the later one counts.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  flowacl plan --backend nftables flows.txt
  echo 'flow route { match { destination 203.0.113.5/32; protocol udp; } then { rate-limit 9600; } }' | \\
      flowacl plan --backend nftables
  flowacl plan --config /etc/flowacl/flowacl.toml flows.txt
  flowacl plan --backend cumulus --profile spectrum1 flows.txt
  flowacl plan --backend sonic --profile 202411-mellanox-config_db flows.txt
  echo 'ipv4-flow 0a0120cb0071050381110681' | flowacl plan --backend sim --json")]
pub(super) struct Arguments {
    /// The packet filter: nftables, cumulus, sonic or sim; without it that of the configuration, or nftables
    #[arg(long, value_name = "BACKEND")]
    backend: Option<BackendKind>,
    /// The hardware of a switch: spectrum1, trident3 and so on, as dataplane.cumulus.profile has it, or release, ASIC and
    /// database of SONiC
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// A configuration: where route targets lead, which interfaces are in a group, and all of [dataplane]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON of the shape of `show rules --json`
    #[arg(long)]
    json: bool,
    /// Do not fit the table to the terminal
    #[arg(long)]
    wide: bool,
    /// The flows; - is stdin
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
}

/// The neighbor that the flows are taken to come from.
const NEIGHBOR: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Carries out the command.
pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let routes = flows::read(&arguments.file)?;
    let config = arguments.config.as_deref().map(Config::load).transpose()?;
    let mut dataplane = config
        .as_ref()
        .map_or_else(Dataplane::default, |config| config.dataplane.clone());
    dataplane.backend = arguments.backend.unwrap_or(dataplane.backend);
    let bindings = config.as_ref().map(settings::bindings).unwrap_or_default();
    let settings = config.as_ref().map_or_else(Settings::default, |config| {
        settings::settings(config, false)
    });
    let backend =
        backends::planning(dataplane, arguments.profile.as_deref()).map_err(anyhow::Error::msg)?;
    let mut engine = Engine::new(nobody(), backend.capability());
    engine.step(Instant::now(), Event::BindingsChanged(bindings));
    let mut engine = engine_with(&routes, engine);
    let installed = install(&mut engine, &*backend, &settings);
    let report = RulesReport {
        rules: engine.rules(Instant::now()),
    };
    if arguments.json {
        super::print_json(output, &report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let enforced = report
        .rules
        .iter()
        .filter(|rule| rule.state == RouteState::Installed)
        .count();
    writeln!(
        output,
        "# {enforced} of {} flows would be installed, in this order:",
        report.rules.len()
    )?;
    print_plan(output, &report.rules, arguments.wide)?;
    writeln!(
        output,
        "\n{}",
        backend.render(&settings, &installed).trim_end()
    )?;
    Ok(ExitCode::SUCCESS)
}

/// A speaker whose AS is in nobody's path.
fn nobody() -> LocalSpeaker {
    LocalSpeaker {
        asn: 0,
        router_id: Ipv4Addr::UNSPECIFIED,
    }
}

/// The engine after one neighbor has announced all routes.
fn engine_with(routes: &[Route], mut engine: Engine) -> Engine {
    let now = Instant::now();
    engine.step(
        now,
        Event::PeerUp {
            peer: NEIGHBOR,
            router_id: Ipv4Addr::UNSPECIFIED,
            ibgp: true,
            families: FlowFamily::ALL.to_vec(),
            policy: ImportPolicy {
                allow_match_all: true,
                max_routes: usize::MAX,
                ..ImportPolicy::default()
            },
            restart: NegotiatedRestart::default(),
        },
    );
    for route in routes {
        let attributes = Attributes {
            origin: Some(Origin::Igp),
            ..route.attributes()
        };
        let announced = vec![route.nlri.clone().into()];
        let update = Update {
            announced,
            attributes,
            ..Update::default()
        };
        engine.step(
            now,
            Event::Update {
                peer: NEIGHBOR,
                update,
            },
        );
    }
    engine
}

/// Commits everything that the packet filter would take; returns its rules in precedence order.
fn install(engine: &mut Engine, backend: &dyn Backend, settings: &Settings) -> Vec<Arc<Rule>> {
    let mut rules: Vec<Arc<Rule>> = Vec::new();
    while let Some(changes) = engine.poll_commit(Instant::now()) {
        let all = [rules.as_slice(), &changes.put].concat();
        let mut without_room = backend.without_room(settings, &all);
        without_room.retain(|(id, _)| changes.put.iter().any(|rule| rule.id == *id));
        let result = if without_room.is_empty() {
            rules = all;
            Ok(())
        } else {
            Err(BackendError::NoRoom(without_room))
        };
        engine.step(Instant::now(), Event::Committed(result));
    }
    rules.sort_by(|a: &Arc<Rule>, b| (a.family, &a.order).cmp(&(b.family, &b.order)));
    rules
}

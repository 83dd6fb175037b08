//! The controller of the demo: `flowacl announce` on a thread inside its namespace.

use std::io;
use std::sync::mpsc;

use anyhow::Context;
use clap::Parser;
use tokio::sync::oneshot;

use crate::cli::announce::{self, announce};
use crate::cli::{Arguments, Command};
use crate::lab::Namespace;

/// A running controller. Its session ends with this value.
pub(super) struct Controller {
    withdraw: Option<oneshot::Sender<()>>,
    end: Option<oneshot::Sender<()>>,
    /// How it ended.
    result: mpsc::Receiver<anyhow::Result<()>>,
}

impl Controller {
    /// Starts to announce `flows` to the router.
    pub(super) fn start(host: &Namespace, router: &str, flows: &[&str]) -> anyhow::Result<Self> {
        let command = ["flowacl", "announce", "--local-as", "65070"];
        let to = ["--remote-as", "65140", "--to", router];
        let arguments = Arguments::try_parse_from(command.iter().chain(&to).chain(flows))?;
        let Command::Announce(arguments) = arguments.command else {
            unreachable!("the command line says announce");
        };
        let (withdraw, withdraw_cue) = oneshot::channel();
        let (end, end_cue) = oneshot::channel();
        let (ended, result) = mpsc::channel();
        let work = move || {
            // Nobody waits when the demo has already failed.
            let _ = ended.send(run(&arguments, withdraw_cue, end_cue));
        };
        host.run(move || {
            std::thread::Builder::new()
                .name("controller".into())
                .spawn(work)
        })
        .context("cannot start the controller")?;
        Ok(Self {
            withdraw: Some(withdraw),
            end: Some(end),
            result,
        })
    }

    /// Withdraws everything.
    pub(super) fn withdraw(&mut self) {
        self.withdraw.take();
    }

    /// Ends the session.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        self.end.take();
        self.result.recv().context("the controller panicked")?
    }

    /// Why something did not happen: because the controller failed, if it has.
    pub(super) fn blame<T>(&self, error: anyhow::Error) -> anyhow::Result<T> {
        match self.result.try_recv() {
            Ok(Err(reason)) => Err(reason.context("the controller")),
            Ok(Ok(())) | Err(_) => Err(error),
        }
    }
}

/// Announces until told otherwise; a cue is given by dropping its other end.
fn run(
    arguments: &announce::Arguments,
    withdraw: oneshot::Receiver<()>,
    end: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let routes = announce::routes(arguments)?;
    let cue = async |receiver: oneshot::Receiver<()>| {
        let _ = receiver.await;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(announce(
        arguments,
        &routes,
        cue(withdraw),
        cue(end),
        &mut io::sink(),
    ))
}

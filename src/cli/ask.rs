//! What the commands share that ask the running daemon.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::DEFAULT_SOCKET;
use crate::io::control::client::{self, ClientError};

/// Where the daemon is.
#[derive(Debug, clap::Args)]
pub(super) struct Daemon {
    /// The daemon's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
}

impl Daemon {
    /// Asks with GET.
    pub(super) fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.wait(client::get(&self.socket, path))
    }

    /// Asks with POST.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.wait(client::post(&self.socket, path, body))
    }

    /// Waits for an answer.
    fn wait<T>(&self, answer: impl Future<Output = Result<T, ClientError>>) -> anyhow::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(runtime.block_on(answer)?)
    }
}

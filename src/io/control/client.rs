//! The command line's side of the control API.

use std::io;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::io::report::ErrorReport;

/// Why the daemon did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon answers at {}: {cause}; is `flowacl run` running, with this control.socket?", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },
    /// The conversation broke off.
    #[error("the daemon did not answer: {0}")]
    Broken(String),
    /// The daemon said no.
    #[error("{0}")]
    Refused(String),
}

/// Asks the daemon at `socket` with GET.
pub async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    request(socket, Method::GET, path, Bytes::new()).await
}

/// Asks the daemon at `socket` with POST.
pub async fn post<T: DeserializeOwned>(
    socket: &Path,
    path: &str,
    body: &impl Serialize,
) -> Result<T, ClientError> {
    let body = serde_json::to_vec(body).map_err(broken)?;
    request(socket, Method::POST, path, body.into()).await
}

/// One question, one connection.
async fn request<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<T, ClientError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|cause| ClientError::NoDaemon {
            path: socket.to_owned(),
            cause,
        })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "flowacl")
        .header("content-type", "application/json")
        .body(Full::new(body))
        .map_err(broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(broken)?
            .to_bytes();
        Ok((status, body))
    };
    // The connection works only while it is polled; it ends after the exchange.
    let (status, body) = tokio::select! {
        biased;
        exchanged = exchange => exchanged?,
        ended = connection => {
            return Err(broken(ended.err().map_or("connection closed".into(), |error| error.to_string())));
        }
    };
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(broken);
    }
    let refused = serde_json::from_slice(&body).map(|report: ErrorReport| report.error);
    Err(ClientError::Refused(refused.unwrap_or_else(|_| {
        format!("{status}: {}", String::from_utf8_lossy(&body))
    })))
}

/// The conversation broke off.
fn broken(reason: impl ToString) -> ClientError {
    ClientError::Broken(reason.to_string())
}

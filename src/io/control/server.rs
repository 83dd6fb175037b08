//! The daemon's side of the control API.

use std::net::Ipv4Addr;
use std::time::Instant;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use dataplane::packet::Packet;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

use super::orders;
use super::permission::{Caller, Permissions, Right};
use crate::engine::explain::Explanation;
use crate::engine::status::RulesReport;
use crate::io::daemon::FileRequest;
use crate::io::dataplane_thread;
use crate::io::engine_task::{Counts, EngineInput};
use crate::io::neighbors::{Listing, Request};
use crate::io::orders::Operator;
use crate::io::report::{
    DataplaneReport, DiffReport, ErrorReport, ExplainRequest, NeighborsReport, SummaryReport,
};

/// Whom to ask for what. Cheap to clone.
#[derive(Clone)]
pub(in crate::io) struct Api {
    pub(in crate::io) engine: mpsc::Sender<EngineInput>,
    pub(in crate::io) neighbors: mpsc::Sender<Request>,
    pub(in crate::io) dataplane: dataplane_thread::Handle,
    pub(in crate::io) operator: Operator,
    /// Whoever has the configuration file.
    pub(in crate::io) file: mpsc::Sender<FileRequest>,
    pub(in crate::io) local_as: u32,
    pub(in crate::io) router_id: Ipv4Addr,
    pub(in crate::io) backend: &'static str,
    pub(in crate::io) started: Instant,
}

/// Why there is no answer.
pub(in crate::io) enum ApiError {
    /// The daemon is about to end.
    Ending,
    /// The question makes no sense.
    BadRequest(String),
    /// What was asked for was not done, or not wholly.
    Failed(String),
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, error) = match self {
            ApiError::Ending => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the daemon is about to end".to_owned(),
            ),
            ApiError::BadRequest(error) => (StatusCode::BAD_REQUEST, error),
            ApiError::Failed(error) => (StatusCode::INTERNAL_SERVER_ERROR, error),
        };
        (status, Json(ErrorReport { error })).into_response()
    }
}

/// Serves the API until the task is dropped.
pub(in crate::io) async fn serve(listener: UnixListener, api: Api, permissions: Permissions) {
    let with_right = |right| middleware::from_fn_with_state((permissions.clone(), right), check);
    let reading = Router::new()
        .route(
            "/v1/rules",
            get(async |State(api): State<Api>| api.rules().await.map(Json)),
        )
        .route(
            "/v1/neighbors",
            get(async |State(api): State<Api>| api.neighbors().await.map(Json)),
        )
        .route(
            "/v1/summary",
            get(async |State(api): State<Api>| api.summary().await.map(Json)),
        )
        .route(
            "/v1/dataplane",
            get(async |State(api): State<Api>| api.dataplane().await.map(Json)),
        )
        .route("/v1/explain", post(explain))
        .route("/v1/diff", post(orders::diff))
        .route_layer(with_right(Right::Read));
    let changing = Router::new()
        .route("/v1/disable", post(orders::disable))
        .route("/v1/enable", post(orders::enable))
        .route("/v1/panic", post(orders::panic))
        .route("/v1/resume", post(orders::resume))
        .route("/v1/reload", post(orders::reload))
        .route_layer(with_right(Right::Change));
    let service = reading
        .merge(changing)
        .with_state(api)
        .into_make_service_with_connect_info::<Caller>();
    if let Err(error) = axum::serve(listener, service).await {
        tracing::error!("the control API ended: {error}");
    }
}

/// Lets a request through whose caller has the right.
async fn check(
    State((permissions, right)): State<(Permissions, Right)>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    match permissions.check(&caller, right) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let Caller { uid, pid, .. } = caller;
            tracing::warn!(uid, pid, path = request.uri().path(), "refused: {error}");
            (StatusCode::FORBIDDEN, Json(ErrorReport { error })).into_response()
        }
    }
}

/// `POST /v1/explain`.
async fn explain(
    State(api): State<Api>,
    Json(request): Json<ExplainRequest>,
) -> Result<Json<Explanation>, ApiError> {
    let packet = Packet::from_text(&request.packet)
        .map_err(|error| ApiError::BadRequest(error.to_string()))?;
    Ok(Json(
        api.ask_engine(|answer| EngineInput::Explain(packet, answer))
            .await?,
    ))
}

impl Api {
    /// `GET /v1/rules`.
    pub(in crate::io) async fn rules(&self) -> Result<RulesReport, ApiError> {
        Ok(RulesReport {
            rules: self.ask_engine(EngineInput::Rules).await?,
        })
    }

    /// `GET /v1/neighbors`.
    pub(in crate::io) async fn neighbors(&self) -> Result<NeighborsReport, ApiError> {
        let (listing, _) = self.neighbors_with_routes().await?;
        Ok(NeighborsReport {
            neighbors: listing.neighbors,
            dynamic: listing.dynamic,
        })
    }

    /// `GET /v1/summary`.
    pub(in crate::io) async fn summary(&self) -> Result<SummaryReport, ApiError> {
        let (listing, counts) = self.neighbors_with_routes().await?;
        Ok(SummaryReport {
            version: env!("CARGO_PKG_VERSION").into(),
            local_as: self.local_as,
            router_id: self.router_id,
            uptime_secs: self.started.elapsed().as_secs(),
            backend: self.backend.into(),
            settled: counts.settled,
            neighbors: listing.neighbors.len(),
            established: listing
                .neighbors
                .iter()
                .filter(|neighbor| neighbor.is_established())
                .count(),
            strangers_refused: listing.strangers_refused,
            suspended: counts.suspended,
            disabled: counts.disabled,
            refusals: counts
                .refusals
                .iter()
                .map(|(kind, number)| (kind.name().to_owned(), *number))
                .collect(),
            routes: counts.total,
        })
    }

    /// `GET /v1/dataplane`.
    pub(in crate::io) async fn dataplane(&self) -> Result<DataplaneReport, ApiError> {
        self.dataplane.describe().await.ok_or(ApiError::Ending)
    }

    /// All neighbors with the numbers of their routes, and the numbers of all routes.
    async fn neighbors_with_routes(&self) -> Result<(Listing, Counts), ApiError> {
        let (answer, listing) = oneshot::channel();
        self.neighbors
            .send(Request::List(answer))
            .await
            .map_err(|_| ApiError::Ending)?;
        let mut listing = listing.await.map_err(|_| ApiError::Ending)?;
        let peers = listing
            .neighbors
            .iter()
            .map(|neighbor| neighbor.address)
            .collect();
        let counts = self
            .ask_engine(|answer| EngineInput::Counts(peers, answer))
            .await?;
        let of_peers = counts.peers.iter().zip(&counts.stale_secs_left);
        for (neighbor, (routes, stale)) in listing.neighbors.iter_mut().zip(of_peers) {
            neighbor.routes = *routes;
            neighbor.stale_secs_left = *stale;
        }
        Ok((listing, counts))
    }

    /// Asks whoever has the configuration file.
    pub(super) async fn ask_file(
        &self,
        dry_run: bool,
        text: Option<String>,
    ) -> Result<DiffReport, ApiError> {
        let (sender, answer) = oneshot::channel();
        let request = FileRequest {
            dry_run,
            text,
            answer: sender,
        };
        let nobody = |_| ApiError::Failed("this daemon has no configuration file".into());
        self.file.send(request).await.map_err(nobody)?;
        answer.await.map_err(|_| ApiError::Ending)
    }

    /// Asks the engine and waits for the answer.
    async fn ask_engine<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> EngineInput,
    ) -> Result<T, ApiError> {
        let (sender, answer) = oneshot::channel();
        self.engine
            .send(question(sender))
            .await
            .map_err(|_| ApiError::Ending)?;
        answer.await.map_err(|_| ApiError::Ending)
    }
}

//! The part of the control API that changes something. Each change is logged with who asked for it.

use axum::Json;
use axum::extract::{ConnectInfo, State};

use super::permission::Caller;
use super::server::{Api, ApiError};
use crate::io::orders::{OrderError, OrderReport};
use crate::io::report::{DiffReport, DiffRequest, OrderRequest, SuspendRequest};

impl From<OrderError> for ApiError {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Ending => ApiError::Ending,
            OrderError::Find(_) => ApiError::BadRequest(error.to_string()),
            OrderError::PacketFilter(_) | OrderError::NotKept(_) => {
                ApiError::Failed(error.to_string())
            }
        }
    }
}

/// What a handler returns.
type Answer = Result<Json<OrderReport>, ApiError>;

/// `POST /v1/panic`.
pub(super) async fn panic(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(request): Json<SuspendRequest>,
) -> Answer {
    let Caller { uid, pid, .. } = caller;
    let persist = request.persist;
    tracing::warn!(uid, pid, persist, "panic: no rule is in force any more");
    Ok(Json(api.operator.suspend(true, persist).await?))
}

/// `POST /v1/resume`.
pub(super) async fn resume(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
) -> Answer {
    let Caller { uid, pid, .. } = caller;
    tracing::warn!(uid, pid, "resume: rules are in force again");
    Ok(Json(api.operator.suspend(false, false).await?))
}

/// `POST /v1/disable`.
pub(super) async fn disable(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(request): Json<OrderRequest>,
) -> Answer {
    order(&api, &caller, request, false).await
}

/// `POST /v1/enable`.
pub(super) async fn enable(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    Json(request): Json<OrderRequest>,
) -> Answer {
    order(&api, &caller, request, true).await
}

/// Carries out an order for one rule.
async fn order(api: &Api, caller: &Caller, request: OrderRequest, enabled: bool) -> Answer {
    let OrderRequest { rule, persist } = request;
    let report = api.operator.order(rule.clone(), enabled, persist).await;
    let Caller { uid, pid, .. } = caller;
    let order = if enabled { "enable" } else { "disable" };
    match &report {
        Ok(report) => {
            let flow = report.rule.as_ref().map(|rule| rule.flow.as_str());
            tracing::warn!(uid, pid, persist, flow, "{order}");
        }
        Err(error) => tracing::warn!(uid, pid, persist, rule, "{order}: {error}"),
    }
    Ok(Json(report?))
}

/// `POST /v1/reload`.
pub(super) async fn reload(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
) -> Result<Json<DiffReport>, ApiError> {
    let Caller { uid, pid, .. } = caller;
    tracing::info!(uid, pid, "reload");
    Ok(Json(api.ask_file(false, None).await?))
}

/// `POST /v1/diff`: changes nothing.
pub(super) async fn diff(
    State(api): State<Api>,
    Json(request): Json<DiffRequest>,
) -> Result<Json<DiffReport>, ApiError> {
    Ok(Json(api.ask_file(true, request.text).await?))
}

//! What `metrics.listen` serves: Prometheus text, and a page for people.

use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use tokio::net::TcpListener;

use super::control::{Api, ApiError};
use super::metrics;
use super::report::{NeighborsReport, SummaryReport};
use crate::engine::status::RulesReport;

/// The content type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Rules that the page shows.
const MAX_PAGE_RULES: usize = 1000;

/// Serves until the task is dropped.
pub(super) async fn serve(listener: TcpListener, api: Api) {
    let router = Router::new()
        .route(
            "/",
            get(async |State(api): State<Api>| reports(&api).await.map(|all| Html(page(&all)))),
        )
        .route("/metrics", get(scrape))
        .with_state(api);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!("the metrics server ended: {error}");
    }
}

/// All that there is to show.
type Reports = (SummaryReport, NeighborsReport, RulesReport);

/// Asks for everything.
async fn reports(api: &Api) -> Result<Reports, ApiError> {
    Ok((
        api.summary().await?,
        api.neighbors().await?,
        api.rules().await?,
    ))
}

/// `GET /metrics`.
async fn scrape(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let (summary, neighbors, rules) = reports(&api).await?;
    let text =
        metrics::text(&summary, &neighbors, &rules).expect("writing to a string cannot fail");
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text))
}

/// The page: the sessions, and the routes in precedence order.
fn page((summary, neighbors, rules): &Reports) -> String {
    let mut body = String::new();
    row(
        &mut body,
        "th",
        &["Neighbor", "AS", "State", "Received", "Installed"],
    );
    for neighbor in &neighbors.neighbors {
        let routes = &neighbor.routes;
        row(
            &mut body,
            "td",
            &[
                &neighbor.address.to_string(),
                &neighbor.remote_as.to_string(),
                &neighbor.state,
                &routes.received.to_string(),
                &routes.installed.to_string(),
            ],
        );
    }
    body.push_str("</table><h2>Routes</h2><table>");
    row(
        &mut body,
        "th",
        &["State", "Flow", "Packets", "Bytes", "Neighbor", "Reason"],
    );
    for rule in rules.rules.iter().take(MAX_PAGE_RULES) {
        let state = serde_json::to_value(rule.state).unwrap_or_default();
        row(
            &mut body,
            "td",
            &[
                state.as_str().unwrap_or_default(),
                &rule.flow,
                &rule.packets.to_string(),
                &rule.bytes.to_string(),
                &rule.neighbor,
                rule.reason.as_deref().unwrap_or_default(),
            ],
        );
    }
    let left_out = rules.rules.len().saturating_sub(MAX_PAGE_RULES);
    let left_out = if left_out > 0 {
        format!("<p>and {left_out} more")
    } else {
        String::new()
    };
    format!(
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=10><title>flowacl</title>\
         <style>body{{font:14px/1.5 sans-serif;margin:2em}}table{{border-collapse:collapse}}\
         td,th{{text-align:left;padding:.2em 1em .2em 0;border-bottom:1px solid #ddd}}</style>\
         <h1>flowacl {}</h1><p>AS {}, router id {}, {} data plane: {} of {} routes installed\
         <h2>Neighbors</h2><table>{body}</table>{left_out}",
        escape(&summary.version),
        summary.local_as,
        summary.router_id,
        escape(&summary.backend),
        summary.routes.installed,
        summary.routes.received,
    )
}

/// One row of a table.
fn row(body: &mut String, tag: &str, cells: &[&str]) {
    body.push_str("<tr>");
    for cell in cells {
        write!(body, "<{tag}>{}", escape(cell)).expect("writing to a string cannot fail");
    }
}

/// Text as HTML: neighbors decide what stands in their routes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

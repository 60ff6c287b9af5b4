//! The answers of the admin paths.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;

use super::{Page, Query, Refusal};
use crate::stats::{scope::Source, store::Store};

type Parameters = BTreeMap<String, String>;

/// `/stats`: what the store has, and more that is counted elsewhere.
pub fn answer(store: &Arc<Store>, more: Vec<Arc<dyn Source>>, parameters: &Parameters) -> Response {
    respond(store, more, Query::parse(parameters))
}

/// `/stats/prometheus`
pub fn prometheus(
    store: &Arc<Store>,
    more: Vec<Arc<dyn Source>>,
    parameters: &Parameters,
) -> Response {
    respond(store, more, Query::prometheus(parameters))
}

/// The answer to a question, or why there is none.
pub fn respond(
    store: &Arc<Store>,
    more: Vec<Arc<dyn Source>>,
    query: Result<Query, Refusal>,
) -> Response {
    let page = match query {
        Ok(query) => Page::new(store, more, query),
        Err(Refusal(words)) => {
            let content_type = "text/plain; charset=UTF-8";
            let headers = [(header::CONTENT_TYPE, content_type)];
            return (StatusCode::BAD_REQUEST, headers, words).into_response();
        }
    };
    let content_type = page.content_type();
    let pieces = stream::unfold(page, |mut page| async move {
        loop {
            let piece = page.next()?;
            // What else the thread has to do is not to wait for the whole page.
            tokio::task::yield_now().await;
            if !piece.is_empty() {
                return Some((Ok::<_, Infallible>(piece), page));
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, content_type)];
    (headers, Body::from_stream(pieces)).into_response()
}

/// `/reset_counters`
pub fn reset_counters(store: &Store) -> Response {
    store.reset_counters();
    "OK\n".into_response()
}

/// `/stats/recentlookups`, and below it `enable`, `disable` and `clear`.
pub fn recent_lookups(action: Option<&str>) -> Response {
    match action {
        None => "Lookup tracking is not enabled: statistics are found without looking up their \
                 names.\n\ntotal: 0\n"
            .into_response(),
        Some("enable") => {
            let words = "there are no lookups to track: statistics are found without looking up \
                         their names\n";
            (StatusCode::NOT_IMPLEMENTED, words).into_response()
        }
        Some(_) => "OK\n".into_response(),
    }
}

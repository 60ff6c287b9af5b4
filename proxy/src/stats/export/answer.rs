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

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;
    use crate::stats::StatsConfig;

    async fn told(response: Response) -> (StatusCode, String, String) {
        let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
        let (status, content_type) = (response.status(), content_type.to_owned());
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (
            status,
            content_type,
            String::from_utf8(body.into()).unwrap(),
        )
    }

    fn parameters(pairs: &[(&str, &str)]) -> Parameters {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[tokio::test]
    async fn answers_have_the_content_types_of_envoy() {
        let store = Arc::new(Store::new(StatsConfig::default()));
        let limit = store.connection_limit("a");
        let text = "text/plain; charset=UTF-8";
        for (pairs, status, content_type, start) in [
            (
                &[][..],
                StatusCode::OK,
                text,
                "connection_limit.a.active_connections: 0\n",
            ),
            (
                &[("format", "json")],
                StatusCode::OK,
                "application/json",
                r#"{"stats":[{"name":"connection_limit.a.active_connections","value":0},"#,
            ),
            (
                &[("format", "prometheus")],
                StatusCode::OK,
                text,
                "# TYPE envoy_connection_limit_limited_connections counter\n\
                 envoy_connection_limit_limited_connections\
                 {envoy_connection_limit_prefix=\"a\"} 0\n",
            ),
            (
                &[("filter", "(")],
                StatusCode::BAD_REQUEST,
                text,
                "Invalid re2 regex: missing ): (",
            ),
        ] {
            let response = told(answer(&store, Vec::new(), &parameters(pairs))).await;
            assert_eq!((response.0, &*response.1), (status, content_type));
            assert!(response.2.starts_with(start), "{}", response.2);
        }
        drop(limit);
    }

    #[tokio::test]
    async fn lookups_are_said_not_to_be_tracked() {
        for (action, status, start) in [
            (None, StatusCode::OK, "Lookup tracking is not enabled"),
            (
                Some("enable"),
                StatusCode::NOT_IMPLEMENTED,
                "there are no lookups",
            ),
            (Some("disable"), StatusCode::OK, "OK\n"),
            (Some("clear"), StatusCode::OK, "OK\n"),
        ] {
            let (told_status, _, words) = told(recent_lookups(action)).await;
            assert_eq!(told_status, status);
            assert!(words.starts_with(start), "{words}");
        }
    }
}

//! An API server with two objects: list, watch, get, replace and server-side apply.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::{Barrier, watch};

/// The server's end, shared by all its clients.
#[derive(Clone)]
pub(super) struct Fake {
    state: Arc<Mutex<State>>,
    version: watch::Sender<u64>,
    /// The first writes of the Secret wait for each other here.
    race: Option<Arc<Barrier>>,
}

#[derive(Default)]
struct State {
    secret: Object,
    configuration: Object,
    down: bool,
    conflicts: usize,
}

/// An object with its history.
#[derive(Default)]
struct Object {
    current: Option<Value>,
    events: Vec<(u64, Value)>,
    writes: usize,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Secret,
    Configuration,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl Fake {
    pub(super) fn new() -> Self {
        Self {
            state: Arc::default(),
            version: watch::channel(1).0,
            race: None,
        }
    }

    /// Makes the first writes of this many clients meet.
    pub(super) fn with_race(mut self, clients: usize) -> Self {
        self.race = Some(Arc::new(Barrier::new(clients)));
        self
    }

    pub(super) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        Client::new(service, "mesh")
    }

    /// As kubectl would: sets or deletes the object.
    pub(super) fn put(&self, kind: Kind, object: Option<Value>) {
        self.state(|state| self.store(state.object(kind), object));
    }

    pub(super) fn current(&self, kind: Kind) -> Option<Value> {
        self.state(|state| state.object(kind).current.clone())
    }

    /// How often clients have written the object.
    pub(super) fn writes(&self, kind: Kind) -> usize {
        self.state(|state| state.object(kind).writes)
    }

    pub(super) fn conflicts(&self) -> usize {
        self.state(|state| state.conflicts)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.state(|state| state.down = down);
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    fn store(&self, object: &mut Object, new: Option<Value>) {
        let version = *self.version.borrow() + 1;
        let event = match (new, object.current.take()) {
            (Some(mut new), _) => {
                new["metadata"]["resourceVersion"] = json!(version.to_string());
                object.current = Some(new.clone());
                json!({ "type": "MODIFIED", "object": new })
            }
            (None, Some(mut old)) => {
                old["metadata"]["resourceVersion"] = json!(version.to_string());
                json!({ "type": "DELETED", "object": old })
            }
            (None, None) => return,
        };
        object.events.push((version, event));
        self.version.send_replace(version);
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or("").to_owned();
        if self.state(|state| state.down) {
            return failure(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable");
        }
        let kind = if path.contains("/secrets") {
            Kind::Secret
        } else {
            Kind::Configuration
        };
        let body = body.collect().await.unwrap().to_bytes();
        match parts.method {
            Method::GET if query.contains("watch=") => self.watch(kind, &query),
            Method::GET if query.contains("fieldSelector=") => self.list(kind),
            Method::GET => match self.current(kind) {
                Some(object) => success(&object),
                None => failure(StatusCode::NOT_FOUND, "NotFound"),
            },
            Method::PUT => {
                if let Some(race) = &self.race {
                    race.wait().await;
                }
                self.replace(kind, serde_json::from_slice(&body).unwrap())
            }
            Method::PATCH => self.apply(kind, &serde_json::from_slice(&body).unwrap()),
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn list(&self, kind: Kind) -> Answer {
        let items: Vec<Value> = self.current(kind).into_iter().collect();
        let version = self.version.borrow().to_string();
        success(&json!({ "metadata": { "resourceVersion": version }, "items": items }))
    }

    fn watch(&self, kind: Kind, query: &str) -> Answer {
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="));
        let start = (self.clone(), from.unwrap().parse::<u64>().unwrap());
        let events = stream::unfold(start, move |(fake, mut seen)| async move {
            let mut versions = fake.version.subscribe();
            loop {
                let next = fake.state(|state| {
                    let mut events = state.object(kind).events.iter();
                    events.find(|(version, _)| *version > seen).cloned()
                });
                if let Some((version, event)) = next {
                    seen = version;
                    let line = Bytes::from(format!("{event}\n"));
                    return Some((Ok::<_, Infallible>(Frame::data(line)), (fake, seen)));
                }
                versions.changed().await.ok()?;
            }
        });
        Response::new(StreamBody::new(events).boxed())
    }

    fn replace(&self, kind: Kind, new: Value) -> Answer {
        self.state(|state| {
            let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
            let Some(current) = &state.object(kind).current else {
                return failure(StatusCode::NOT_FOUND, "NotFound");
            };
            if version(current) != version(&new) {
                state.conflicts += 1;
                return failure(StatusCode::CONFLICT, "Conflict");
            }
            let object = state.object(kind);
            object.writes += 1;
            self.store(object, Some(new));
            success(object.current.as_ref().unwrap())
        })
    }

    /// Merges the one field that the webhook applies.
    fn apply(&self, kind: Kind, patch: &Value) -> Answer {
        self.state(|state| {
            let object = state.object(kind);
            let Some(mut new) = object.current.clone() else {
                return failure(StatusCode::FORBIDDEN, "Forbidden");
            };
            for applied in patch["webhooks"].as_array().unwrap() {
                let entries = new["webhooks"].as_array_mut().unwrap();
                let entry = entries
                    .iter_mut()
                    .find(|entry| entry["name"] == applied["name"]);
                entry.unwrap()["clientConfig"]["caBundle"] =
                    applied["clientConfig"]["caBundle"].clone();
            }
            object.writes += 1;
            self.store(object, Some(new));
            success(object.current.as_ref().unwrap())
        })
    }
}

impl State {
    fn object(&mut self, kind: Kind) -> &mut Object {
        match kind {
            Kind::Secret => &mut self.secret,
            Kind::Configuration => &mut self.configuration,
        }
    }
}

fn success(object: &Value) -> Answer {
    Response::new(Full::from(object.to_string()).boxed())
}

fn failure(code: StatusCode, reason: &str) -> Answer {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code.as_u16(),
        "reason": reason,
        "message": format!("the fake says {reason}"),
    });
    let mut answer = success(&status);
    *answer.status_mut() = code;
    answer
}

//! An API server for tests, which knows objects by their paths: get, list, watch, create and merge.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::http::{Method, Request, Response, StatusCode};
use bytes::Bytes;
use futures_util::{future, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The server's end, shared by all its clients.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// Changes with their versions and paths.
    changes: Vec<(u64, String, Value)>,
    calls: Vec<String>,
    mood: Mood,
}

/// How the server answers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// With an error.
    Down,
    /// Never.
    Silent,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            version: watch::channel(1).0,
        }
    }

    pub(crate) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request| {
            let fake = fake.clone();
            async move { Ok::<_, Infallible>(fake.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// As kubectl would: sets or deletes the object at a path.
    pub(crate) fn put(&self, path: &str, object: Option<Value>) {
        let version = *self.version.borrow() + 1;
        self.state(|state| {
            let event = match (object, state.objects.remove(path)) {
                (Some(mut new), _) => {
                    new["metadata"]["resourceVersion"] = json!(version.to_string());
                    state.objects.insert(path.to_owned(), new.clone());
                    json!({ "type": "MODIFIED", "object": new })
                }
                (None, Some(mut old)) => {
                    old["metadata"]["resourceVersion"] = json!(version.to_string());
                    json!({ "type": "DELETED", "object": old })
                }
                (None, None) => return,
            };
            state.changes.push((version, path.to_owned(), event));
        });
        self.version.send_replace(version);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state(|state| state.objects.get(path).cloned())
    }

    /// The objects right below a path.
    pub(crate) fn below(&self, collection: &str) -> Vec<Value> {
        self.state(|state| {
            let objects = state.objects.iter();
            let within = objects.filter(|(path, _)| is_in(path, collection));
            within.map(|(_, object)| object.clone()).collect()
        })
    }

    /// `METHOD PATH` of each call.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.state(|state| state.calls.clone())
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.state(|state| state.mood = mood);
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let query = parts.uri.query().unwrap_or("").to_owned();
        let mood = self.state(|state| {
            state.calls.push(format!("{} {path}", parts.method));
            state.mood
        });
        match mood {
            Mood::Well => {}
            Mood::Down => return failure(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            Mood::Silent => return future::pending().await,
        }
        let body = body.collect().await.unwrap().to_bytes();
        let sent = || serde_json::from_slice::<Value>(&body).unwrap();
        match parts.method {
            Method::GET if query.contains("watch=") => self.watch(path, &query),
            Method::GET if query.contains('=') => self.list(&path),
            Method::GET => match self.get(&path) {
                Some(object) => success(&object),
                None => failure(StatusCode::NOT_FOUND, "NotFound"),
            },
            Method::POST => {
                let object = sent();
                let name = object["metadata"]["name"].as_str().unwrap();
                let path = format!("{path}/{name}");
                if self.get(&path).is_some() {
                    return failure(StatusCode::CONFLICT, "AlreadyExists");
                }
                self.put(&path, Some(object.clone()));
                success(&object)
            }
            Method::PATCH => match self.get(&path) {
                Some(mut object) => {
                    json_patch::merge(&mut object, &sent());
                    self.put(&path, Some(object.clone()));
                    success(&object)
                }
                None => failure(StatusCode::NOT_FOUND, "NotFound"),
            },
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn list(&self, path: &str) -> Answer {
        let version = self.version.borrow().to_string();
        let items = self.below(path);
        success(&json!({ "metadata": { "resourceVersion": version }, "items": items }))
    }

    fn watch(&self, collection: String, query: &str) -> Answer {
        let from = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="));
        let start = (self.clone(), from.unwrap().parse::<u64>().unwrap());
        let events = stream::unfold(start, move |(fake, mut seen)| {
            let collection = collection.clone();
            async move {
                let mut versions = fake.version.subscribe();
                loop {
                    let next = fake.state(|state| {
                        let mut changes = state.changes.iter();
                        let next = changes
                            .find(|(version, path, _)| *version > seen && is_in(path, &collection));
                        next.cloned()
                    });
                    if let Some((version, _, event)) = next {
                        seen = version;
                        let line = Bytes::from(format!("{event}\n"));
                        return Some((Ok::<_, Infallible>(Frame::data(line)), (fake, seen)));
                    }
                    versions.changed().await.ok()?;
                }
            }
        });
        Response::new(StreamBody::new(events).boxed())
    }
}

fn is_in(path: &str, collection: &str) -> bool {
    path.rsplit_once('/')
        .is_some_and(|(parent, _)| parent == collection)
}

fn success(object: &Value) -> Answer {
    Response::new(Full::from(object.to_string()).boxed())
}

fn failure(code: StatusCode, reason: &str) -> Answer {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": reason, "message": format!("the fake says {reason}"),
    });
    let mut answer = success(&status);
    *answer.status_mut() = code;
    answer
}

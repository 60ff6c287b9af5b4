//! An API server for tests, which knows objects by their paths: get, list, watch, create, replace, merge
//! and server-side apply.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use bytes::Bytes;
use futures_util::{future, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tokio::sync::{Barrier, watch};

/// The server's end, shared by all its clients.
#[derive(Clone, Debug)]
pub(crate) struct Fake {
    state: Arc<Mutex<State>>,
    version: watch::Sender<u64>,
    /// The first replacements wait for each other here.
    race: Option<Arc<Barrier>>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// Changes with their versions and paths.
    changes: Vec<(u64, String, Value)>,
    calls: Vec<String>,
    /// The paths of what clients have written, and how often they came too late for that.
    writes: Vec<String>,
    conflicts: usize,
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
    /// Well, but to who lists or watches.
    Unwatchable,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl Fake {
    pub(crate) fn new() -> Self {
        Self {
            state: Arc::default(),
            version: watch::channel(1).0,
            race: None,
        }
    }

    /// Makes the first replacements of this many clients meet.
    pub(crate) fn with_race(mut self, clients: usize) -> Self {
        self.race = Some(Arc::new(Barrier::new(clients)));
        self
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
        self.state(|state| self.store(state, path, object));
    }

    fn store(&self, state: &mut State, path: &str, object: Option<Value>) {
        let version = *self.version.borrow() + 1;
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

    /// How often clients have replaced, merged or applied the object at a path.
    pub(crate) fn writes(&self, path: &str) -> usize {
        self.state(|state| state.writes.iter().filter(|of| *of == path).count())
    }

    /// How often a replacement was of an older version than the object's.
    pub(crate) fn conflicts(&self) -> usize {
        self.state(|state| state.conflicts)
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        self.state(|state| state.mood = mood);
        // Open watches look up, and end if they have to.
        self.version.send_modify(|_| {});
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
        let looks = parts.method == Method::GET && query.contains('=');
        match mood {
            Mood::Unwatchable if looks => return failure(StatusCode::FORBIDDEN, "Forbidden"),
            Mood::Well | Mood::Unwatchable => {}
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
            Method::PUT => {
                if let Some(race) = &self.race {
                    race.wait().await;
                }
                self.replace(&path, sent())
            }
            Method::PATCH => {
                let kind = parts.headers.get(CONTENT_TYPE);
                let applies = kind.is_some_and(|kind| kind == "application/apply-patch+yaml");
                self.change(
                    &path,
                    &sent(),
                    if applies { apply } else { json_patch::merge },
                )
            }
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn replace(&self, path: &str, new: Value) -> Answer {
        self.state(|state| {
            let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
            let Some(current) = state.objects.get(path) else {
                return failure(StatusCode::NOT_FOUND, "NotFound");
            };
            if version(current) != version(&new) {
                state.conflicts += 1;
                return failure(StatusCode::CONFLICT, "Conflict");
            }
            self.write(state, path, new)
        })
    }

    fn change(&self, path: &str, patch: &Value, with: fn(&mut Value, &Value)) -> Answer {
        self.state(|state| {
            let Some(mut object) = state.objects.get(path).cloned() else {
                return failure(StatusCode::NOT_FOUND, "NotFound");
            };
            with(&mut object, patch);
            self.write(state, path, object)
        })
    }

    fn write(&self, state: &mut State, path: &str, object: Value) -> Answer {
        state.writes.push(path.to_owned());
        self.store(state, path, Some(object));
        success(&state.objects[path])
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
                    if fake.state(|state| state.mood) != Mood::Well {
                        return None;
                    }
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

/// Server-side apply of what nobody else owns: entries of lists are merged by their names.
fn apply(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(fields), Value::Object(patch)) => {
            for (name, value) in patch {
                apply(fields.entry(name).or_insert(Value::Null), value);
            }
        }
        (Value::Array(entries), Value::Array(patch)) => {
            for applied in patch {
                let mut entries = entries.iter_mut();
                let entry = entries.find(|entry| entry["name"] == applied["name"]);
                apply(entry.unwrap(), applied);
            }
        }
        (object, patch) => *object = patch.clone(),
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

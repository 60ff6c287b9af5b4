//! AdmissionReview in and out; the only file that knows the wire form.
//!
//! kube has types for it, but theirs read the pod's metadata into a typed copy, which loses unknown
//! fields, and write the patch as an array of numbers, four times its size.

use json_patch::Patch;
use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    decide::{Decision, Reason, decide},
    inject::{Injected, Place, Refusal, inject},
    patch::additions,
    settings::Settings,
};

const API_VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// A review that cannot be answered as one.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no body.
    #[error("the body is empty; an {KIND} of {API_VERSION} is expected")]
    Empty,
    /// Not JSON of the expected form.
    #[error("the body is not an {KIND} of {API_VERSION}: {0}")]
    Form(serde_json::Error),
    /// Some other object.
    #[error(
        "the body is a {kind:?} of {api_version:?}; an {KIND:?} of {API_VERSION:?} is expected"
    )]
    Type {
        /// The body's `kind`.
        kind: String,
        /// The body's `apiVersion`.
        api_version: String,
    },
    /// The review asks nothing.
    #[error("the review has no request")]
    NoRequest,
    /// The request could not be told from others.
    #[error("the request has no uid")]
    NoUid,
    /// The request is about nothing.
    #[error("request {uid} has no object; pods are reviewed when they are created")]
    NoObject {
        /// The request's.
        uid: String,
    },
    /// The object is not a pod.
    #[error("request {uid} is about a {kind:?}; only pods are injected")]
    NotAPod {
        /// The request's.
        uid: String,
        /// The object's kind.
        kind: String,
    },
    /// The patch has no JSON form.
    #[error("write the patch")]
    Patch(#[source] serde_json::Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    request: Option<IncomingRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IncomingRequest {
    #[serde(default)]
    uid: String,
    kind: Option<IncomingKind>,
    #[serde(default)]
    namespace: Option<String>,
    object: Option<Value>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
struct IncomingKind {
    #[serde(default)]
    kind: String,
}

/// One pod to decide on.
#[derive(Debug)]
pub struct Request {
    uid: String,
    namespace: String,
    pod: Value,
    dry_run: bool,
}

impl Request {
    /// Reads the body of an admission call.
    ///
    /// # Errors
    /// The body is not a review of a pod.
    pub fn parse(body: &[u8]) -> Result<Self, ReviewError> {
        if body.is_empty() {
            return Err(ReviewError::Empty);
        }
        let review: Incoming = serde_json::from_slice(body).map_err(ReviewError::Form)?;
        if review.api_version != API_VERSION || review.kind != KIND {
            let (kind, api_version) = (review.kind, review.api_version);
            return Err(ReviewError::Type { kind, api_version });
        }
        let request = review.request.ok_or(ReviewError::NoRequest)?;
        let uid = request.uid;
        if uid.is_empty() {
            return Err(ReviewError::NoUid);
        }
        let kind = request.kind.map(|kind| kind.kind).unwrap_or_default();
        if kind != "Pod" {
            return Err(ReviewError::NotAPod { uid, kind });
        }
        let Some(mut pod @ Value::Object(_)) = request.object else {
            return Err(ReviewError::NoObject { uid });
        };
        // Nobody here reads it, and often it is half of the pod.
        if let Some(Value::Object(metadata)) = pod.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        let of_pod = crate::pod::metadata(&pod, "namespace").map(ToOwned::to_owned);
        Ok(Self {
            namespace: request.namespace.or(of_pod).unwrap_or_default(),
            uid,
            pod,
            dry_run: request.dry_run.unwrap_or_default(),
        })
    }

    /// The pod's namespace, and its name or the prefix of the name that it will get.
    pub fn pod_name(&self) -> (&str, &str) {
        let name = crate::pod::metadata(&self.pod, "name")
            .or_else(|| crate::pod::metadata(&self.pod, "generateName"));
        (&self.namespace, name.unwrap_or_default())
    }

    /// The namespace in which the pod is created.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The pod as it was sent.
    pub(crate) fn pod(&self) -> &Value {
        &self.pod
    }

    /// The node that the pod is for, if it says so.
    pub(crate) fn node(&self) -> Option<&str> {
        crate::pod::at(&self.pod, &["spec", "nodeName"])?.as_str()
    }

    /// Whether the pod is not to be made: then the answer must be all that happens.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Decides and injects.
    pub fn answer(&self, settings: &Settings, place: &Place<'_>) -> Answer {
        let (decision, warning) = decide(&self.pod, place.namespace, settings);
        let mut warnings = Vec::from_iter(warning);
        let verdict = match decision {
            Decision::Skip(reason) => Verdict::Skipped(reason),
            Decision::Inject => match inject(&self.pod, place, settings) {
                Ok(Injected {
                    pod,
                    warnings: more,
                }) => {
                    warnings.extend(more);
                    Verdict::Injected(additions(&self.pod, &pod))
                }
                Err(refusal) => Verdict::Refused(refusal),
            },
        };
        Answer { verdict, warnings }
    }

    /// The body of the response.
    ///
    /// # Errors
    /// The patch has no JSON form.
    pub fn respond(&self, answer: &Answer) -> Result<Vec<u8>, ReviewError> {
        let mut response = OutgoingResponse {
            uid: &self.uid,
            allowed: true,
            status: None,
            patch: None,
            patch_type: None,
            warnings: &answer.warnings,
        };
        match &answer.verdict {
            Verdict::Skipped(_) => {}
            Verdict::Injected(Patch(operations)) if operations.is_empty() => {}
            Verdict::Injected(patch) => {
                let patch = serde_json::to_vec(patch).map_err(ReviewError::Patch)?;
                response.patch = Some(ByteString(patch));
                response.patch_type = Some("JSONPatch");
            }
            Verdict::Refused(refusal) => {
                response.allowed = false;
                response.status = Some(OutgoingStatus {
                    code: 400,
                    reason: "BadRequest",
                    message: refusal.to_string(),
                });
            }
        }
        let review = Outgoing {
            api_version: API_VERSION,
            kind: KIND,
            response,
        };
        serde_json::to_vec(&review).map_err(ReviewError::Patch)
    }
}

/// What is answered to one request.
#[derive(Debug)]
pub struct Answer {
    /// What becomes of the pod.
    pub verdict: Verdict,
    /// Shown to whoever creates the pod.
    pub warnings: Vec<String>,
}

/// What becomes of a pod.
#[derive(Debug)]
pub enum Verdict {
    /// It is created as it is.
    Skipped(Reason),
    /// It is created with these additions.
    Injected(Patch),
    /// It is not created.
    Refused(Refusal),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing<'a> {
    api_version: &'a str,
    kind: &'a str,
    response: OutgoingResponse<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutgoingResponse<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<OutgoingStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

#[derive(Serialize)]
struct OutgoingStatus {
    code: u16,
    reason: &'static str,
    message: String,
}

#[cfg(test)]
mod tests;

//! What is told of a review, and where.

use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;

use crate::{
    pod,
    review::{Answer, Request, Verdict},
};

/// The API server takes no longer ones.
const LONGEST_NOTE: usize = 1024;

/// One thing to tell.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Message {
    /// The object where it is told.
    pub(super) regarding: ObjectReference,
    pub(super) reason: Reason,
    pub(super) note: String,
}

/// Why an Event is there, in one word.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Reason {
    Injected,
    InjectionSkipped,
    InjectionRefused,
    InjectionWarning,
    MeshConfigRejected,
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "Injected",
            Self::InjectionSkipped => "InjectionSkipped",
            Self::InjectionRefused => "InjectionRefused",
            Self::InjectionWarning => "InjectionWarning",
            Self::MeshConfigRejected => "MeshConfigRejected",
        }
    }

    pub(super) fn is_warning(self) -> bool {
        match self {
            Self::Injected | Self::InjectionSkipped => false,
            Self::InjectionRefused | Self::InjectionWarning | Self::MeshConfigRejected => true,
        }
    }

    /// What was being done.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::MeshConfigRejected => "LoadMeshConfig",
            _ => "InjectSidecar",
        }
    }
}

impl Message {
    /// A note that is too long is cut.
    pub(super) fn new(regarding: ObjectReference, reason: Reason, mut note: String) -> Self {
        if note.len() > LONGEST_NOTE {
            note.truncate(note.floor_char_boundary(LONGEST_NOTE - '…'.len_utf8()));
            note.push('…');
        }
        Self {
            regarding,
            reason,
            note,
        }
    }
}

/// What an answer to a review is worth telling.
pub(super) fn of(review: &Request, answer: &Answer, revision: &str) -> Vec<Message> {
    let owner = pod::controller(review.pod());
    let subject = match owner {
        Some(_) => String::new(),
        // The pod does not exist yet, so its namespace has to do.
        None => format!("pod {}: ", review.pod_name().1),
    };
    let regarding = || match owner {
        Some(owner) => reference(owner, review.namespace()),
        None => namespace(review.namespace()),
    };
    let (reason, note) = match &answer.verdict {
        Verdict::Injected(_) => {
            let note = format!("the sidecar of revision {revision} was injected");
            (Reason::Injected, note)
        }
        Verdict::Skipped(why) => {
            let note = format!("no sidecar was injected: {why}");
            (Reason::InjectionSkipped, note)
        }
        Verdict::Refused(refusal) => {
            // In one line, which is what tables of Events have room for.
            let note = format!("the pod was refused: {}", refusal.lines().join("; "));
            (Reason::InjectionRefused, note)
        }
    };
    let mut messages = vec![Message::new(
        regarding(),
        reason,
        format!("{subject}{note}"),
    )];
    if !answer.warnings.is_empty() {
        let note = format!("{subject}{}", answer.warnings.join("; "));
        messages.push(Message::new(regarding(), Reason::InjectionWarning, note));
    }
    messages
}

fn reference(owner: &Value, namespace: &str) -> ObjectReference {
    let text = |field: &str| Some(owner.get(field)?.as_str()?.to_owned());
    ObjectReference {
        api_version: text("apiVersion"),
        kind: text("kind"),
        name: text("name"),
        namespace: Some(namespace.to_owned()),
        uid: text("uid"),
        ..ObjectReference::default()
    }
}

/// As an object in itself, so that the Event is found beside those of its pods.
fn namespace(name: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Namespace".to_owned()),
        name: Some(name.to_owned()),
        namespace: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests;

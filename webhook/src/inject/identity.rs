//! Who the proxy runs as, decided once: its container, the redirect's exceptions and the check that
//! no application runs as the proxy all ask here.

use std::collections::BTreeMap;

use fairlead_api::{annotations::PodSettings, names::PROXY_ID, values::InterceptionMode};
use serde_json::Value;

use super::{CONTAINERS, Fault, INIT_CONTAINERS, status::Status};
use crate::{pod, settings::Platform};

/// OpenShift's: the users of a namespace, as `START/LENGTH` or `FIRST-LAST`.
const UID_RANGE: &str = "openshift.io/sa.scc.uid-range";
/// OpenShift's: the groups of a namespace, blocks as above in a comma list.
const SUPPLEMENTAL_GROUPS: &str = "openshift.io/sa.scc.supplemental-groups";

/// User and group of the proxy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Identity {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// What is to be known of the proxy before it is known as whom it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Needs {
    /// Why it takes root, if it does: Kubernetes gives capabilities to no other user.
    root: Option<&'static str>,
    /// Whether the redirect has to know it.
    pub(super) is_redirected: bool,
}

impl Needs {
    pub(super) fn of(mode: InterceptionMode, wishes: &PodSettings) -> Self {
        let root = if mode == InterceptionMode::Tproxy {
            Some("a transparent socket (interceptionMode TPROXY) takes the capability NET_ADMIN")
        } else if wishes.cap_net_bind_service == Some(true) {
            Some("capNetBindService takes the capability NET_BIND_SERVICE")
        } else {
            None
        };
        Self {
            root,
            is_redirected: mode != InterceptionMode::None,
        }
    }
}

impl Identity {
    /// Istio's, which nobody else has.
    pub(super) const DEFAULT: Self = Self {
        uid: PROXY_ID,
        gid: PROXY_ID,
    };

    /// The last user and group of an OpenShift namespace: applications get the first.
    fn of_namespace(annotations: &BTreeMap<String, String>) -> Result<Self, Fault> {
        let uids = annotations.get(UID_RANGE).map(String::as_str);
        let groups = annotations.get(SUPPLEMENTAL_GROUPS).map(String::as_str);
        // OpenShift writes both when it makes a namespace; a namespace of which the annotations are
        // not known has none.
        let Some(uids) = uids else {
            return Ok(Self::DEFAULT);
        };
        let groups = groups.filter(|text| !text.is_empty());
        let last = |key, text: &str| {
            let block = text.split(',').next().unwrap_or_default();
            last_of(block).ok_or_else(|| Fault::Block {
                key,
                value: text.to_owned(),
            })
        };
        Ok(Self {
            uid: last(UID_RANGE, uids)?,
            gid: match groups {
                Some(groups) => last(SUPPLEMENTAL_GROUPS, groups)?,
                None => last(UID_RANGE, uids)?,
            },
        })
    }

    /// With what overlays and the pod's author say of the proxy's container, the strongest last.
    pub(super) fn with_wishes<'a>(
        mut self,
        contexts: impl Iterator<Item = &'a Value>,
        needs: Needs,
        faults: &mut Vec<Fault>,
        warnings: &mut Vec<String>,
    ) -> Self {
        let (mut user, mut group) = (None, None);
        for container in contexts {
            user = id(container, "runAsUser").or(user);
            group = id(container, "runAsGroup").or(group);
        }
        if let Some(reason) = needs.root {
            if let Some(user) = user.filter(|user| *user != 0) {
                warnings.push(format!(
                    "container istio-proxy: runAsUser {user} is not followed: the proxy runs as \
                     root, because {reason}, which only root gets"
                ));
            }
            user = Some(0);
        }
        self.uid = user.unwrap_or(self.uid);
        self.gid = group.unwrap_or(self.gid);
        if self.gid == 0 && needs.is_redirected {
            faults.push(Fault::RootGroup);
        }
        self
    }

    /// `-u`: the user whose packets pass the redirect. Root is not told from an application's root by
    /// its user, but by its group.
    pub(super) fn redirected_user(self) -> u32 {
        match self.uid {
            0 => PROXY_ID,
            uid => uid,
        }
    }

    /// `-g`: the group whose packets pass the redirect.
    pub(super) fn redirected_group(self) -> u32 {
        self.gid
    }

    /// The applications that would run as the proxy, whose packets nobody captures.
    pub(super) fn check<'a>(
        self,
        pod: &Value,
        applications: impl Iterator<Item = &'a Value>,
        faults: &mut Vec<Fault>,
    ) {
        let of_pod = pod.get("spec").unwrap_or(&Value::Null);
        for container in applications {
            for (field, taken) in [
                ("runAsUser", self.redirected_user()),
                ("runAsGroup", self.redirected_group()),
            ] {
                if id(container, field).or_else(|| id(of_pod, field)) == Some(taken) {
                    faults.push(Fault::ProxyIdentity {
                        container: pod::name(container).to_owned(),
                        field,
                        id: taken,
                    });
                }
            }
        }
    }
}

/// As whom the proxy runs where nobody asks for more.
pub(super) fn of_platform(
    platform: Platform,
    namespace: &BTreeMap<String, String>,
) -> Result<Identity, Fault> {
    match platform {
        Platform::Kubernetes => Ok(Identity::DEFAULT),
        Platform::OpenShift => Identity::of_namespace(namespace),
    }
}

/// A user's id on OpenShift, which gives the first of the namespace to every container that asks for
/// none, also to the author's own istio-proxy: an id that an application has, too, is not a wish.
pub(super) fn clear_given(own: &mut Value, pod: &Value, added: &Status) {
    let given = id(own, "runAsUser");
    let all = [INIT_CONTAINERS, CONTAINERS];
    let mut others = all.iter().flat_map(|list| pod::list(pod, list));
    let is_given = given.is_some()
        && others.any(|c| !added.has_container(pod::name(c)) && id(c, "runAsUser") == given);
    if is_given
        && let Some(context) = own
            .get_mut("securityContext")
            .and_then(Value::as_object_mut)
    {
        context.remove("runAsUser");
    }
}

/// An id in the security context of a container, or of a pod's spec.
fn id(of: &Value, field: &str) -> Option<u32> {
    let id = of.get("securityContext")?.get(field)?.as_u64()?;
    u32::try_from(id).ok()
}

/// `1000650000/10000` or `1000650000-1000659999`; root's is nobody's.
fn last_of(block: &str) -> Option<u32> {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let last = if let Some((start, length)) = block.split_once('/') {
        number(start)?.checked_add(number(length)?.checked_sub(1)?)
    } else {
        let (first, last) = block.split_once('-')?;
        number(last).filter(|last| number(first).is_some_and(|first| first <= *last))
    };
    last.filter(|last| *last > 0)
}

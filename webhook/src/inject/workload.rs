//! Who owns the pod: the name that metrics and logs show for it.

use serde_json::Value;

use crate::pod;

/// The object that a pod belongs to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Workload {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) api_version: String,
    pub(super) namespace: String,
}

impl Workload {
    /// Looks through the pod's controller to the object that users know, as Istio does: the
    /// Deployment behind a ReplicaSet, the CronJob behind a Job.
    pub(super) fn of(pod: &Value, namespace: &str) -> Self {
        let new = |name: &str, kind: &str, api_version: &str| Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            api_version: api_version.to_owned(),
            namespace: namespace.to_owned(),
        };
        let generate_name = pod::metadata(pod, "generateName");
        let (Some(_), Some(owner)) = (generate_name, pod::controller(pod)) else {
            // The generated name is not known yet when the pod is created, but when it is injected
            // once more: the prefix is the same both times.
            let name = match generate_name {
                Some(prefix) => prefix.trim_end_matches('-'),
                None => pod::metadata(pod, "name").unwrap_or(""),
            };
            return new(name, "Pod", "v1");
        };
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or("");
        let (name, kind, api_version) = (text("name"), text("kind"), text("apiVersion"));
        let labels = pod::labels(pod);
        let without_hash = |label: &str| {
            let hash = labels.get(label)?;
            name.strip_suffix(hash.as_str())?.strip_suffix('-')
        };
        match kind {
            "ReplicaSet" => {
                if let Some(deployment) = without_hash("pod-template-hash") {
                    return new(deployment, "Deployment", api_version);
                }
                if let Some(rollout) = without_hash("rollouts-pod-template-hash") {
                    return new(rollout, "Rollout", "argoproj.io/v1alpha1");
                }
            }
            "ReplicationController" => {
                if let Some(config) = labels.get("deploymentconfig") {
                    return new(config, "DeploymentConfig", "apps.openshift.io/v1");
                }
            }
            "Job" => {
                if let Some(cron_job) = scheduled_by(name) {
                    return new(cron_job, "CronJob", "batch/v1");
                }
            }
            _ => {}
        }
        new(name, kind, api_version)
    }

    /// The object's path in the Kubernetes API, as Istio writes it into the node metadata.
    pub(super) fn owner(&self) -> String {
        let Self {
            name,
            kind,
            api_version,
            namespace,
        } = self;
        let plural = kind.to_lowercase();
        format!("kubernetes://apis/{api_version}/namespaces/{namespace}/{plural}s/{name}")
    }
}

/// The CronJob of a Job that was named after its scheduled time.
fn scheduled_by(job: &str) -> Option<&str> {
    let (cron_job, time) = job.rsplit_once('-')?;
    let scheduled = (8..=10).contains(&time.len()) && time.bytes().all(|b| b.is_ascii_digit());
    (scheduled && !cron_job.is_empty()).then_some(cron_job)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(owner: (&str, &str, &str), labels: &Value, expected: (&str, &str, &str)) {
        let pod = json!({ "metadata": {
            "generateName": "x-",
            "labels": labels,
            "ownerReferences": [
                { "apiVersion": "v1", "kind": "Node", "name": "n" },
                { "apiVersion": owner.0, "kind": owner.1, "name": owner.2, "controller": true },
            ],
        }});
        let workload = Workload::of(&pod, "shop");
        let found = (
            workload.api_version.as_str(),
            workload.kind.as_str(),
            workload.name.as_str(),
        );
        assert_eq!(found, expected);
    }

    #[test]
    fn a_replica_set_stands_for_its_deployment_or_rollout() {
        let owner = ("apps/v1", "ReplicaSet", "cart-5d4f");
        let hash = json!({ "pod-template-hash": "5d4f" });
        check(owner, &hash, ("apps/v1", "Deployment", "cart"));
        let hash = json!({ "rollouts-pod-template-hash": "5d4f" });
        check(owner, &hash, ("argoproj.io/v1alpha1", "Rollout", "cart"));
        check(owner, &json!({}), owner);
        check(owner, &json!({ "pod-template-hash": "other" }), owner);
    }

    #[test]
    fn a_job_stands_for_its_cron_job() {
        for (job, expected) in [
            ("nightly-29345678", ("batch/v1", "CronJob", "nightly")),
            ("nightly-1234567", ("batch/v1", "Job", "nightly-1234567")),
            ("once", ("batch/v1", "Job", "once")),
        ] {
            check(("batch/v1", "Job", job), &json!({}), expected);
        }
    }

    #[test]
    fn other_owners_stand_for_themselves() {
        let owner = ("apps/v1", "StatefulSet", "db");
        check(owner, &json!({}), owner);
        let owner = ("v1", "ReplicationController", "rc");
        check(owner, &json!({}), owner);
        let labels = json!({ "deploymentconfig": "web" });
        check(
            owner,
            &labels,
            ("apps.openshift.io/v1", "DeploymentConfig", "web"),
        );
    }

    #[test]
    fn a_pod_without_controller_is_its_own_workload() {
        for (metadata, name) in [
            (json!({ "name": "one" }), "one"),
            (json!({ "generateName": "many-" }), "many"),
            (
                json!({ "generateName": "many-", "name": "many-x7" }),
                "many",
            ),
        ] {
            let workload = Workload::of(&json!({ "metadata": metadata }), "shop");
            assert_eq!(
                (workload.kind.as_str(), workload.name.as_str()),
                ("Pod", name)
            );
        }
    }

    #[test]
    fn the_owner_is_a_path_of_the_api() {
        let pod = json!({ "metadata": { "name": "one" } });
        let owner = Workload::of(&pod, "shop").owner();
        assert_eq!(owner, "kubernetes://apis/v1/namespaces/shop/pods/one");
    }
}

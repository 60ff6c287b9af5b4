//! One pod, or a workload's template of one → the same with the sidecar: pure.

use std::collections::BTreeMap;

use fairlead_api::{annotations::Faults, mesh_config::MeshConfig};
use fairlead_webhook::{
    decide::{Decision, decide},
    inject::{self, Fault, Injected, Place, Refusal},
    settings::Settings,
};
use serde_json::{Map, Value, json};

use crate::{manifest::Subject, rewrite::Verdict, uninject};

/// What all pods of a manifest are injected with.
pub(crate) struct Injector {
    pub(super) settings: Settings,
    pub(super) mesh: MeshConfig,
    pub(super) native: bool,
    /// Of what names none.
    pub(super) namespace: String,
    /// Annotations of the manifest's own Namespaces, by name.
    pub(super) namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

impl Injector {
    /// Decides and injects, as the webhook does when the pod is created.
    pub(super) fn inject(&self, subject: &Subject, pod: &Value) -> Verdict {
        let faults = unquoted(pod);
        if !faults.is_empty() {
            return Verdict::Refused { faults };
        }
        let namespace = subject.namespace.as_deref().unwrap_or(&self.namespace);
        let (decision, warning) = decide(pod, namespace, &self.settings);
        let mut notes: Vec<String> = warning.as_deref().map(warned).into_iter().collect();
        if let Decision::Skip(reason) = decision {
            notes.push(format!("skipped: {reason}"));
            return Verdict::Left { notes };
        }
        match self.injected(subject, namespace, pod) {
            Ok(Injected {
                pod: injected,
                warnings,
            }) => {
                notes.extend(warnings.iter().map(|text| warned(text)));
                if injected == *pod {
                    notes.push("injected already".to_owned());
                    return Verdict::Left { notes };
                }
                notes.push("injected".to_owned());
                Verdict::Changed {
                    pod: injected,
                    notes,
                }
            }
            Err(faults) => Verdict::Refused { faults },
        }
    }

    fn injected(
        &self,
        subject: &Subject,
        namespace: &str,
        pod: &Value,
    ) -> Result<Injected, Vec<String>> {
        let before = match uninject::restore(pod) {
            Ok(restored) => restored.unwrap_or_else(|| pod.clone()),
            Err(error) => return Err(vec![error.to_string()]),
        };
        let owned = Owned::new(subject, uninject::without_record(pod));
        let mut place = Place::named(namespace, self.native);
        place.mesh = &self.mesh;
        if let Some(annotations) = self.namespaces.get(namespace) {
            place.annotations = annotations;
        }
        let injected = inject::inject(&owned.pod, &place, &self.settings);
        let mut injected = injected.map_err(|refusal| fault_lines(&refusal))?;
        injected.pod = owned.disown(injected.pod);
        uninject::record(&mut injected.pod, &before);
        Ok(injected)
    }
}

/// Labels and annotations that are no text, because somebody forgot the quotes. The API server
/// refuses them; here they would be overlooked, and decide nothing.
fn unquoted(pod: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (what, path) in [
        ("label", "/metadata/labels"),
        ("annotation", "/metadata/annotations"),
    ] {
        let texts = pod.pointer(path).and_then(Value::as_object);
        for (key, value) in texts.into_iter().flatten() {
            if !(value.is_string() || value.is_null()) {
                faults.push(format!(
                    "{what} {key}: {value} is not text; put it in quotes"
                ));
            }
        }
    }
    faults
}

/// What speaks against an injection; each annotation's fault apart.
pub(crate) fn fault_lines(refusal: &Refusal) -> Vec<String> {
    refusal.0.iter().flat_map(lines).collect()
}

/// A template as a pod that its workload makes, before the injection.
pub(crate) fn as_created(subject: &Subject, template: &Value) -> Value {
    Owned::new(subject, uninject::without_record(template)).pod
}

/// A fault's words; each annotation's apart.
fn lines(fault: &Fault) -> Vec<String> {
    match fault {
        Fault::Annotations(Faults(faults)) => faults
            .iter()
            .map(|fault| Faults(vec![fault.clone()]).to_string())
            .collect(),
        other => vec![other.to_string()],
    }
}

fn warned(text: &str) -> String {
    format!("warning: {text}")
}

/// A template as the pods that it will make, whose controller is the workload: the pods' own names
/// are not known yet, but what is told of them is the workload's name.
struct Owned {
    pod: Value,
    /// What the template itself says in the fields that are lent to it.
    own: Vec<(&'static str, Option<Value>)>,
}

impl Owned {
    fn new(subject: &Subject, mut pod: Value) -> Self {
        let mut own = Vec::new();
        if subject.is_pod() {
            return Self { pod, own };
        }
        let Subject {
            kind,
            api_version,
            name,
            ..
        } = subject;
        let lent = [
            ("generateName", json!(format!("{name}-"))),
            (
                "ownerReferences",
                json!([{ "apiVersion": api_version, "kind": kind, "name": name, "controller": true }]),
            ),
        ];
        if let Some(metadata) = metadata(&mut pod) {
            for (field, value) in lent {
                own.push((field, metadata.insert(field.to_owned(), value)));
            }
        }
        Self { pod, own }
    }

    /// The injected pod, as a template once more.
    fn disown(self, mut injected: Value) -> Value {
        if let Some(metadata) = metadata(&mut injected) {
            for (field, value) in self.own {
                match value {
                    Some(value) => metadata.insert(field.to_owned(), value),
                    None => metadata.remove(field),
                };
            }
        }
        injected
    }
}

/// A pod's metadata, made if it is absent; none if it is something odd, which the injection refuses.
fn metadata(pod: &mut Value) -> Option<&mut Map<String, Value>> {
    let pod = pod.as_object_mut()?;
    let metadata = pod.entry("metadata").or_insert(Value::Null);
    if metadata.is_null() {
        *metadata = json!({});
    }
    metadata.as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(kind: &str) -> Subject {
        Subject {
            kind: kind.to_owned(),
            api_version: if kind == "Pod" { "v1" } else { "apps/v1" }.to_owned(),
            name: "cart".to_owned(),
            namespace: None,
        }
    }

    fn injector() -> Injector {
        Injector {
            settings: Settings::parse("image: a").unwrap(),
            mesh: MeshConfig::default(),
            native: true,
            namespace: "shop".to_owned(),
            namespaces: BTreeMap::new(),
        }
    }

    #[track_caller]
    fn injected(subject: &Subject, pod: &Value) -> Value {
        match injector().inject(subject, pod) {
            Verdict::Changed { pod, .. } => pod,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn owner(pod: &Value) -> &str {
        let proxy = &pod["spec"]["initContainers"][1];
        let environment = proxy["env"].as_array().unwrap();
        let owner = environment
            .iter()
            .find(|variable| variable["name"] == "ISTIO_META_OWNER");
        owner.unwrap()["value"].as_str().unwrap()
    }

    #[test]
    fn a_template_is_told_of_as_its_workload() {
        let template = json!({ "spec": { "containers": [{ "name": "app" }] } });
        let pod = injected(&subject("Deployment"), &template);
        assert_eq!(
            owner(&pod),
            "kubernetes://apis/apps/v1/namespaces/shop/deployments/cart"
        );
        let label = &pod["metadata"]["labels"]["service.istio.io/canonical-name"];
        assert_eq!(label, "cart");
        let metadata = pod["metadata"].as_object().unwrap();
        assert!(!metadata.contains_key("ownerReferences"));
        assert!(!metadata.contains_key("generateName"));
    }

    #[test]
    fn the_objects_own_namespace_is_stronger() {
        let template = json!({ "spec": { "containers": [{ "name": "app" }] } });
        let mut other = subject("Deployment");
        other.namespace = Some("billing".to_owned());
        assert!(owner(&injected(&other, &template)).contains("/namespaces/billing/"));
        other.namespace = Some("kube-system".to_owned());
        let verdict = injector().inject(&other, &template);
        assert!(matches!(verdict, Verdict::Left { .. }), "{verdict:?}");
    }

    /// What a controller makes of a template.
    fn created(template: &Value, owner: (&str, &str, &str), hash: Option<&str>) -> Value {
        let mut pod = template.clone();
        let (api_version, kind, name) = owner;
        let metadata = metadata(&mut pod).unwrap();
        metadata.insert("generateName".to_owned(), json!(format!("{name}-")));
        let owner =
            json!({ "apiVersion": api_version, "kind": kind, "name": name, "controller": true });
        metadata.insert("ownerReferences".to_owned(), json!([owner]));
        if let Some(hash) = hash {
            metadata["labels"]["pod-template-hash"] = json!(hash);
        }
        pod
    }

    #[test]
    fn the_webhook_finds_nothing_to_do_in_the_pods_of_an_injected_template() {
        let template = json!({
            "metadata": { "labels": { "app": "x" } },
            "spec": { "containers": [{
                "name": "app",
                "ports": [{ "name": "http", "containerPort": 8080 }],
                "readinessProbe": { "httpGet": { "port": "http" } },
            }]},
        });
        for (kind, version, owner, hash) in [
            (
                "Deployment",
                "apps/v1",
                ("apps/v1", "ReplicaSet", "cart-5d4f"),
                Some("5d4f"),
            ),
            (
                "StatefulSet",
                "apps/v1",
                ("apps/v1", "StatefulSet", "cart"),
                None,
            ),
            (
                "DaemonSet",
                "apps/v1",
                ("apps/v1", "DaemonSet", "cart"),
                None,
            ),
            ("Job", "batch/v1", ("batch/v1", "Job", "cart"), None),
            (
                "CronJob",
                "batch/v1",
                ("batch/v1", "Job", "cart-29345678"),
                None,
            ),
            (
                "ReplicationController",
                "v1",
                ("v1", "ReplicationController", "cart"),
                None,
            ),
        ] {
            let mut subject = subject(kind);
            version.clone_into(&mut subject.api_version);
            let pod = created(&injected(&subject, &template), owner, hash);
            let injector = injector();
            let again = inject::inject(
                &pod,
                &Place::named("shop", injector.native),
                &injector.settings,
            );
            assert_eq!(again.unwrap().pod, pod, "{kind}");
        }
    }

    #[test]
    fn fields_that_a_template_should_not_have_come_through() {
        let template = json!({
            "metadata": { "generateName": "x-", "ownerReferences": [] },
            "spec": { "containers": [{ "name": "app" }] },
        });
        let pod = injected(&subject("Deployment"), &template);
        assert_eq!(pod["metadata"]["generateName"], "x-");
        assert_eq!(pod["metadata"]["ownerReferences"], json!([]));
    }

    #[test]
    fn values_without_quotes_are_told() {
        let template = json!({
            "metadata": {
                "labels": { "sidecar.istio.io/inject": false, "a": null },
                "annotations": { "b": 1, "c": "1" },
            },
            "spec": { "containers": [{ "name": "app" }] },
        });
        let verdict = injector().inject(&subject("Deployment"), &template);
        let Verdict::Refused { faults } = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(
            faults,
            [
                "label sidecar.istio.io/inject: false is not text; put it in quotes",
                "annotation b: 1 is not text; put it in quotes",
            ]
        );
    }

    #[test]
    fn every_fault_is_told() {
        let template = json!({
            "metadata": { "annotations": {
                "sidecar.istio.io/proxyCPU": "lots",
                "sidecar.istio.io/logLevel": "loud",
            }},
            "spec": { "containers": [], "volumes": [{ "name": "istio-podinfo" }] },
        });
        let verdict = injector().inject(&subject("Deployment"), &template);
        let Verdict::Refused { faults } = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(faults.len(), 3);
        let all = faults.join("\n");
        for part in ["proxyCPU", "logLevel", "istio-podinfo"] {
            assert!(all.contains(part), "{part} in {all}");
        }
    }
}

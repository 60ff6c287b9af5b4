//! Against an API server that is a list of answers.

use std::convert::Infallible;

use clap::Parser;
use hyper::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

/// Objects by path, and by path and selector.
type Objects = Vec<(String, Value)>;

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const CONFIG_MAP: &str = "/api/v1/namespaces/mesh/configmaps/fairlead-webhook";
const MESH: &str = "/api/v1/namespaces/mesh/configmaps/istio";
const ENDPOINTS: &str = "/apis/discovery.k8s.io/v1/namespaces/mesh/endpointslices";
const PODS: &str = "/api/v1/namespaces/shop/pods";
const APPS: &str = "/apis/apps/v1/namespaces/shop";

fn status(code: u16, message: &str) -> Value {
    let reason = if code == 404 { "NotFound" } else { "Forbidden" };
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "reason": reason, "message": message,
    })
}

async fn asked(arguments: &str, objects: Objects) -> anyhow::Result<Answer> {
    let answer = service_fn(move |request: Request<Body>| {
        let uri = request.uri();
        let whole = uri.to_string();
        let mut known = objects.iter();
        let found = known.find(|(known, _)| {
            known == uri.path() || known.contains('?') && whole.starts_with(known)
        });
        let missing = status(404, &format!("{} not found", uri.path()));
        let body = found.map_or(&missing, |(_, object)| object);
        let code = match body["kind"].as_str() {
            Some("Status") => u16::try_from(body["code"].as_u64().unwrap()).unwrap(),
            _ => 200,
        };
        let body = Body::from(body.to_string().into_bytes());
        let response = Response::builder().status(code).body(body).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let client = Client::new(answer, "shop");
    let words = std::iter::once("fairlead").chain(arguments.split_whitespace());
    let options = Command::parse_from(words).options;
    let target = Target::parse(&options.target)?;
    from_cluster(&client, &options, target).await
}

fn list(items: &[Value]) -> Value {
    json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items })
}

fn template() -> Value {
    json!({
        "metadata": { "labels": { "app": "cart" } },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    })
}

/// A pod of the ReplicaSet `cart-5d4f`.
fn pod(name: &str, sidecar: bool) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop",
            "labels": { "app": "cart", "pod-template-hash": "5d4f" },
            "annotations": {},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d4f", "uid": "1",
                "controller": true,
            }],
        },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
        "status": { "phase": "Running" },
    });
    if sidecar {
        let status = r#"{"initContainers":["istio-proxy"],"revision":"default"}"#;
        pod["metadata"]["annotations"]["sidecar.istio.io/status"] = json!(status);
        pod["spec"]["initContainers"] = json!([{ "name": "istio-proxy" }]);
    }
    pod
}

/// The namespace `shop` in a cluster with the default revision.
fn cluster(labels: &Value) -> Objects {
    let configuration = json!({
        "metadata": {
            "name": "fairlead-sidecar-injector", "uid": "1",
            "labels": { "istio.io/rev": "default", "app.kubernetes.io/part-of": "fairlead" },
        },
        "webhooks": [{
            "name": "namespace.sidecar-injector.istio.io",
            "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {
                "service": { "namespace": "mesh", "name": "fairlead-webhook" }, "caBundle": "Q0E=",
            },
            "rules": [{
                "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["pods"],
            }],
            "namespaceSelector": { "matchLabels": { "istio-injection": "enabled" } },
        }],
    });
    let version = json!({
        "major": "1", "minor": "35", "gitVersion": "v1.35.0", "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
    });
    let endpoints = json!({
        "metadata": {}, "addressType": "IPv4", "ports": [],
        "endpoints": [{ "addresses": ["10.0.0.1"] }],
    });
    let map = json!({ "metadata": {}, "data": { "config.yaml": "image: a" } });
    let namespace = json!({ "metadata": { "name": "shop", "labels": labels } });
    vec![
        (ADMISSION.to_owned(), list(&[configuration])),
        ("/version".to_owned(), version),
        (CONFIG_MAP.to_owned(), map),
        (ENDPOINTS.to_owned(), list(&[endpoints])),
        ("/api/v1/namespaces/shop".to_owned(), namespace),
    ]
}

fn enabled() -> Objects {
    cluster(&json!({ "istio-injection": "enabled" }))
}

fn with(mut objects: Objects, path: &str, object: Value) -> Objects {
    // What comes first is found.
    objects.insert(0, (path.to_owned(), object));
    objects
}

#[track_caller]
fn text(answer: &Answer) -> String {
    let options = Command::parse_from(["fairlead", "x"]).options;
    printed(std::slice::from_ref(answer), &options)
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "cart", "namespace": "shop" },
        "spec": { "selector": { "matchLabels": { "app": "cart" } }, "template": template() },
    })
}

#[tokio::test]
async fn a_deployment_is_told_with_its_pods() {
    let mut ended = pod("cart-5d4f-e", false);
    ended["status"]["phase"] = json!("Succeeded");
    let pods = [
        pod("cart-5d4f-a", true),
        pod("cart-5d4f-b", false),
        pod("cart-5d4f-c", false),
        ended,
    ];
    let objects = with(enabled(), &format!("{APPS}/deployments/cart"), deployment());
    let objects = with(
        objects,
        &format!("{PODS}?&labelSelector=app%3Dcart"),
        list(&pods),
    );
    let answer = asked("deploy/cart", objects).await.unwrap();
    let text = text(&answer);
    let expected = "\
Deployment/cart in namespace shop: injected by Fairlead, revision default
  now: cart-5d4f-a has a sidecar of revision default
  now: cart-5d4f-b, cart-5d4f-c have no sidecar, as was decided at creation
  to renew: kubectl --namespace shop rollout restart deployment/cart
";
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test]
async fn a_pod_is_created_anew_as_its_controller_says() {
    // Somebody has labelled the pod since.
    let mut labelled = pod("cart-5d4f-a", true);
    labelled["metadata"]["labels"]["sidecar.istio.io/inject"] = json!("false");
    let mut set = deployment();
    set["kind"] = json!("ReplicaSet");
    set["metadata"]["name"] = json!("cart-5d4f");
    set["spec"]["template"]["metadata"]["labels"]["pod-template-hash"] = json!("5d4f");
    let alone = with(enabled(), &format!("{PODS}/cart-5d4f-a"), labelled);
    let owned = with(alone.clone(), &format!("{APPS}/replicasets/cart-5d4f"), set);
    let answer = asked("cart-5d4f-a", owned).await.unwrap();
    let told = text(&answer);
    let expected = "Pod/cart-5d4f-a in namespace shop: injected by Fairlead, revision default\n  \
                    now: cart-5d4f-a has a sidecar of revision default\n  fairlead";
    assert!(told.starts_with(expected), "{told}");
    // Where the controller is not to be read, the pod without its sidecar speaks for itself.
    let answer = asked("cart-5d4f-a", alone).await.unwrap();
    let told = text(&answer);
    assert!(
        told.contains("the pod's label sidecar.istio.io/inject is false"),
        "{told}"
    );
}

#[tokio::test]
async fn pods_are_selected_by_labels() {
    let objects = with(
        enabled(),
        &format!("{PODS}?&labelSelector=app%3Dcart"),
        list(&[pod("cart-5d4f-a", true), pod("cart-5d4f-b", false)]),
    );
    let answer = asked("-l app=cart", objects.clone()).await.unwrap();
    let subjects: Vec<&str> = answer
        .reports()
        .iter()
        .map(|report| report.subject.as_str())
        .collect();
    assert_eq!(subjects, ["Pod/cart-5d4f-a", "Pod/cart-5d4f-b"]);
    let none = with(
        objects,
        &format!("{PODS}?&labelSelector=app%3Dx"),
        list(&[]),
    );
    let error = asked("-l app=x", none).await.err().unwrap().to_string();
    assert_eq!(error, "no pod in namespace shop has the labels app=x");
}

#[tokio::test]
async fn a_namespace_is_that_of_the_context_unless_named() {
    let answer = asked("", enabled()).await.unwrap();
    assert!(text(&answer).starts_with("namespace shop (istio-injection=enabled)\n"));
    let other = json!({ "metadata": { "name": "legacy" } });
    let objects = with(enabled(), "/api/v1/namespaces/legacy", other);
    for arguments in ["-n legacy", "ns/legacy", "ns legacy"] {
        let answer = asked(arguments, objects.clone()).await.unwrap();
        assert!(text(&answer).starts_with("namespace legacy (no labels)\n"));
    }
}

#[tokio::test]
async fn what_keeps_the_webhook_from_answering_is_told() {
    let forbidden = |what: &str| status(403, &format!("{what} is forbidden: User \"a\" cannot"));
    for (path, object, expected) in [
        (
            ENDPOINTS,
            list(&[]),
            "not created, since the API server cannot ask Fairlead, revision default: Service \
             fairlead-webhook in namespace mesh has no ready endpoint\n  see: kubectl --namespace \
             mesh get pods\n",
        ),
        (
            CONFIG_MAP,
            forbidden("configmaps"),
            "cannot be told: Fairlead, revision default is asked, but its settings cannot be read: \
             ConfigMap fairlead-webhook in namespace mesh: configmaps is forbidden: User \"a\" \
             cannot\n",
        ),
        (
            ENDPOINTS,
            forbidden("endpointslices"),
            "injected by Fairlead, revision default\n  warning: whether Service fairlead-webhook \
             in namespace mesh has a ready endpoint is not known: endpointslices is forbidden: User \
             \"a\" cannot\n",
        ),
        (
            MESH,
            forbidden("configmaps"),
            "injected by Fairlead, revision default\n  warning: the mesh's configuration is not \
             known here: configmaps is forbidden: User \"a\" cannot\n",
        ),
        (
            MESH,
            json!({ "metadata": {}, "data": { "mesh": "enablePrometheusMerge: maybe" } }),
            "injected by Fairlead, revision default\n  warning: the mesh's configuration is not \
             known here: it is not accepted, and the last that was counts: ",
        ),
    ] {
        let objects = with(enabled(), &format!("{APPS}/deployments/cart"), deployment());
        let objects = with(objects, PODS, list(&[]));
        let answer = asked("deploy/cart", with(objects, path, object)).await;
        let text = text(&answer.unwrap());
        let expected = format!("Deployment/cart in namespace shop: {expected}");
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_told_with_what_it_takes() {
    let forbidden = |what: &str| status(403, &format!("{what} is forbidden"));
    let found = |objects| with(objects, &format!("{PODS}/cart"), pod("cart", false));
    for (arguments, objects, expected) in [
        (
            "cart",
            enabled(),
            "Pod cart in namespace shop (-n names another namespace, deploy/NAME another kind): \
             /api/v1/namespaces/shop/pods/cart not found",
        ),
        (
            "cart",
            with(enabled(), &format!("{PODS}/cart"), forbidden("pods")),
            "Pod cart in namespace shop: pods is forbidden",
        ),
        (
            "cart",
            with(found(enabled()), ADMISSION, forbidden("listing")),
            "list the MutatingWebhookConfigurations; it takes a ClusterRole that lets you list \
             mutatingwebhookconfigurations: listing is forbidden",
        ),
        (
            "cart",
            with(
                found(enabled()),
                "/api/v1/namespaces/shop",
                forbidden("namespaces"),
            ),
            "namespace shop, whose labels decide: namespaces is forbidden",
        ),
        (
            "ns/elsewhere",
            enabled(),
            "namespace elsewhere, whose labels decide: /api/v1/namespaces/elsewhere not found",
        ),
    ] {
        let error = asked(arguments, objects).await.err().unwrap();
        assert_eq!(format!("{error:#}"), expected);
    }
}

//! Reviews as an API server sends them: its defaults are filled in, the service account's token is
//! mounted, and the fields' managers are listed.

use serde_json::{Map, Value, json};

const TOKEN: &str = "kube-api-access-7xk2p";

/// The review of a Deployment's pod with this many containers.
pub(crate) fn review(containers: usize) -> Value {
    let containers: Vec<Value> = (0..containers).map(container).collect();
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "requestKind": { "group": "", "version": "v1", "kind": "Pod" },
            "requestResource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "uid": "ba44e2a8-8a5c-4d4e-8f2c-3f7d9c1e5b60",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
            },
            "object": pod(&containers),
            "oldObject": null,
            "dryRun": false,
            "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
        },
    })
}

fn pod(containers: &[Value]) -> Value {
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": "cart-6c9f7d5b8d-",
            "namespace": "shop",
            "creationTimestamp": null,
            "labels": {
                "app.kubernetes.io/name": "cart",
                "app.kubernetes.io/version": "2.3.1",
                "pod-template-hash": "6c9f7d5b8d",
                "team": "checkout",
            },
            "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": "8080" },
            "ownerReferences": [{
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "name": "cart-6c9f7d5b8d",
                "uid": "0d1b6b6e-53b5-4c5e-9b8d-2b5b8f9f7a11",
                "controller": true,
                "blockOwnerDeletion": true,
            }],
            "managedFields": [{
                "manager": "kube-controller-manager",
                "operation": "Update",
                "apiVersion": "v1",
                "time": "2026-11-21T10:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": managed_fields(containers),
            }],
        },
        "spec": {
            "volumes": [
                { "name": "config", "configMap": { "name": "cart", "defaultMode": 420 } },
                { "name": TOKEN, "projected": { "defaultMode": 420, "sources": [
                    { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                    { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                    { "downwardAPI": { "items": [{
                        "path": "namespace",
                        "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" },
                    }] } },
                ] } },
            ],
            "containers": containers,
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "cart",
            "serviceAccount": "cart",
            "securityContext": { "fsGroup": 2000 },
            "schedulerName": "default-scheduler",
            "tolerations": [
                { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
                { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
            ],
            "priority": 0,
            "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {},
    })
}

fn container(index: usize) -> Value {
    let port = 8080 + index;
    let probe = |path: &str| {
        json!({
            "httpGet": { "path": path, "port": "http", "scheme": "HTTP" },
            "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
        })
    };
    json!({
        "name": format!("cart-{index}"),
        "image": "registry.example.com/shop/cart:2.3.1",
        "args": ["--listen", format!(":{port}"), "--verbose"],
        "ports": [{ "name": "http", "containerPort": port, "protocol": "TCP" }],
        "env": [
            { "name": "DATABASE_URL", "value": "postgres://cart@db.shop:5432/cart" },
            { "name": "PASSWORD", "valueFrom": { "secretKeyRef": { "name": "cart", "key": "password" } } },
            { "name": "POD_IP", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "status.podIP" } } },
        ],
        "resources": { "limits": { "cpu": "500m", "memory": "256Mi" }, "requests": { "cpu": "100m", "memory": "128Mi" } },
        "volumeMounts": [
            { "name": "config", "mountPath": "/etc/cart" },
            { "name": TOKEN, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" },
        ],
        "livenessProbe": probe("/live"),
        "readinessProbe": probe("/ready"),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": { "runAsUser": 1000, "allowPrivilegeEscalation": false },
    })
}

/// The fields of the containers, each as a member of its own: how the API server keeps who wrote
/// them.
fn managed_fields(containers: &[Value]) -> Value {
    let of_container = |container: &Value| {
        let fields = container.as_object().into_iter().flatten();
        let fields: Map<String, Value> = fields
            .map(|(field, _)| (format!("f:{field}"), json!({})))
            .collect();
        (
            format!("k:{{\"name\":{}}}", container["name"]),
            Value::Object(fields),
        )
    };
    let containers: Map<String, Value> = containers.iter().map(of_container).collect();
    json!({
        "f:metadata": { "f:generateName": {}, "f:labels": { ".": {}, "f:pod-template-hash": {} } },
        "f:spec": { "f:containers": containers, "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:volumes": {} },
    })
}

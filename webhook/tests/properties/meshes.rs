//! The same for pods that write to the injector's own containers, in meshes that say something of
//! everything.

use std::collections::BTreeMap;

use fairlead_api::{mesh_config::MeshConfig, proxy_config::Layer};
use fairlead_webhook::{
    inject::{Place, inject},
    patch::additions,
    settings::Settings,
};
use json_patch::Patch;
use proptest::{option, prelude::*, sample::select};
use serde_json::{Value, json};

use crate::{NAMESPACE, defaults, patched, pods};

const TEMPLATES: &str = "
    templates:
      more:
        metadata:
          labels: { more: 'yes' }
          annotations: { status.sidecar.istio.io/port: '15022', prometheus.istio.io/scrape-targets: '9999:/m' }
        spec:
          terminationGracePeriodSeconds: 7
          tolerations: [{ key: more, operator: Exists }]
          containers:
          - name: app-0
            readinessProbe: { tcpSocket: { port: 7 }, periodSeconds: 2 }
            env: [{ name: A, valueFrom: { fieldRef: { fieldPath: spec.nodeName } } }]
          - name: more
            image: more:1
            livenessProbe: { httpGet: { port: http } }
            ports: [{ name: http, containerPort: 7070 }]
            resources: { requests: { cpu: 0.5, memory: 1024Mi } }
          - name: istio-proxy
            securityContext: { runAsUser: 4000, capabilities: { add: [SYS_PTRACE] } }
            volumeMounts: [{ name: volume-0, mountPath: /a }]
          initContainers:
          - { name: istio-init, env: [{ name: B, value: b }] }
          volumes:
          - { name: volume-0, projected: { sources: [{ serviceAccountToken: { path: t } }] } }
    ";

/// Settings of the mesh.
fn settings() -> impl Strategy<Value = String> {
    let more = [
        "",
        "cni: { enabled: true }",
        "cni: { enabled: true, provider: multus }",
        "platform: openshift",
        "interceptionMode: TPROXY",
        "interceptionMode: NONE",
        "lifecycle: { preStop: { sleep: { seconds: 1 } } }",
        "startupProbe: { enabled: false }",
        "defaultTemplates: [sidecar, more]",
        "defaultTemplates: [more, gateway]",
        "defaultTemplates: [more]",
    ];
    let secrets = select(vec!["", "imagePullSecrets: [mesh-registry]"]);
    (select(more.to_vec()), secrets).prop_map(|(more, secrets)| {
        let more = format!("{TEMPLATES}\n    {more}\n    {secrets}");
        format!("\n    image: a\n    network: net-1{more}")
    })
}

/// A pod, perhaps with containers of the injector's names.
fn pod() -> impl Strategy<Value = Value> {
    // Fractions, which no field of a container has, are read back from the annotation with another
    // last digit.
    let own = || {
        let own = pods::container("own", 0);
        option::of(own.prop_map(|mut own| {
            own["fromTheFuture"] = json!({ "a": [1] });
            own
        }))
    };
    let wish = option::of(select(vec![
        ("sidecar.istio.io/capNetBindService", "true"),
        ("sidecar.istio.io/interceptionMode", "NONE"),
        ("inject.istio.io/templates", "sidecar"),
        ("inject.istio.io/templates", "gateway,more"),
        (
            "sidecar.istio.io/userVolume",
            r#"{"extra":{"emptyDir":{}},"more":{"configMap":{"name":"m"}}}"#,
        ),
        (
            "sidecar.istio.io/userVolumeMount",
            r#"{"volume-0":{"mountPath":"/b"}}"#,
        ),
        ("k8s.v1.cni.cncf.io/networks", r#"[{"name":"macvlan"}]"#),
    ]));
    let user = option::of(select(vec![0_u32, 1000, 5000]));
    (pods::pod(), own(), own(), any::<bool>(), user, wish).prop_map(
        |(mut pod, proxy, init, early, user, wish)| {
            if let Some(mut proxy) = proxy {
                proxy["name"] = json!("istio-proxy");
                proxy["image"] = json!("auto");
                if let Some(user) = user {
                    proxy["securityContext"] = json!({ "runAsUser": user, "runAsNonRoot": true });
                }
                let list = if early {
                    "initContainers"
                } else {
                    "containers"
                };
                put(&mut pod, list, proxy);
            }
            if let Some(mut init) = init {
                init["name"] = json!("istio-init");
                if let Some(fields) = init.as_object_mut() {
                    fields.retain(|field, _| !field.ends_with("Probe") && field != "lifecycle");
                }
                put(&mut pod, "initContainers", init);
            }
            if let Some((key, value)) = wish {
                pod["metadata"]["annotations"][key] = json!(value);
            }
            pod
        },
    )
}

fn put(pod: &mut Value, list: &str, container: Value) {
    let list = &mut pod["spec"][list];
    match list.as_array_mut() {
        Some(list) => list.insert(0, container),
        None => *list = json!([container]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_second_injection_finds_nothing_to_do_in_any_mesh(
        pod in pod(),
        text in settings(),
        native: bool,
        hold: bool,
    ) {
        let settings = Settings::parse(&text).unwrap();
        let mesh = MeshConfig {
            default_config: Layer {
                hold_application_until_proxy_starts: Some(hold),
                ..Layer::default()
            },
            ..MeshConfig::default()
        };
        let annotations = BTreeMap::from([(
            "openshift.io/sa.scc.uid-range".to_owned(),
            "1000650000/10000".to_owned(),
        )]);
        let place = Place { annotations: &annotations, mesh: &mesh, ..Place::named(NAMESPACE, native) };
        // Two wishes may contradict each other, such as a user that an application has, too.
        let once = inject(&pod, &place, &settings);
        prop_assume!(once.is_ok());
        let once = once.unwrap().pod;
        let Patch(operations) = additions(&pod, &once);
        prop_assert_eq!(&patched(&pod, &operations), &once);
        for found in [once.clone(), defaults::as_stored(&once)] {
            for native in [native, !native] {
                let again = inject(&found, &Place { native, ..place }, &settings).unwrap();
                let changes = json_patch::diff(&found, &again.pod);
                prop_assert!(changes.is_empty(), "a second injection changes {changes}");
            }
        }
    }
}

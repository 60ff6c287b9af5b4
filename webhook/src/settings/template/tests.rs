use super::super::{Settings, SettingsError};

#[track_caller]
fn check_faults(templates: &str, parts: &[&str]) {
    let error = Settings::parse(&format!("image: a\n{templates}")).unwrap_err();
    let SettingsError::Values(faults) = error else {
        panic!("{error:?}");
    };
    assert_eq!(faults.len(), parts.len(), "{faults:#?}");
    for (fault, part) in faults.iter().zip(parts) {
        assert!(fault.contains(part), "{part} in {fault}");
    }
}

#[test]
fn an_overlay_is_a_plain_fragment_of_a_pod() {
    let settings = Settings::parse(
        "
        image: a
        templates:
          more:
            metadata: { labels: { a: b }, annotations: { sidecar.istio.io/proxyCPU: 100m } }
            spec:
              nodeSelector: { disk: ssd }
              containers:
              - { name: istio-proxy, resources: { limits: { cpu: 2 } } }
              - { name: log, image: log:1 }
              initContainers:
              - { name: istio-init, securityContext: { runAsUser: 0 } }
        defaultTemplates: [sidecar, more]
        ",
    )
    .unwrap();
    let template = &settings.templates["more"];
    let own: Vec<_> = template.own().collect();
    assert_eq!(own.len(), 2);
    assert_eq!(own[1].1["resources"]["limits"]["cpu"], "2");
    assert_eq!(
        template.pod()["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(template.pod()["spec"].get("initContainers").is_none());
}

#[test]
fn what_is_no_fragment_is_told_when_it_is_loaded() {
    for (template, parts) in [
        ("a: 1", &[".a: only metadata and spec"][..]),
        (
            "metadata: { name: x }",
            &[".metadata.name: only labels and annotations"],
        ),
        (
            "metadata: { labels: { a: 1 } }",
            &["a is 1, which is no text"],
        ),
        (
            "metadata: { annotations: { inject.istio.io/templates: sidecar } }",
            &["inject.istio.io/templates decides before"],
        ),
        (
            "metadata: { annotations: { prometheus.io/port: '80' } }",
            &["prometheus.istio.io/scrape-targets adds"],
        ),
        (
            "spec: { contaners: [] }",
            &[".spec.contaners: a pod has no such field"],
        ),
        (
            "spec: { containers: [{ name: a, livenessProb: {} }] }",
            &[".spec.containers[0].livenessProb: a pod has no such field"],
        ),
        ("spec: { priority: high }", &["expected i32"]),
        (
            "spec: { containers: [{ image: a }] }",
            &[".spec.containers[0] has no name"],
        ),
        ("spec: { hostNetwork: true }", &[".spec.hostNetwork"]),
        (
            "spec: { containers: [{ $patch: replace }] }",
            &[".spec.containers[0].$patch: directives of kubectl's patches"],
        ),
        ("spec: { priority: null }", &[".spec.priority is null"]),
        (
            "spec: { volumes: [{ name: istio-podinfo, emptyDir: {} }] }",
            &["istio-podinfo is the injector's"],
        ),
    ] {
        check_faults(&format!("templates: {{ more: {{ {template} }} }}"), parts);
    }
    check_faults("templates: { more: [] }", &["is no object"]);
}

#[test]
fn names_are_told_apart_from_the_built_in_ones() {
    check_faults(
        "templates: { sidecar: {} }",
        &["templates.sidecar is built in"],
    );
    check_faults("templates: { 'My one': {} }", &["small letters"]);
    check_faults("defaultTemplates: [sidecar, none]", &["names 'none'"]);
    check_faults("defaultTemplates: []", &["is empty"]);
}

//! Where the settings come from, and what they do.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::{INJECT, fairlead, through, values};

const DEPLOYMENT: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"cart"},
"spec":{"template":{"spec":{"containers":[{"name":"app","image":"a"}]}}}}"#;

fn template(output: &str) -> Value {
    values(output).remove(0)["spec"]["template"].clone()
}

fn with(more: &[&str]) -> Value {
    template(&through(&[&INJECT, more].concat(), DEPLOYMENT))
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect()
}

/// A file that the test owns.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn the_sidecar_is_native_unless_told() {
    for more in [&[][..], &["--native", "auto"], &["--native", "true"]] {
        let template = with(more);
        assert_eq!(
            names(&template["spec"]["initContainers"]),
            ["istio-init", "istio-proxy"]
        );
        assert_eq!(names(&template["spec"]["containers"]), ["app"]);
    }
    let template = with(&["--native", "false"]);
    assert_eq!(names(&template["spec"]["initContainers"]), ["istio-init"]);
    assert_eq!(
        names(&template["spec"]["containers"]),
        ["app", "istio-proxy"]
    );
}

#[test]
fn revision_and_namespace_are_taken_from_the_command_line() {
    let template = with(&["--revision", "canary", "--namespace", "shop"]);
    assert_eq!(
        template["metadata"]["annotations"]["istio.io/rev"],
        "canary"
    );
    let owner = json!({
        "name": "ISTIO_META_OWNER",
        "value": "kubernetes://apis/apps/v1/namespaces/shop/deployments/cart",
    });
    let proxy = &template["spec"]["initContainers"][1];
    assert!(proxy["env"].as_array().unwrap().contains(&owner));
}

#[test]
fn a_file_of_the_webhooks_is_taken() {
    let path = file(
        "config.yaml",
        "image: example.org/proxy:2\nnativeSidecar: 'false'\n",
    );
    let path = path.to_str().unwrap();
    let command = ["inject", "--inject-config", path, "-f", "-"];
    let template = template(&through(&command, DEPLOYMENT));
    let proxy = &template["spec"]["containers"][1];
    assert_eq!(proxy["image"], "example.org/proxy:2");

    let output = fairlead(&[&command[..], &["--revision", "canary"]].concat(), b"");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("of revision default, not of canary"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_not_the_webhooks_is_refused() {
    for (text, part) in [
        ("imag: a\n", "imag"),
        ("image: 'a b'\n", "'a b' for image"),
        ("image: [\n", "not the webhook's configuration"),
        ("", "not the webhook's configuration"),
    ] {
        let path = file("odd.yaml", text);
        let path = path.to_str().unwrap();
        let output = fairlead(&["inject", "--inject-config", path, "-f", "-"], b"");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(said.contains(part), "{part} in {said}");
        assert!(said.contains(path), "{said}");
    }
}

#[test]
fn the_policy_of_the_settings_decides() {
    let path = file("disabled.yaml", "image: a\npolicy: disabled\n");
    let command = [
        "inject",
        "--inject-config",
        path.to_str().unwrap(),
        "-f",
        "-",
    ];
    assert_eq!(through(&command, DEPLOYMENT), DEPLOYMENT);
    let asked = DEPLOYMENT.replace(
        r#""template":{"#,
        r#""template":{"metadata":{"labels":{"sidecar.istio.io/inject":"true"}},"#,
    );
    assert_ne!(through(&command, &asked), asked);
}

#[test]
fn without_a_cluster_another_way_is_named() {
    let output = fairlead(&["inject", "-f", "-"], DEPLOYMENT.as_bytes());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "--inject-config FILE, --values FILE or --defaults",
        "kubeconfig",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
}

fn environment(template: &Value, container: &str, name: &str) -> Option<String> {
    let containers = template["spec"]["initContainers"].as_array()?;
    let found = containers.iter().find(|one| one["name"] == container)?;
    let mut variables = found["env"].as_array()?.iter();
    let variable = variables.find(|variable| variable["name"] == name)?;
    Some(variable["value"].as_str()?.to_owned())
}

#[test]
fn values_and_the_meshs_configuration_are_taken_from_files() {
    let values = file(
        "values.yaml",
        "{proxy: {logLevel: debug}, meshConfig: {defaultConfig: {proxyMetadata: {A: values}}}}",
    );
    let mesh = file("mesh.yaml", "defaultConfig: {proxyMetadata: {A: mesh}}");
    let (values, mesh) = (values.to_str().unwrap(), mesh.to_str().unwrap());
    let inject = |arguments: &[&str]| {
        let all = [&["inject", "--filename", "-"], arguments].concat();
        template(&through(&all, DEPLOYMENT))
    };
    for (arguments, level, variable) in [
        (&["--values", values][..], "debug", Some("values")),
        (
            &["--values", values, "--mesh-config", mesh],
            "debug",
            Some("mesh"),
        ),
        (&["--defaults", "--mesh-config", mesh], "info", Some("mesh")),
        (&["--defaults"], "info", None),
    ] {
        let template = inject(arguments);
        let found = environment(&template, "istio-proxy", "A");
        assert_eq!(found.as_deref(), variable, "{arguments:?}");
        let proxy = &template["spec"]["initContainers"][1]["args"];
        assert!(proxy.as_array().unwrap().contains(&json!(level)), "{proxy}");
    }
}

#[test]
fn a_mesh_configuration_that_is_not_accepted_is_told() {
    let mesh = file("wrong-mesh.yaml", "defaultConfig: {concurrency: x}");
    let arguments = [
        "inject",
        "--defaults",
        "-f",
        "-",
        "--mesh-config",
        mesh.to_str().unwrap(),
    ];
    let output = fairlead(&arguments, DEPLOYMENT.as_bytes());
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("wrong-mesh.yaml"), "{error}");
    assert!(error.contains("defaultConfig.concurrency is"), "{error}");
}

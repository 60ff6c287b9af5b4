//! As whom the proxy runs, and whom the redirect lets pass: always the same.

use std::collections::BTreeMap;

use fairlead_webhook::{
    inject::{Place, inject},
    settings::Settings,
};
use serde_json::{Value, json};

use crate::{
    NAMESPACE,
    container::{argument, container},
    injected_at,
};

const UIDS: &str = "openshift.io/sa.scc.uid-range";
const GROUPS: &str = "openshift.io/sa.scc.supplemental-groups";

struct Case {
    platform: &'static str,
    namespace: &'static [(&'static str, &'static str)],
    annotations: Value,
    /// The author's security context of istio-proxy.
    own: Option<Value>,
    /// The application's user.
    app: Option<u32>,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            platform: "",
            namespace: &[],
            annotations: json!({}),
            own: None,
            app: None,
        }
    }
}

impl Case {
    fn settings(&self) -> Settings {
        Settings::parse(&format!("{{image: a, platform: '{}'}}", self.platform)).unwrap()
    }

    fn pod(&self) -> Value {
        let mut app = json!({ "name": "app" });
        if let Some(user) = self.app {
            app["securityContext"] = json!({ "runAsUser": user });
        }
        let mut containers = vec![app];
        if let Some(context) = &self.own {
            containers.push(
                json!({ "name": "istio-proxy", "image": "auto", "securityContext": context }),
            );
        }
        json!({
            "metadata": { "name": "a", "annotations": self.annotations },
            "spec": { "containers": containers },
        })
    }

    fn namespace(&self) -> BTreeMap<String, String> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        self.namespace.iter().map(own).collect()
    }

    /// User and group of the container, and `-u` and `-g` of the redirect.
    #[track_caller]
    fn check(&self, ids: (u32, u32), redirect: (&str, Option<&str>)) {
        let namespace = self.namespace();
        let place = Place {
            annotations: &namespace,
            ..Place::named(NAMESPACE, true)
        };
        let pod = injected_at(&self.pod(), &place, &self.settings());
        let context = &container(&pod, "istio-proxy")["securityContext"];
        assert_eq!(context["runAsUser"], ids.0);
        assert_eq!(context["runAsGroup"], ids.1);
        assert_eq!(context["runAsNonRoot"], ids.0 != 0);
        let init = container(&pod, "istio-init");
        let flags = (argument(init, "-u"), argument(init, "-g"));
        assert_eq!(flags, (Some(redirect.0), redirect.1));
    }

    #[track_caller]
    fn check_refused(&self, part: &str) {
        let namespace = self.namespace();
        let place = Place {
            annotations: &namespace,
            ..Place::named(NAMESPACE, true)
        };
        let refusal = inject(&self.pod(), &place, &self.settings()).unwrap_err();
        assert_eq!(refusal.0.len(), 1, "{refusal}");
        assert!(refusal.to_string().contains(part), "{part} in {refusal}");
    }
}

#[test]
fn the_redirect_lets_those_pass_that_the_proxy_is() {
    let tproxy = || json!({ "sidecar.istio.io/interceptionMode": "TPROXY" });
    let bind = || json!({ "sidecar.istio.io/capNetBindService": "true" });
    let user = || Some(json!({ "runAsUser": 2000 }));
    let both = || Some(json!({ "runAsUser": 2000, "runAsGroup": 3000 }));
    for (annotations, own, ids, redirect) in [
        (json!({}), None, (1337, 1337), ("1337", None)),
        (json!({}), user(), (2000, 1337), ("2000", Some("1337"))),
        (json!({}), both(), (2000, 3000), ("2000", Some("3000"))),
        (
            json!({}),
            Some(json!({ "runAsUser": 0 })),
            (0, 1337),
            ("1337", None),
        ),
        (tproxy(), None, (0, 1337), ("1337", None)),
        (tproxy(), user(), (0, 1337), ("1337", None)),
        (tproxy(), both(), (0, 3000), ("1337", Some("3000"))),
        (bind(), None, (0, 1337), ("1337", None)),
        (bind(), user(), (0, 1337), ("1337", None)),
    ] {
        let case = Case {
            annotations,
            own,
            ..Case::default()
        };
        case.check(ids, redirect);
    }
}

#[test]
fn capabilities_are_what_the_proxy_needs_whatever_its_author_adds() {
    let case = Case {
        annotations: json!({
            "sidecar.istio.io/interceptionMode": "TPROXY",
            "sidecar.istio.io/capNetBindService": "true",
        }),
        own: Some(json!({ "capabilities": { "add": ["SYS_PTRACE"] } })),
        ..Case::default()
    };
    let place = Place::named(NAMESPACE, true);
    let pod = injected_at(&case.pod(), &place, &case.settings());
    let context = &container(&pod, "istio-proxy")["securityContext"];
    let expected = json!({
        "add": ["SYS_PTRACE", "NET_ADMIN", "NET_BIND_SERVICE"],
        "drop": ["ALL"],
    });
    assert_eq!(context["capabilities"], expected);
}

#[test]
fn a_user_that_is_not_followed_is_warned_of() {
    for key in [
        "sidecar.istio.io/interceptionMode",
        "sidecar.istio.io/capNetBindService",
    ] {
        let value = if key.ends_with("Mode") {
            "TPROXY"
        } else {
            "true"
        };
        let case = Case {
            annotations: json!({ key: value }),
            own: Some(json!({ "runAsUser": 2000 })),
            ..Case::default()
        };
        let place = Place::named(NAMESPACE, true);
        let warnings = inject(&case.pod(), &place, &case.settings())
            .unwrap()
            .warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("runAsUser 2000 is not followed"),
            "{warnings:?}"
        );
    }
}

#[test]
fn on_openshift_the_proxy_has_the_last_ids_of_its_namespace() {
    let last = "1000659999";
    for (namespace, ids, redirect) in [
        (
            &[(UIDS, "1000650000/10000")][..],
            (1_000_659_999, 1_000_659_999),
            (last, None),
        ),
        (
            &[(UIDS, "1000650000/10000"), (GROUPS, "1000700000/10000,1/2")],
            (1_000_659_999, 1_000_709_999),
            (last, Some("1000709999")),
        ),
        (
            &[(UIDS, "2000-2999"), (GROUPS, "")],
            (2999, 2999),
            ("2999", None),
        ),
        (&[], (1337, 1337), ("1337", None)),
    ] {
        let case = Case {
            platform: "openshift",
            namespace,
            ..Case::default()
        };
        case.check(ids, redirect);
    }
    let elsewhere = Case {
        namespace: &[(UIDS, "2000/1000")],
        ..Case::default()
    };
    elsewhere.check((1337, 1337), ("1337", None));
}

#[test]
fn a_user_that_openshift_gave_to_every_container_is_no_wish() {
    let case = |app| Case {
        platform: "openshift",
        namespace: &[(UIDS, "2000/1000")],
        own: Some(json!({ "runAsUser": 2000 })),
        app,
        ..Case::default()
    };
    case(Some(2000)).check((2999, 2999), ("2999", None));
    case(Some(2001)).check((2000, 2999), ("2000", Some("2999")));
}

#[test]
fn what_would_bypass_the_mesh_is_refused() {
    let same = Case {
        own: Some(json!({ "runAsUser": 2000 })),
        app: Some(2000),
        ..Case::default()
    };
    same.check_refused("'app' has runAsUser 2000, the proxy's own");
    let root_group = Case {
        own: Some(json!({ "runAsGroup": 0 })),
        ..Case::default()
    };
    root_group.check_refused("runAsGroup 0");
    let block = Case {
        platform: "openshift",
        namespace: &[(UIDS, "many")],
        ..Case::default()
    };
    block.check_refused("'many' for annotation 'openshift.io/sa.scc.uid-range'");
    let last = Case {
        platform: "openshift",
        namespace: &[(UIDS, "2000/1000")],
        app: Some(2999),
        ..Case::default()
    };
    last.check_refused("runAsUser 2999");
}

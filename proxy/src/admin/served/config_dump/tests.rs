use fairlead_xds::{
    envoy::config::core::v3::Node,
    json::{Layout, Secrets, message_to_json},
};

use super::*;

fn given() -> Vec<Any> {
    let cluster = |name: &str| Cluster {
        name: name.to_owned(),
        alt_stat_name: "other".to_owned(),
        ..Cluster::default()
    };
    let node = Node {
        id: "one".to_owned(),
        cluster: "all".to_owned(),
        ..Node::default()
    };
    let bootstrap = BootstrapConfigDump {
        bootstrap: Some(Bootstrap {
            node: Some(node),
            ..Bootstrap::default()
        }),
        ..BootstrapConfigDump::default()
    };
    let clusters = ["a", "b"].map(|name| StaticCluster {
        cluster: Some(any(&cluster(name))),
        last_updated: Some(Timestamp {
            seconds: 1,
            nanos: 0,
        }),
    });
    let clusters = ClustersConfigDump {
        version_info: "v".to_owned(),
        static_clusters: clusters.into(),
        ..ClustersConfigDump::default()
    };
    let listener = StaticListener {
        listener: Some(any(&Listener::default())),
        last_updated: None,
    };
    let listeners = ListenersConfigDump {
        static_listeners: vec![listener],
        ..ListenersConfigDump::default()
    };
    vec![any(&bootstrap), any(&clusters), any(&listeners)]
}

fn parameters(text: &str) -> Parameters {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[track_caller]
fn check(question: &str, expected: &str) {
    let query = Query::parse(&parameters(question));
    let told = match query.and_then(|query| select(given(), &query)) {
        Ok(configs) => {
            let dump = ConfigDump { configs };
            let text = message_to_json(&dump, Layout::Compact, Secrets::Redact).unwrap();
            text.replace("type.googleapis.com/envoy.", "")
        }
        Err(refusal) => refusal.to_string(),
    };
    assert_eq!(told, expected, "{question}");
}

#[test]
fn a_mask_leaves_the_sections_that_have_its_fields() {
    check(
        "mask=bootstrap.node.id",
        r#"{"configs":[{"@type":"admin.v3.BootstrapConfigDump","bootstrap":{"node":{"id":"one"}}}]}"#,
    );
    check(
        "mask=dynamic_listeners,version_info",
        r#"{"configs":[{"@type":"admin.v3.ListenersConfigDump"}]}"#,
    );
    for mask in [
        "nope",
        "static_clusters,static_listeners",
        "static_clusters.cluster",
    ] {
        check(
            &format!("mask={mask}"),
            &format!("FieldMask {mask} could not be successfully applied to any configs."),
        );
    }
}

#[test]
fn a_resource_is_a_list_of_one_section() {
    check(
        "resource=static_listeners",
        r#"{"configs":[{"@type":"admin.v3.ListenersConfigDump.StaticListener","listener":{"@type":"config.listener.v3.Listener"}}]}"#,
    );
    check("resource=dynamic_active_clusters", "{}");
    check("resource=nope", "nope not found in config dump");
    for name in ["bootstrap", "version_info"] {
        check(
            &format!("resource={name}"),
            &format!("{name} is not a repeated field. Use ?mask={name} to get only this field"),
        );
    }
}

#[test]
fn the_mask_of_a_resource_goes_into_what_it_wraps() {
    check(
        "resource=static_clusters&mask=cluster.name,last_updated",
        r#"{"configs":[{"@type":"admin.v3.ClustersConfigDump.StaticCluster","cluster":{"@type":"config.cluster.v3.Cluster","name":"a"},"last_updated":"1970-01-01T00:00:01Z"},{"@type":"admin.v3.ClustersConfigDump.StaticCluster","cluster":{"@type":"config.cluster.v3.Cluster","name":"b"},"last_updated":"1970-01-01T00:00:01Z"}]}"#,
    );
    check(
        "resource=static_listeners&mask=listener.name",
        r#"{"configs":[{"@type":"admin.v3.ListenersConfigDump.StaticListener","listener":{"@type":"config.listener.v3.Listener"}}]}"#,
    );
    for mask in ["nope", "cluster.nope"] {
        check(
            &format!("resource=static_clusters&mask={mask}"),
            &format!("FieldMask {mask} could not be successfully used."),
        );
    }
}

#[test]
fn a_faulty_expression_is_told() {
    check(
        "name_regex=(",
        "Error while parsing name_regex from (: unclosed group",
    );
}

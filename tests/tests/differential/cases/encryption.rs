//! TLS on both sides.

use rustls::version::{TLS12, TLS13};

use crate::{
    bootstrap::*,
    certificates::certificates,
    script::{Answer, Run, Tls},
};

const AT: &str = "127.0.0.1:10000";
const UP: &str = "127.0.0.1:20000";

/// A listener that speaks TLS by this context's fields, before a server that echoes.
fn down(fields: &str, common: &str) -> String {
    let comma = if fields.is_empty() { "" } else { ", " };
    let context = format!("{fields}{comma}common_tls_context: {{{common}}}");
    bootstrap(
        &[listener(
            AT,
            &chains(&[chain(&tls("Downstream", &context), &[tcp("one")])]),
        )],
        &[fixed("one", &[UP], "")],
    )
}

/// A server that demands certificates, with further demands.
fn mutual(validation: &str) -> String {
    down(
        "require_client_certificate: true",
        &format!("{}, {}", own("server"), trust(validation)),
    )
}

/// A plain listener before an upstream by TLS.
fn up(fields: &str, common: &str) -> String {
    let context = format!("{fields}common_tls_context: {{{common}}}");
    bootstrap(
        &[listen(AT, &[tcp("one")])],
        &[fixed("one", &[UP], &tls("Upstream", &context))],
    )
}

fn echo(run: &mut Run<'_>) {
    run.named(&[(UP, "up")]);
    run.start();
}

/// A case of handshakes that may fail. Envoy connects to the upstream while the handshake goes on,
/// so what is said of the upstream depends on which of them is faster.
macro_rules! handshakes {
    ($name:ident, $bootstrap:expr, $script:expr $(,)?) => {
        #[test]
        #[ignore = "needs root"]
        fn $name() {
            let bootstrap = $bootstrap.replace("$LOG", &log_downstream());
            $crate::harness::check_statistics(
                stringify!($name),
                &bootstrap,
                &["listener.*", "*rbac.*", "tls_inspector.*"],
                $script,
            );
        }
    };
}

/// Clients of every kind, one after another.
fn everybody(run: &mut Run<'_>) {
    echo(run);
    for who in [
        None,
        Some("client"),
        Some("other"),
        Some("nameless"),
        Some("expired"),
        Some("stranger"),
    ] {
        for (version, versions) in [("1.2", &[&TLS12][..]), ("1.3", &[&TLS13])] {
            run.tls(
                &format!("{who:?} by {version}"),
                AT,
                Tls {
                    who,
                    versions,
                    ..Tls::default()
                },
            );
            // One ends before the next, so that their lines come in this order.
            run.wait_for("listener.127.0.0.1_10000.downstream_cx_active", 0);
        }
    }
}

handshakes!(
    tls_is_ended_and_the_rest_passed,
    down("", &own("server")),
    |run| {
        echo(run);
        run.tls(
            "1.3",
            AT,
            Tls {
                versions: &[&TLS13],
                ..Tls::default()
            },
        );
        run.tls(
            "1.2",
            AT,
            Tls {
                versions: &[&TLS12],
                ..Tls::default()
            },
        );
        run.tls(
            "without a name",
            AT,
            Tls {
                name: "127.0.0.1",
                ..Tls::default()
            },
        );
    }
);

handshakes!(
    only_the_versions_that_are_said_are_spoken,
    down(
        "",
        &format!(
            "tls_params: {{tls_minimum_protocol_version: TLSv1_3}}, {}",
            own("server")
        )
    ),
    |run| {
        echo(run);
        run.tls(
            "1.3",
            AT,
            Tls {
                versions: &[&TLS13],
                ..Tls::default()
            },
        );
        run.tls(
            "1.2",
            AT,
            Tls {
                versions: &[&TLS12],
                ..Tls::default()
            },
        );
    }
);

handshakes!(
    no_newer_version_than_is_said_is_spoken,
    down(
        "",
        &format!(
            "tls_params: {{tls_maximum_protocol_version: TLSv1_2}}, {}",
            own("server")
        )
    ),
    |run| {
        echo(run);
        run.tls("either", AT, Tls::default());
        run.tls(
            "1.3",
            AT,
            Tls {
                versions: &[&TLS13],
                ..Tls::default()
            },
        );
    }
);

handshakes!(
    a_cipher_that_is_said_is_taken,
    down(
        "",
        &format!(
            "tls_params: {{tls_maximum_protocol_version: TLSv1_2, cipher_suites: [ECDHE-ECDSA-AES256-GCM-SHA384]}}, {}",
            own("server")
        )
    ),
    |run| {
        echo(run);
        run.tls(
            "1.2",
            AT,
            Tls {
                versions: &[&TLS12],
                ..Tls::default()
            },
        );
    }
);

handshakes!(
    alpn_is_by_the_server_s_order,
    down(
        "",
        &format!("alpn_protocols: [h2, 'http/1.1'], {}", own("server"))
    ),
    |run| {
        echo(run);
        for alpn in [&["http/1.1", "h2"][..], &["http/1.1"], &[]] {
            run.tls(
                &format!("{alpn:?}"),
                AT,
                Tls {
                    alpn,
                    ..Tls::default()
                },
            );
        }
    }
);

handshakes!(
    alpn_without_common_protocol_goes_on,
    down("", &format!("alpn_protocols: [h2], {}", own("server"))),
    |run| {
        echo(run);
        run.tls(
            "other",
            AT,
            Tls {
                alpn: &["other"],
                ..Tls::default()
            },
        );
    }
);

handshakes!(
    certificates_are_chosen_by_server_name,
    down(
        "",
        &format!("tls_certificates: [{}, {}]", pair("server"), pair("other"))
    ),
    |run| {
        echo(run);
        for name in [
            "a.example",
            "b.example",
            "x.wild.example",
            "y.x.wild.example",
            "nobody.test",
            "127.0.0.1",
        ] {
            run.tls(
                name,
                AT,
                Tls {
                    name,
                    ..Tls::default()
                },
            );
        }
    }
);

handshakes!(client_certificates_may_be_demanded, mutual(""), everybody);

handshakes!(
    client_certificates_may_be_asked_for,
    down("", &format!("{}, {}", own("server"), trust(""))),
    everybody
);

handshakes!(
    client_certificates_without_authority_are_not_looked_at,
    down("require_client_certificate: true", &own("server")),
    everybody
);

handshakes!(
    a_client_s_uri_must_be_exactly_this,
    mutual(
        "match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: 'spiffe://mesh.example/client'}}]"
    ),
    everybody
);

handshakes!(
    a_client_s_uri_must_start_so,
    mutual(
        "match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: 'spiffe://mesh.example/o'}}]"
    ),
    everybody
);

handshakes!(
    a_client_s_dns_name_must_end_so,
    mutual("match_typed_subject_alt_names: [{san_type: DNS, matcher: {suffix: '.example'}}]"),
    everybody
);

handshakes!(
    a_client_s_uri_must_be_of_an_expression,
    mutual(
        "match_typed_subject_alt_names: [{san_type: URI, matcher: {safe_regex: {regex: 'spiffe://mesh[.]example/(client|nobody)'}}}]"
    ),
    everybody
);

handshakes!(
    a_client_s_mail_must_contain_this,
    mutual("match_typed_subject_alt_names: [{san_type: EMAIL, matcher: {contains: '@a.'}}]"),
    everybody
);

handshakes!(
    one_of_several_names_is_enough,
    mutual(
        "match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: 'spiffe://mesh.example/nobody'}}, \
         {san_type: DNS, matcher: {exact: 'b.example'}}]"
    ),
    everybody
);

handshakes!(
    expired_client_certificates_may_be_allowed,
    mutual("allow_expired_certificate: true"),
    everybody
);

handshakes!(
    rbac_by_the_client_s_identity,
    bootstrap(
        &[listener(
            AT,
            &chains(&[chain(
                &tls(
                    "Downstream",
                    &format!(
                        "require_client_certificate: true, common_tls_context: {{{}, {}}}",
                        own("server"),
                        trust("")
                    )
                ),
                &[
                    network(
                        "rbac",
                        "RBAC",
                        "stat_prefix: access., rules: {action: ALLOW, policies: {some: {permissions: [{any: true}], principals: [{authenticated: {principal_name: {exact: 'spiffe://mesh.example/client'}}}]}}}"
                    ),
                    tcp("one"),
                ]
            )])
        )],
        &[fixed("one", &[UP], "")],
    ),
    |run| {
        echo(run);
        for who in ["client", "other", "nameless"] {
            run.tls(
                who,
                AT,
                Tls {
                    who: Some(who),
                    ..Tls::default()
                },
            );
        }
    }
);

handshakes!(plaintext_at_a_tls_port_is_closed, mutual(""), |run| {
    echo(run);
    run.exchange(AT, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    run.exchange(AT, b"hello\n");
});

handshakes!(
    a_handshake_that_takes_too_long_is_ended,
    bootstrap(
        &[listener(
            AT,
            &chains(&[chain(
                &format!(
                    "transport_socket_connect_timeout: 0.2s, {}",
                    tls(
                        "Downstream",
                        &format!("common_tls_context: {{{}}}", own("server"))
                    )
                ),
                &[tcp("one")]
            )])
        )],
        &[fixed("one", &[UP], "")],
    ),
    |run| {
        echo(run);
        let mut client = run.connect(AT);
        let rest = client.rest();
        run.note("silent", &rest);
    }
);

handshakes!(
    plaintext_and_tls_share_a_port,
    bootstrap(
        &[listener(
            AT,
            &format!(
                "listener_filters: [{}], {}",
                before("tls_inspector", "TlsInspector", ""),
                chains(&[
                    chain(
                        &format!(
                            "name: secret, filter_chain_match: {{transport_protocol: tls}}, {}",
                            tls(
                                "Downstream",
                                &format!("common_tls_context: {{{}}}", own("server"))
                            )
                        ),
                        &[tcp("one")]
                    ),
                    chain(
                        "name: open, filter_chain_match: {transport_protocol: raw_buffer}",
                        &[tcp("one")]
                    ),
                ])
            )
        )],
        &[fixed("one", &[UP], "")],
    ),
    |run| {
        echo(run);
        run.tls("tls", AT, Tls::default());
        run.route("plaintext", "", AT, b"hello\n");
    }
);

fn server(who: &'static str, mutual: bool) -> Answer {
    Answer::Tls {
        who,
        mutual,
        alpn: &["h2", "istio"],
    }
}

case!(
    an_upstream_is_spoken_to_by_tls,
    up(
        "sni: a.example, ",
        &format!("alpn_protocols: [istio], {}", trust(""))
    ),
    |run| {
        run.upstream(UP, server("server", false));
        run.start();
        run.exchange(AT, b"hello");
    }
);

case!(
    an_upstream_is_shown_a_certificate,
    up(
        "",
        &format!(
            "{}, {}",
            own("client"),
            trust(
                "match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: 'spiffe://mesh.example/server'}}]"
            )
        )
    ),
    |run| {
        run.upstream(UP, server("server", true));
        run.start();
        run.exchange(AT, b"hello");
    }
);

case!(
    an_upstream_of_another_name_is_not_spoken_to,
    up(
        "sni: a.example, ",
        &trust(
            "match_typed_subject_alt_names: [{san_type: URI, matcher: {exact: 'spiffe://mesh.example/server'}}]"
        )
    ),
    |run| {
        run.upstream(UP, server("other", false));
        run.start();
        run.exchange(AT, b"");
    }
);

case!(
    an_upstream_of_another_authority_is_not_spoken_to,
    up("sni: a.example, ", &trust("")),
    |run| {
        run.upstream(UP, server("stranger", false));
        run.start();
        run.exchange(AT, b"");
    }
);

case!(
    an_upstream_whose_certificate_expired_is_not_spoken_to,
    up("sni: a.example, ", &trust("")),
    |run| {
        run.upstream(UP, server("expired", false));
        run.start();
        run.exchange(AT, b"");
    }
);

case!(
    an_upstream_without_validation_may_be_anybody,
    up("sni: a.example, ", "alpn_protocols: [h2]"),
    |run| {
        run.upstream(UP, server("stranger", false));
        run.start();
        run.exchange(AT, b"hello");
    }
);

case!(
    an_upstream_that_speaks_no_tls_is_not_spoken_to,
    up("sni: a.example, ", &trust("")),
    |run| {
        run.upstream(UP, Answer::Named("this is plaintext, for whoever asks"));
        run.start();
        run.exchange(AT, b"");
    }
);

case!(
    an_upstream_that_demands_a_certificate_gets_none,
    up("sni: a.example, ", &trust("")),
    |run| {
        run.upstream(UP, server("server", true));
        run.start();
        run.exchange(AT, b"");
    }
);

case!(
    transport_sockets_are_chosen_by_the_endpoint_s_metadata,
    {
        let mode = "metadata: {filter_metadata: {envoy.transport_socket_match: {tlsMode: istio}}}";
        let secret = tls(
            "Upstream",
            &format!("common_tls_context: {{{}, {}}}", own("client"), trust("")),
        );
        bootstrap(
            &[listen(AT, &[tcp("one")])],
            &[cluster(
                "one",
                &format!(
                    "type: STATIC, transport_socket_matches: [{{name: secret, match: {{tlsMode: istio}}, {secret}}}, \
                 {{name: open, match: {{}}, transport_socket: {}}}], {}",
                    any(
                        "envoy.transport_sockets.raw_buffer",
                        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
                        ""
                    ),
                    assignment(
                        "one",
                        &[locality(
                            "",
                            &[endpoint(UP, mode), endpoint("127.0.0.1:20001", "")]
                        )]
                    ),
                ),
            )],
        )
    },
    |run| {
        run.upstream(UP, server("server", true));
        run.named(&[("127.0.0.1:20001", "open")]);
        run.start();
        let mut who = [run.whom("", AT), run.whom("", AT)];
        who.sort();
        run.note("both", &who.join(" / "));
    }
);

/// A file with somebody's certificate as a secret.
fn secret(who: &str) -> String {
    format!(
        "resources: [{{\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: own, tls_certificate: {}}}]",
        pair(who)
    )
}

handshakes!(
    a_secret_of_a_file_follows_it,
    down(
        "",
        "tls_certificate_sds_secret_configs: [{name: own, sds_config: {resource_api_version: V3, path_config_source: {path: $DIR/secret.yaml}}}]"
    ),
    |run| {
        run.write("secret.yaml", &secret("server"));
        echo(run);
        run.tls("before", AT, Tls::default());
        run.write("secret.yaml", &secret("other"));
        run.wait_for(
            "listener.127.0.0.1_10000.server_ssl_socket_factory.ssl_context_update_by_sds",
            2,
        );
        run.tls("after", AT, Tls::default());
    }
);

case!(
    an_upstream_may_be_spoken_to_by_tls_1_3,
    up(
        "sni: a.example, ",
        &format!(
            "tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}, {}",
            trust("")
        )
    ),
    |run| {
        run.upstream(UP, server("server", false));
        run.start();
        run.exchange(AT, b"hello");
    }
);

handshakes!(
    certificates_are_shown_on_both_sides,
    bootstrap(
        &[listener(
            AT,
            &chains(&[chain(
                &tls(
                    "Downstream",
                    &format!(
                        "require_client_certificate: true, common_tls_context: {{alpn_protocols: [istio], {}, {}}}",
                        own("server"),
                        trust(
                            "match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: 'spiffe://mesh.example/'}}]"
                        )
                    )
                ),
                &[tcp("one")]
            )])
        )],
        &[fixed(
            "one",
            &[UP],
            &tls(
                "Upstream",
                &format!(
                    "sni: a.example, common_tls_context: {{alpn_protocols: [istio], {}, {}}}",
                    own("client"),
                    trust("")
                )
            )
        )],
    ),
    |run| {
        run.upstream(UP, server("server", true));
        run.start();
        for who in ["client", "other", "nameless"] {
            run.tls(
                who,
                AT,
                Tls {
                    who: Some(who),
                    alpn: &["istio"],
                    ..Tls::default()
                },
            );
        }
    }
);

handshakes!(
    certificates_may_be_inline,
    {
        let inline = |name: &str| {
            let text = certificates().text(name).replace('\n', "\\n");
            format!("{{inline_string: \"{text}\"}}")
        };
        down(
            "",
            &format!(
                "tls_certificates: [{{certificate_chain: {}, private_key: {}}}]",
                inline("other.pem"),
                inline("other.key")
            ),
        )
    },
    |run| {
        echo(run);
        run.tls("inline", AT, Tls::default());
    }
);

handshakes!(
    a_client_of_spiffe_must_be_of_the_trust_domain,
    {
        let validator = "custom_validator_config: {name: envoy.tls.cert_validator.spiffe, typed_config: {\"@type\": \
            type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig, \
            trust_domains: [{name: mesh.example, trust_bundle: {filename: $DIR/ca.pem}}]}}";
        down(
            "require_client_certificate: true",
            &format!("{}, validation_context: {{{validator}}}", own("server")),
        )
    },
    everybody
);

handshakes!(
    several_authorities_may_be_trusted,
    down(
        "require_client_certificate: true",
        &format!(
            "{}, combined_validation_context: {{default_validation_context: {{}}, validation_context_sds_secret_config: \
             {{name: roots, sds_config: {{resource_api_version: V3, path_config_source: {{path: $DIR/roots.yaml}}}}}}}}",
            own("server")
        )
    ),
    |run| {
        run.write("roots.yaml", &roots("ca.pem"));
        echo(run);
        let somebody = |run: &mut Run<'_>, when: &str| {
            for who in ["client", "stranger"] {
                let tls = Tls {
                    who: Some(who),
                    ..Tls::default()
                };
                run.tls(&format!("{who} {when}"), AT, tls);
            }
        };
        somebody(run, "before");
        run.write("roots.yaml", &roots("strangers.pem"));
        run.wait_for(
            "listener.127.0.0.1_10000.server_ssl_socket_factory.ssl_context_update_by_sds",
            2,
        );
        somebody(run, "after");
    }
);

/// A file with an authority as a secret.
fn roots(file: &str) -> String {
    format!(
        "resources: [{{\"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret, name: roots, validation_context: {{trusted_ca: {{filename: $DIR/{file}}}}}}}]"
    )
}

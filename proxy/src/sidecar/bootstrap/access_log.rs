//! The access log in Istio's text format, and as JSON with Istio's keys.

use fairlead_api::proxy_config::{AccessLog as Which, AccessLogEncoding};
use fairlead_xds::{
    envoy::{
        config::{
            accesslog::v3::{
                AccessLog, AccessLogFilter, ResponseFlagFilter, access_log::ConfigType,
                access_log_filter::FilterSpecifier,
            },
            core::v3::{
                DataSource, SubstitutionFormatString, data_source::Specifier,
                substitution_format_string::Format,
            },
        },
        extensions::access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat},
    },
    google::protobuf::{Struct, Value, value::Kind},
};

use super::values::any;
use crate::config::Config;

/// Istio's default format.
const TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ",
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
);

/// Istio's keys.
const JSON: &[(&str, &str)] = &[
    ("authority", "%REQ(:AUTHORITY)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("duration", "%DURATION%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route_name", "%ROUTE_NAME%"),
    ("start_time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
];

/// The access log as it is asked for, if it is.
pub(super) fn of(config: &Config) -> Vec<AccessLog> {
    let filter = match config.proxy.access_log {
        Which::All => None,
        // Any flag.
        Which::Failures => Some(AccessLogFilter {
            filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(
                ResponseFlagFilter::default(),
            )),
        }),
        Which::Off => return Vec::new(),
    };
    let log = FileAccessLog {
        path: config.access_log_file.clone(),
        access_log_format: Some(AccessLogFormat::LogFormat(SubstitutionFormatString {
            format: Some(format(config.proxy.access_log_encoding)),
            ..SubstitutionFormatString::default()
        })),
    };
    vec![AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        filter,
        config_type: Some(ConfigType::TypedConfig(any(&log))),
    }]
}

fn format(encoding: AccessLogEncoding) -> Format {
    match encoding {
        AccessLogEncoding::Text => Format::TextFormatSource(DataSource {
            specifier: Some(Specifier::InlineString(TEXT.to_owned())),
            ..DataSource::default()
        }),
        AccessLogEncoding::Json => {
            let members = JSON.iter().map(|(key, operator)| {
                let kind = Some(Kind::StringValue((*operator).to_owned()));
                ((*key).to_owned(), Value { kind })
            });
            Format::JsonFormat(Struct {
                fields: members.collect(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{
        access_log::{self, Fields, LogType, Surroundings},
        compile::Findings,
        ending::ResponseFlag,
    };

    #[track_caller]
    fn check(fields: &Fields<'_>, encoding: AccessLogEncoding, expected: &str) {
        let message = SubstitutionFormatString {
            format: Some(format(encoding)),
            ..SubstitutionFormatString::default()
        };
        let findings = Findings::default();
        let format = access_log::Format::compile(&findings.at(""), &message, &Surroundings::none());
        let mut line = String::new();
        let mut rng = fastrand::Rng::with_seed(0);
        format.unwrap().write(fields, &mut rng, &mut line);
        assert_eq!(line, expected);
    }

    fn completed() -> Fields<'static> {
        Fields {
            log_type: LogType::TcpConnectionEnd,
            start: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            duration: Duration::from_millis(42),
            bytes_received: 78,
            bytes_sent: 1024,
            upstream_host: "10.1.2.3:80".parse().ok(),
            upstream_cluster: Some("PassthroughCluster"),
            upstream_cluster_raw: Some("PassthroughCluster"),
            upstream_local: "10.0.0.1:40001".parse().ok(),
            downstream_local: "10.1.2.3:80".parse().ok(),
            downstream_remote: "10.0.0.1:40000".parse().ok(),
            ..Fields::default()
        }
    }

    fn refused() -> Fields<'static> {
        Fields {
            flags: Some(ResponseFlag::UpstreamConnectionFailure).into(),
            details: Some("upstream_connect_refused"),
            upstream_failure: Some("connect to [fd00::2]:80: \"refused\"\nthere"),
            upstream_host: "[fd00::2]:80".parse().ok(),
            upstream_local: None,
            downstream_local: "[fd00::2]:80".parse().ok(),
            downstream_remote: "[fd00::1]:40000".parse().ok(),
            bytes_received: 0,
            bytes_sent: 0,
            ..completed()
        }
    }

    #[test]
    fn the_text_format_is_istios() {
        check(
            &completed(),
            AccessLogEncoding::Text,
            "[2023-11-14T22:13:20.123Z] \"- - -\" 0 - - - \"-\" 78 1024 42 - \"-\" \"-\" \"-\" \
             \"-\" \"10.1.2.3:80\" PassthroughCluster 10.0.0.1:40001 10.1.2.3:80 10.0.0.1:40000 - \
             -\n",
        );
        check(
            &refused(),
            AccessLogEncoding::Text,
            "[2023-11-14T22:13:20.123Z] \"- - -\" 0 UF upstream_connect_refused - \"connect to \
             [fd00::2]:80: 'refused' there\" 0 0 42 - \"-\" \"-\" \"-\" \"-\" \"[fd00::2]:80\" \
             PassthroughCluster - [fd00::2]:80 [fd00::1]:40000 - -\n",
        );
    }

    #[test]
    fn json_has_istios_keys() {
        check(
            &refused(),
            AccessLogEncoding::Json,
            "{\"authority\":null,\"bytes_received\":0,\"bytes_sent\":0,\
             \"connection_termination_details\":null,\
             \"downstream_local_address\":\"[fd00::2]:80\",\
             \"downstream_remote_address\":\"[fd00::1]:40000\",\"duration\":42,\"method\":null,\
             \"path\":null,\"protocol\":null,\"request_id\":null,\"requested_server_name\":null,\
             \"response_code\":0,\"response_code_details\":\"upstream_connect_refused\",\
             \"response_flags\":\"UF\",\"route_name\":null,\
             \"start_time\":\"2023-11-14T22:13:20.123Z\",\
             \"upstream_cluster\":\"PassthroughCluster\",\"upstream_host\":\"[fd00::2]:80\",\
             \"upstream_local_address\":null,\"upstream_service_time\":null,\
             \"upstream_transport_failure_reason\":\"connect to [fd00::2]:80: \\\"refused\\\"\\nthere\",\
             \"user_agent\":null,\"x_forwarded_for\":null}\n",
        );
    }
}

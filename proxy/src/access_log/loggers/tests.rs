use fairlead_xds::envoy::config::{
    accesslog::v3::{AccessLogFilter, ResponseFlagFilter, access_log_filter::FilterSpecifier},
    core::v3::{DataSource, data_source::Specifier, substitution_format_string},
};

use super::*;
use crate::{
    compile::{Fault, Findings},
    ending::ResponseFlag,
};

fn text(format: &str) -> SubstitutionFormatString {
    SubstitutionFormatString {
        format: Some(substitution_format_string::Format::TextFormatSource(
            DataSource {
                specifier: Some(Specifier::InlineString(format.to_owned())),
                ..DataSource::default()
            },
        )),
        ..SubstitutionFormatString::default()
    }
}

fn any<M: Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

fn logger_of(typed_config: Option<Any>, filter: Option<AccessLogFilter>) -> Message {
    Message {
        name: "logger".to_owned(),
        filter,
        config_type: typed_config.map(ConfigType::TypedConfig),
    }
}

fn file_of(path: &str, format: Option<OfFile>) -> Message {
    let file = FileAccessLog {
        path: path.to_owned(),
        access_log_format: format,
    };
    logger_of(Some(any(&file)), None)
}

fn flag_filter(flags: &[&str]) -> Option<AccessLogFilter> {
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Some(AccessLogFilter {
        filter_specifier: Some(FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter {
            flags,
        })),
    })
}

#[test]
fn each_log_gets_the_lines_that_its_filter_accepts() {
    let directory = std::env::temp_dir().join(format!("fairlead-loggers-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = |name: &str| directory.join(name).display().to_string();
    let (sinks, writer) = Sinks::start(super::super::FLUSH_INTERVAL).unwrap();
    let outputs = Outputs::new();
    let surroundings = Surroundings {
        sinks: Some(&sinks),
        outputs: &outputs,
        ..Surroundings::none()
    };
    #[expect(deprecated, reason = "Envoy still takes it")]
    let old = OfFile::Format("old %DURATION%\n".to_owned());
    let mut failures = file_of(
        &path("failures"),
        Some(OfFile::LogFormat(text("%RESPONSE_FLAGS%\n"))),
    );
    failures.filter = flag_filter(&[]);
    let messages = [
        failures,
        file_of(&path("all"), Some(old)),
        file_of(&path("default"), None),
    ];
    let findings = Findings::default();
    let logs = AccessLogs::compile(&findings.at("access_log"), &messages, &surroundings).unwrap();
    assert!(!logs.is_empty());
    let mut rng = Rng::with_seed(1);
    logs.log(&Fields::default(), &mut rng);
    let failed = Fields {
        flags: Some(ResponseFlag::NoClusterFound).into(),
        ..Fields::default()
    };
    logs.log(&failed, &mut rng);
    drop((logs, sinks));
    writer.flush();
    let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
    assert_eq!(read("failures"), "NC\n");
    assert_eq!(read("all"), "old 0\nold 0\n");
    assert_eq!(read("default").lines().count(), 2);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn streams_are_written_as_files_are() {
    let (sinks, _writer) = Sinks::start(super::super::FLUSH_INTERVAL).unwrap();
    let outputs = Outputs::new();
    let surroundings = Surroundings {
        sinks: Some(&sinks),
        outputs: &outputs,
        ..Surroundings::none()
    };
    let stdout = StdoutAccessLog {
        access_log_format: Some(OfStdout::LogFormat(text("x"))),
    };
    let messages = [
        logger_of(Some(any(&stdout)), None),
        logger_of(Some(any(&StderrAccessLog::default())), None),
        file_of("/dev/stdout", None),
    ];
    let findings = Findings::default();
    let logs = AccessLogs::compile(&findings.at("access_log"), &messages, &surroundings).unwrap();
    let paths = logs
        .0
        .iter()
        .map(|logger| logger.output.sink.as_ref().unwrap().path());
    assert_eq!(
        paths.collect::<Vec<_>>(),
        ["/dev/stdout", "/dev/stderr", "/dev/stdout"]
    );
}

#[test]
fn listeners_share_what_they_write_alike() {
    let (sinks, _writer) = Sinks::start(super::super::FLUSH_INTERVAL).unwrap();
    let outputs = Outputs::new();
    let surroundings = Surroundings {
        sinks: Some(&sinks),
        outputs: &outputs,
        ..Surroundings::none()
    };
    let of = |format: &str| {
        let stdout = StdoutAccessLog {
            access_log_format: Some(OfStdout::LogFormat(text(format))),
        };
        let findings = Findings::default();
        let messages = [logger_of(Some(any(&stdout)), flag_filter(&[]))];
        AccessLogs::compile(&findings.at("access_log"), &messages, &surroundings).unwrap()
    };
    let output = |logs: &AccessLogs| logs.0[0].output.clone();
    let (one, other, third) = (of("a"), of("b"), of("a"));
    assert!(Arc::ptr_eq(&output(&one), &output(&third)));
    assert!(!Arc::ptr_eq(&output(&one), &output(&other)));
    drop((one, other, third));
    let fourth = of("c");
    let known = outputs.0.lock().unwrap();
    assert_eq!(known.as_ref().map(HashMap::len), Some(1), "{fourth:?}");
}

#[test]
fn a_log_that_is_not_done_is_left_out_and_told() {
    let elsewhere = Any {
        type_url: "type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.X"
            .to_owned(),
        value: Vec::new(),
    };
    let messages = [logger_of(Some(elsewhere), None), file_of("/tmp/log", None)];
    let findings = Findings::default();
    let logs = AccessLogs::compile(&findings.at("access_log"), &messages, &Surroundings::none());
    let logs = logs.unwrap();
    assert_eq!(logs.0.len(), 1);
    // It was only checked: no line goes anywhere.
    logs.log(&Fields::default(), &mut Rng::with_seed(1));
    let told: Vec<_> = findings
        .unsupported()
        .iter()
        .map(Fault::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "access_log[0].typed_config: the access log 'logger' of the type \
          type.googleapis.com/envoy.extensions.access_loggers.open_telemetry.v3.X is not supported, and \
          writes nothing"
        ]
    );
}

#[test]
fn all_faults_of_all_logs_are_told() {
    let (sinks, _writer) = Sinks::start(super::super::FLUSH_INTERVAL).unwrap();
    let outputs = Outputs::new();
    let surroundings = Surroundings {
        sinks: Some(&sinks),
        outputs: &outputs,
        ..Surroundings::none()
    };
    let broken = Any {
        type_url: FileAccessLog::type_url(),
        value: vec![0xff],
    };
    let mut faulty = file_of("", Some(OfFile::LogFormat(text("%NOPE%"))));
    faulty.filter = flag_filter(&["X"]);
    let messages = [
        faulty,
        logger_of(None, None),
        file_of("/nowhere/log", None),
        logger_of(Some(broken), None),
    ];
    let findings = Findings::default();
    assert!(AccessLogs::compile(&findings.at("access_log"), &messages, &surroundings).is_none());
    let faults = findings.faults();
    let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
    assert!(faults[0].starts_with("access_log[0].filter.response_flag_filter.flags[0]: 'X' is no"));
    assert_eq!(
        faults[1..4],
        [
            "access_log[0].typed_config.log_format.text_format_source: %NOPE% at byte 0 is not known",
            "access_log[0].typed_config.path: is empty",
            "access_log[1].typed_config: is missing",
        ]
    );
    assert_eq!(
        faults[4],
        "access_log[2].typed_config.path: the file '/nowhere/log' cannot be opened: No such file or \
         directory (os error 2); name a file that user and group of the proxy may write to"
    );
    assert!(faults[5].starts_with("access_log[3].typed_config: is no type.googleapis.com/envoy."));
    assert_eq!(faults.len(), 6);
}

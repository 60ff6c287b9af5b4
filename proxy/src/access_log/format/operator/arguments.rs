//! What an operator is given, checked as Envoy checks it.

use serde_json::Value as Json;

use super::{
    super::{
        field::{Address, Field, Side},
        parse::Call,
        time::TimeFormat,
    },
    Command, Formatter, MetadataPath, MetadataSource, Moment, Operator, Outcome, Point, Precision,
    StateForm, StatePath,
    table::{Kind, find, nearest},
};
use crate::access_log::Surroundings;

type Made = Result<Operator, String>;

pub(super) fn compile(
    call: &Call<'_>,
    surroundings: &Surroundings<'_>,
    formatters: &[Formatter],
) -> Outcome {
    let Call {
        name, max_length, ..
    } = call;
    let unknown = || {
        Outcome::Faulty(match nearest(name) {
            Some(nearest) => format!("is not known; did you mean %{nearest}%?"),
            None => "is not known".to_owned(),
        })
    };
    let Some(kind) = find(name) else {
        return unknown();
    };
    match kind {
        Kind::Undone => {
            return Outcome::Unsupported(
                Command::absent(),
                "is not supported, and is always -".to_owned(),
            );
        }
        Kind::OfExtension(extension) => {
            return if formatters.contains(&Formatter::Unsupported(extension)) {
                Outcome::Unsupported(
                    Command::absent(),
                    "is not supported, and is always -".to_owned(),
                )
            } else {
                Outcome::Faulty(format!("needs the formatter {extension}"))
            };
        }
        Kind::ReqWithoutQuery if !formatters.contains(&Formatter::ReqWithoutQuery) => {
            return Outcome::Faulty(
                "needs the formatter envoy.formatter.req_without_query".to_owned(),
            );
        }
        _ => {}
    }
    if let Err(fault) = fits(kind, call) {
        return Outcome::Faulty(fault);
    }
    let parameter = call.parameter.unwrap_or_default();
    match operator(kind, parameter, surroundings, formatters) {
        Err(fault) => Outcome::Faulty(fault),
        Ok(operator) => {
            let command = Command {
                operator,
                max_length: *max_length,
            };
            match kind {
                Kind::LocalTime { .. } => Outcome::Unsupported(
                    command,
                    "does not know the local time zone, and is in universal time".to_owned(),
                ),
                _ => Outcome::Sound(command),
            }
        }
    }
}

/// Whether a parameter and a length may, or must, be given.
fn fits(kind: Kind, call: &Call<'_>) -> Result<(), String> {
    let has_parameter = call
        .parameter
        .is_some_and(|parameter| !parameter.is_empty());
    match kind {
        Kind::Field(_) | Kind::Hostname if has_parameter || call.max_length.is_some() => {
            return Err("takes neither a parameter nor a length".to_owned());
        }
        Kind::CommonDuration
        | Kind::DynamicMetadata
        | Kind::ClusterMetadata
        | Kind::UpstreamMetadata
        | Kind::Environment
        | Kind::Header
        | Kind::ReqWithoutQuery
        | Kind::QueryParam
        | Kind::Coalesce
            if !has_parameter =>
        {
            return Err("needs a parameter in brackets".to_owned());
        }
        _ => {}
    }
    let takes_length = matches!(
        kind,
        Kind::Header
            | Kind::ReqWithoutQuery
            | Kind::QueryParam
            | Kind::QueryParams
            | Kind::Path
            | Kind::DynamicMetadata
            | Kind::Metadata
            | Kind::FilterState { .. }
            | Kind::Environment
            | Kind::Coalesce
    );
    if call.max_length.is_some() && !takes_length {
        return Err("takes no length".to_owned());
    }
    Ok(())
}

fn operator(
    kind: Kind,
    parameter: &str,
    surroundings: &Surroundings<'_>,
    formatters: &[Formatter],
) -> Made {
    let of_http = Ok(Operator::Field(Field::OfHttp));
    let metadata = |source, path: &str| Ok(metadata(source, path));
    match kind {
        Kind::Field(field) => Ok(Operator::Field(field)),
        Kind::StartTime => time(Moment::Start, parameter),
        Kind::EmitTime => time(Moment::Now, parameter),
        Kind::LocalTime { now } => {
            let moment = if now { Moment::Now } else { Moment::Start };
            time(
                moment,
                if parameter.is_empty() {
                    TimeFormat::LOCAL
                } else {
                    parameter
                },
            )
        }
        Kind::CertificateStart(side) => certificate_time(Moment::CertificateStart, side, parameter),
        Kind::CertificateEnd(side) => certificate_time(Moment::CertificateEnd, side, parameter),
        Kind::CommonDuration => common_duration(parameter),
        Kind::WithoutPort(address) => without_port(address, parameter),
        Kind::CodeDetails => Ok(Operator::CodeDetails {
            with_whitespace: parameter == "ALLOW_WHITESPACES",
        }),
        Kind::GrpcStatus => {
            one_of(parameter, &["CAMEL_STRING", "SNAKE_STRING", "NUMBER"])?;
            of_http
        }
        Kind::Header | Kind::ReqWithoutQuery => {
            header(parameter)?;
            of_http
        }
        Kind::QueryParams => {
            one_of(parameter, &["ORIG", "DECODED"])?;
            of_http
        }
        Kind::Path => {
            let mut options = parameter.split(':');
            one_of(options.next().unwrap_or_default(), &["WQ", "NQ"])?;
            one_of(
                options.next().unwrap_or_default(),
                &["ORIG", "PATH", "ORIG_OR_PATH"],
            )?;
            of_http
        }
        Kind::RequestedServerName => {
            let mut options = parameter.split(':');
            let sources = &["SNI_ONLY", "SNI_FIRST", "HOST_FIRST"];
            one_of(options.next().unwrap_or_default(), sources)?;
            one_of(
                options.next().unwrap_or_default(),
                &["ORIG", "HOST", "ORIG_OR_HOST"],
            )?;
            // No host but the server name is known of a connection.
            Ok(Operator::RequestedServerName)
        }
        Kind::DynamicMetadata => metadata(MetadataSource::Dynamic, parameter),
        Kind::ClusterMetadata => metadata(MetadataSource::Cluster, parameter),
        Kind::UpstreamMetadata => metadata(MetadataSource::UpstreamHost, parameter),
        Kind::Metadata => {
            let (source, path) = parameter.split_once(':').unwrap_or((parameter, ""));
            metadata(metadata_source(source)?, path)
        }
        Kind::FilterState { of_upstream } => filter_state(of_upstream, parameter),
        Kind::Environment => {
            let value = (surroundings.environment)(parameter);
            Ok(Operator::Constant(
                value.unwrap_or_else(|| "-".to_owned()).into(),
            ))
        }
        Kind::Hostname => Ok(Operator::Constant(match surroundings.hostname {
            "" => "-".into(),
            hostname => hostname.into(),
        })),
        Kind::Coalesce => coalesce(parameter, surroundings, formatters),
        Kind::QueryParam | Kind::Undone | Kind::OfExtension(_) => of_http,
    }
}

fn time(moment: Moment, format: &str) -> Made {
    let format = TimeFormat::parse(format)
        .map_err(|_| "has %n in its time, which has to stay on one line".to_owned())?;
    Ok(Operator::Time(moment, format))
}

fn certificate_time(moment: fn(Side) -> Moment, side: Side, format: &str) -> Made {
    time(moment(side), format)
}

fn common_duration(parameter: &str) -> Made {
    let parts: Vec<_> = parameter.split(':').collect();
    let (begin, end, precision) = match parts[..] {
        [begin, end] => (begin, end, "ms"),
        [begin, end, precision] => (begin, end, precision),
        _ => return Err("is written START:END:PRECISION".to_owned()),
    };
    let point = |name| match name {
        "DS_RX_BEG" | "DS_CX_BEG" => Point::DownstreamBegin,
        "DS_CX_END" => Point::DownstreamEnd,
        "US_CX_BEG" => Point::UpstreamConnectBegin,
        "US_CX_END" => Point::UpstreamConnectEnd,
        "US_HS_END" => Point::UpstreamHandshakeEnd,
        _ => Point::OfHttp,
    };
    let precision = match precision {
        "ms" => Precision::Milliseconds,
        "us" => Precision::Microseconds,
        "ns" => Precision::Nanoseconds,
        other => {
            return Err(format!(
                "has the precision '{other}'; accepted are ms, us and ns"
            ));
        }
    };
    Ok(Operator::CommonDuration {
        begin: point(begin),
        end: point(end),
        precision,
    })
}

fn without_port(address: Address, parameter: &str) -> Made {
    let mask = match parameter {
        "" => None,
        mask => match mask.parse() {
            Ok(mask @ 0..=128) => Some(mask),
            _ => {
                return Err(format!(
                    "has the prefix length '{mask}'; accepted are 0 to 128"
                ));
            }
        },
    };
    Ok(Operator::WithoutPort { address, mask })
}

/// An option may be left out.
fn one_of(option: &str, accepted: &[&str]) -> Result<(), String> {
    if option.is_empty() || accepted.contains(&option) {
        return Ok(());
    }
    Err(format!(
        "has the option '{option}'; accepted are {}",
        accepted.join(", ")
    ))
}

fn header(parameter: &str) -> Result<(), String> {
    if parameter.matches('?').count() > 1 {
        return Err("has more than one alternative header".to_owned());
    }
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    for name in parameter.split('?') {
        // Pseudo-headers begin with a colon.
        let plain = name.strip_prefix(':').unwrap_or(name);
        if !plain.bytes().all(is_of_name) {
            return Err(format!("has '{name}', which is no name of a header"));
        }
    }
    Ok(())
}

fn metadata(source: MetadataSource, parameter: &str) -> Operator {
    let mut parts = parameter.split(':');
    let namespace = parts.next().unwrap_or_default().into();
    Operator::Metadata(Box::new(MetadataPath {
        source,
        namespace,
        path: parts.map(Into::into).collect(),
    }))
}

fn metadata_source(source: &str) -> Result<MetadataSource, String> {
    Ok(match source {
        "DYNAMIC" => MetadataSource::Dynamic,
        "CLUSTER" => MetadataSource::Cluster,
        "ROUTE" => MetadataSource::Route,
        "UPSTREAM_HOST" => MetadataSource::UpstreamHost,
        "LISTENER" => MetadataSource::Listener,
        "LISTENER_FILTER_CHAIN" => MetadataSource::FilterChain,
        "VIRTUAL_HOST" => MetadataSource::VirtualHost,
        other => {
            return Err(format!(
                "has the metadata '{other}'; accepted are DYNAMIC, CLUSTER, ROUTE, UPSTREAM_HOST, \
                 LISTENER, LISTENER_FILTER_CHAIN and VIRTUAL_HOST"
            ));
        }
    })
}

fn filter_state(of_upstream: bool, parameter: &str) -> Made {
    let mut parts = parameter.splitn(3, ':');
    let key = parts.next().unwrap_or_default();
    let form = parts.next().unwrap_or_default();
    let field = parts.next().unwrap_or_default();
    if key.is_empty() {
        return Err("needs the key of an object".to_owned());
    }
    one_of(form, &["PLAIN", "TYPED", "FIELD"])?;
    if (form == "FIELD") == field.is_empty() {
        return Err("is written KEY:FIELD:NAME for a field, and without a name else".to_owned());
    }
    Ok(Operator::FilterState(Box::new(StatePath {
        of_upstream,
        key: key.into(),
        form: match form {
            "PLAIN" => StateForm::Plain,
            "FIELD" => StateForm::Field(field.into()),
            _ => StateForm::Typed,
        },
    })))
}

fn coalesce(parameter: &str, surroundings: &Surroundings<'_>, formatters: &[Formatter]) -> Made {
    let parameter: Json = serde_json::from_str(parameter)
        .map_err(|error| format!("has a parameter that is no JSON: {error}"))?;
    let Some(operators) = parameter.get("operators").and_then(Json::as_array) else {
        return Err("needs a list of the name 'operators'".to_owned());
    };
    if operators.is_empty() {
        return Err("has an empty list of operators".to_owned());
    }
    let commands = operators.iter().enumerate().map(|(index, operator)| {
        let fault = |fault: String| format!("has in operators[{index}] {fault}");
        let call = entry(operator).map_err(fault)?;
        match compile(&call, surroundings, formatters) {
            Outcome::Sound(command) | Outcome::Unsupported(command, _) => Ok(command),
            Outcome::Faulty(message) => Err(fault(format!("%{}%, which {message}", call.name))),
        }
    });
    Ok(Operator::Coalesce(commands.collect::<Result<_, _>>()?))
}

/// An operator is its name, or an object of name, parameter and length.
fn entry(operator: &Json) -> Result<Call<'_>, String> {
    let call = |name, parameter, max_length| Call {
        position: 0,
        name,
        parameter,
        max_length,
    };
    if let Some(name) = operator.as_str() {
        return Ok(call(name, None, None));
    }
    let Some(name) = operator.get("command").and_then(Json::as_str) else {
        return Err("neither a name nor an object with a 'command'".to_owned());
    };
    let parameter = match operator.get("param") {
        None => None,
        Some(Json::String(parameter)) => Some(parameter.as_str()),
        Some(_) => return Err("a 'param' that is no text".to_owned()),
    };
    let max_length = match operator.get("max_length") {
        None => None,
        Some(length) => match length
            .as_u64()
            .and_then(|length| usize::try_from(length).ok())
        {
            Some(length @ 1..) => Some(length),
            _ => return Err("a 'max_length' that is no positive number".to_owned()),
        },
    };
    Ok(call(name, parameter, max_length))
}

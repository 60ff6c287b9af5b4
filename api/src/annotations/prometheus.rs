//! The pod's Prometheus annotations → the pages that the proxy adds to its own metrics.
//!
//! They are read only where metrics are merged: else they are between the pod and Prometheus.

use std::collections::BTreeMap;

use super::{
    Faults,
    reader::{Given, Reader},
};
use crate::{
    app_metrics::{AppMetrics, DEFAULT_PATH, DEFAULT_PORT, Target},
    app_probes::Scheme,
    ports,
    values::{ValueError, check_count, join, parse_bool, parse_port, quoted},
};

/// Whether Prometheus asks the pod.
pub const SCRAPE: &str = "prometheus.io/scrape";
/// Where.
pub const PORT: &str = "prometheus.io/port";
/// The path of the page.
pub const PATH: &str = "prometheus.io/path";
/// With or without TLS.
pub const SCHEME: &str = "prometheus.io/scheme";
/// Further pages, `port:path` each.
pub const SCRAPE_TARGETS: &str = "prometheus.istio.io/scrape-targets";

/// What a pod's annotations say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Prometheus {
    /// The pod is not to be asked.
    Off,
    /// They point at one of the proxy's status ports already.
    AtStatusPort(u16),
    /// The application has these pages; perhaps none.
    Pages(AppMetrics),
}

/// Reads them; `status_ports` are the proxy's, now and at an earlier injection. An empty value counts
/// as none.
///
/// # Errors
/// All faults.
pub fn parse(
    annotations: &BTreeMap<String, String>,
    status_ports: &[u16],
) -> Result<Prometheus, Faults> {
    // Prometheus knows a key by the characters that its labels may have.
    let off = |(key, value): (&String, &String)| {
        let is_letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let key: String = key.chars().map(is_letter).collect();
        key == "prometheus_io_scrape" && parse_bool(value) == Ok(false)
    };
    if annotations.iter().any(off) {
        return Ok(Prometheus::Off);
    }
    read(status_ports, |key| {
        let value = annotations.get(key).filter(|value| !value.is_empty())?;
        let namespace = None;
        Some(Given { value, namespace })
    })
}

/// Reads the annotations that a function finds.
fn read<'a>(
    status_ports: &[u16],
    lookup: impl FnMut(&'static str) -> Option<Given<'a>>,
) -> Result<Prometheus, Faults> {
    let mut reader = Reader::new(lookup);
    let port = reader.read(PORT, |text| {
        let port = number(text)?;
        if status_ports.contains(&port) {
            return Ok(port);
        }
        application(port)
    });
    let scrape = reader.read(SCRAPE, parse_bool);
    let path = reader.read(PATH, path);
    let scheme = reader.read(SCHEME, scheme);
    let more = reader.read(SCRAPE_TARGETS, |text| targets(text, status_ports));
    reader.finish(())?;
    if let Some(port) = port.filter(|port| status_ports.contains(port)) {
        return Ok(Prometheus::AtStatusPort(port));
    }
    let mut pages = Vec::new();
    if scrape == Some(true) && (port.is_some() || more.is_none()) {
        pages.push(Target {
            port: port.unwrap_or(DEFAULT_PORT),
            path: path.unwrap_or_else(|| DEFAULT_PATH.to_owned()),
            scheme: scheme.unwrap_or_default(),
        });
    }
    for target in more.unwrap_or_default() {
        if !pages.contains(&target) {
            pages.push(target);
        }
    }
    Ok(Prometheus::Pages(AppMetrics { targets: pages }))
}

fn number(text: &str) -> Result<u16, ValueError> {
    parse_port(text).ok_or_else(|| ValueError::new("a port from 1 to 65535 is accepted"))
}

/// Merging one of the proxy's pages into the proxy's page would never end.
fn application(port: u16) -> Result<u16, ValueError> {
    if ports::RESERVED.contains(&port) {
        return Err(ValueError::new(format!(
            "a port of the application is accepted, not one of the mesh's ({}): the proxy's metrics \
             are merged anyway",
            join(&ports::RESERVED)
        )));
    }
    Ok(port)
}

/// As Prometheus does, takes a path for one from the root.
fn path(text: &str) -> Result<String, ValueError> {
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ValueError::new(
            "a path such as /metrics, of ASCII without spaces, is accepted",
        ));
    }
    let slash = if text.starts_with('/') { "" } else { "/" };
    Ok(format!("{slash}{text}"))
}

fn scheme(text: &str) -> Result<Scheme, ValueError> {
    match text {
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        _ => Err(ValueError::new("http or https is accepted")),
    }
}

fn targets(text: &str, status_ports: &[u16]) -> Result<Vec<Target>, ValueError> {
    check_count(text.split(',').count())?;
    let mut targets = Vec::new();
    for item in text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
    {
        let target = target(item, status_ports).map_err(|reason| {
            ValueError::new(format!(
                "{} is wrong: {reason}; a comma list such as 8080:/metrics,9090:/more is accepted",
                quoted(item)
            ))
        })?;
        targets.push(target);
    }
    Ok(targets)
}

fn target(item: &str, status_ports: &[u16]) -> Result<Target, ValueError> {
    let (port, page) = item.split_once(':').unwrap_or((item, DEFAULT_PATH));
    let port = application(number(port)?)?;
    if status_ports.contains(&port) {
        let words = format!("{port} is the proxy's status port");
        return Err(ValueError::new(words));
    }
    Ok(Target {
        port,
        path: path(if page.is_empty() { DEFAULT_PATH } else { page })?,
        scheme: Scheme::Http,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::annotations::table;

    fn parsed(pairs: &[(&str, &str)]) -> Result<Prometheus, Faults> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        parse(&pairs.iter().map(own).collect(), &[16020])
    }

    #[track_caller]
    fn check(pairs: &[(&str, &str)], pages: &[(u16, &str, Scheme)]) {
        let target = |(port, path, scheme): &(u16, &str, Scheme)| Target {
            port: *port,
            path: (*path).to_owned(),
            scheme: *scheme,
        };
        let targets = pages.iter().map(target).collect();
        assert_eq!(parsed(pairs), Ok(Prometheus::Pages(AppMetrics { targets })));
    }

    #[test]
    fn the_application_is_where_prometheus_would_look() {
        use Scheme::{Http, Https};
        let on = (SCRAPE, "true");
        check(&[], &[]);
        check(&[(PORT, "8080")], &[]);
        check(&[on], &[(80, "/metrics", Http)]);
        check(
            &[on, (PORT, "8080"), (PATH, "/m?x=1")],
            &[(8080, "/m?x=1", Http)],
        );
        check(&[on, (PATH, "m")], &[(80, "/m", Http)]);
        check(
            &[on, (PORT, "8443"), (SCHEME, "https")],
            &[(8443, "/metrics", Https)],
        );
        check(&[on, (PORT, ""), (PATH, "")], &[(80, "/metrics", Http)]);
        // Free once the status port has moved.
        check(&[on, (PORT, "15020")], &[(15020, "/metrics", Http)]);
        check(
            &[on, (PORT, "1"), (SCRAPE_TARGETS, "1:/metrics, 2:/b,,3")],
            &[
                (1, "/metrics", Http),
                (2, "/b", Http),
                (3, "/metrics", Http),
            ],
        );
        check(&[on, (SCRAPE_TARGETS, "2:/b")], &[(2, "/b", Http)]);
        check(&[(SCRAPE_TARGETS, "2:/b")], &[(2, "/b", Http)]);
    }

    #[test]
    fn a_pod_that_is_not_to_be_asked_is_let_alone() {
        for key in [SCRAPE, "prometheus.io.scrape", "prometheus_io_scrape"] {
            assert_eq!(parsed(&[(key, "false"), (PORT, "x")]), Ok(Prometheus::Off));
        }
    }

    #[test]
    fn annotations_may_point_at_the_proxy_already() {
        assert_eq!(
            parsed(&[(PORT, "16020")]),
            Ok(Prometheus::AtStatusPort(16020))
        );
    }

    #[test]
    fn what_is_read_is_what_the_reference_lists() {
        let mut asked = BTreeSet::new();
        read(&[], |key| {
            asked.insert(key);
            None
        })
        .unwrap();
        assert_eq!(asked, table::keys(table::Usage::Metrics));
    }

    #[test]
    fn every_fault_is_told() {
        let faults = parsed(&[
            (SCRAPE, "yes"),
            (PORT, "15090"),
            (PATH, "/my metrics"),
            (SCHEME, "HTTPS"),
            (SCRAPE_TARGETS, "80:/a,16020:/b"),
        ])
        .unwrap_err();
        assert_eq!(faults.0.len(), 5);
        let text = faults.to_string();
        for part in [
            "'yes' for annotation 'prometheus.io/scrape': true or false",
            "not one of the mesh's (15000,",
            "a path such as /metrics, of ASCII without spaces",
            "http or https is accepted",
            "'16020:/b' is wrong: 16020 is the proxy's status port",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        for port in ["0", "65536", "http", "-1", "+80", "80\n"] {
            assert!(parsed(&[(PORT, port)]).is_err(), "{port}");
        }
    }
}

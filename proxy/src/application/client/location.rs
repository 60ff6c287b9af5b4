//! Where a redirect leads: RFC 3986, as far as HTTP needs it.

use fairlead_api::app_probes::Scheme;
use hyper::http::uri::PathAndQuery;

/// What a `Location` header says.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Location {
    /// The same server.
    Same(PathAndQuery),
    /// A server.
    At {
        scheme: Scheme,
        host: String,
        port: u16,
        path: PathAndQuery,
    },
}

impl Location {
    /// Reads it, as seen from what was asked for; none if it is no HTTP address.
    pub(super) fn read(text: &str, scheme: Scheme, base: &PathAndQuery) -> Option<Self> {
        let text = text.split('#').next().unwrap_or("");
        if let Some(rest) = text.strip_prefix("//") {
            return Self::at(scheme, rest);
        }
        for scheme in [Scheme::Http, Scheme::Https] {
            let prefix = format!("{}://", scheme.as_str());
            let start = text.get(..prefix.len());
            if start.is_some_and(|start| start.eq_ignore_ascii_case(&prefix)) {
                return Self::at(scheme, &text[prefix.len()..]);
            }
        }
        let first = text.split(['/', '?']).next();
        if first.is_some_and(|segment| segment.contains(':')) {
            return None;
        }
        let path = if text.is_empty() {
            base.as_str().to_owned()
        } else if text.starts_with('/') {
            without_dots(text)
        } else if text.starts_with('?') {
            format!("{}{text}", base.path())
        } else {
            let directory = base.path().rsplit_once('/').map_or("", |(start, _)| start);
            without_dots(&format!("{directory}/{text}"))
        };
        Some(Self::Same(path_and_query(&path)?))
    }

    fn at(scheme: Scheme, rest: &str) -> Option<Self> {
        let default_port = match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let authority: hyper::http::uri::Authority = authority.parse().ok()?;
        Some(Self::At {
            scheme,
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            path: path_and_query(&without_dots(path))?,
        })
    }
}

/// Reads path and query as people write them: without the first slash, or with characters that are
/// to be encoded.
pub(crate) fn path_and_query(text: &str) -> Option<PathAndQuery> {
    let mut encoded = String::with_capacity(text.len() + 1);
    if !text.starts_with('/') {
        encoded.push('/');
    }
    for byte in text.split('#').next().unwrap_or("").bytes() {
        match byte {
            0x21..=0x7e if !b"\"<>\\^`{|}".contains(&byte) => encoded.push(byte.into()),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded.parse().ok()
}

/// The path without its `.` and `..`, and its query as it is.
fn without_dots(text: &str) -> String {
    let (path, query) = match text.find('?') {
        Some(start) => text.split_at(start),
        None => (text, ""),
    };
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn same(text: &str, expected: &str) {
        let base = PathAndQuery::from_static("/a/b/c?old");
        assert_eq!(
            Location::read(text, Scheme::Http, &base),
            Some(Location::Same(expected.parse().unwrap())),
            "{text}"
        );
    }

    #[test]
    fn a_relative_location_stays_at_the_server() {
        same("/x", "/x");
        same("/x?y=1#z", "/x?y=1");
        same("d", "/a/b/d");
        same("./d", "/a/b/d");
        same("../d?x=/../y", "/a/d?x=/../y");
        same("../../../..", "/");
        same("..", "/a/");
        same("?new", "/a/b/c?new");
        same("#top", "/a/b/c?old");
        same("/a b", "/a%20b");
        same("/login?to=http://x/", "/login?to=http://x/");
    }

    #[test]
    fn an_absolute_location_names_the_server() {
        let base = PathAndQuery::from_static("/");
        for (text, scheme, host, port, path) in [
            ("http://10.0.0.1/x", Scheme::Http, "10.0.0.1", 80, "/x"),
            (
                "HTTPS://[fd00::1]:8443",
                Scheme::Https,
                "[fd00::1]",
                8443,
                "/",
            ),
            ("//10.0.0.1:81/x", Scheme::Http, "10.0.0.1", 81, "/x"),
            (
                "https://shop.example?x",
                Scheme::Https,
                "shop.example",
                443,
                "/?x",
            ),
        ] {
            let expected = Location::At {
                scheme,
                host: host.to_owned(),
                port,
                path: path.parse().unwrap(),
            };
            assert_eq!(
                Location::read(text, Scheme::Http, &base),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_http_address_is_not_followed() {
        let base = PathAndQuery::from_static("/");
        for text in ["ftp://a/", "mailto:a", "http://", "//"] {
            assert_eq!(Location::read(text, Scheme::Http, &base), None, "{text}");
        }
    }

    #[test]
    fn a_path_is_completed_and_encoded() {
        for (text, expected) in [
            ("", "/"),
            ("healthz", "/healthz"),
            ("/a b?c=\"d\"", "/a%20b?c=%22d%22"),
            ("/é", "/%C3%A9"),
            ("/a%20b", "/a%20b"),
        ] {
            assert_eq!(path_and_query(text).unwrap().as_str(), expected);
        }
    }
}

//! What was seen of one run, and how two of them differ.

use std::collections::BTreeMap;

/// Ports from here on are the kernel's choice, different at each run.
const FIRST_EPHEMERAL: u32 = 32_768;

/// What was seen of one run.
#[derive(Debug, Default)]
pub(crate) struct Observation {
    /// What clients and upstreams saw, in order, by what they did.
    pub(crate) seen: Vec<(String, String)>,
    /// The lines of the access log, by endpoint and then in their order.
    pub(crate) log: Vec<String>,
    /// Statistics by name, those that are not zero.
    pub(crate) statistics: BTreeMap<String, String>,
}

/// One place where two observations are not equal.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Difference {
    /// `seen DEED`, `log FIELD`, `log lines` or `stat NAME`.
    pub(crate) what: String,
    /// What Envoy shows.
    pub(crate) envoy: String,
    /// What ours shows.
    pub(crate) ours: String,
}

impl Observation {
    /// The access log of a file: without ephemeral ports, by endpoint.
    pub(crate) fn set_log(&mut self, text: &str) {
        self.log = text.lines().map(without_ephemeral_ports).collect();
        // Which endpoint comes first is chance.
        self.log
            .sort_by_key(|line| endpoint(line).map(str::to_owned));
    }

    /// All places where two observations are not equal.
    pub(crate) fn differences(&self, ours: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        compare_seen(&mut found, &self.seen, &ours.seen);
        compare_logs(&mut found, &self.log, &ours.log);
        let names: std::collections::BTreeSet<_> = self
            .statistics
            .keys()
            .chain(ours.statistics.keys())
            .collect();
        for name in names {
            let value = |of: &Self| {
                of.statistics
                    .get(name)
                    .map_or("none or 0", |value| value)
                    .to_owned()
            };
            note(&mut found, format!("stat {name}"), value(self), value(ours));
        }
        found
    }
}

fn note(found: &mut Vec<Difference>, what: String, envoy: String, ours: String) {
    if envoy != ours {
        found.push(Difference { what, envoy, ours });
    }
}

fn compare_seen(
    found: &mut Vec<Difference>,
    envoy: &[(String, String)],
    ours: &[(String, String)],
) {
    let none = (String::new(), "(nothing)".to_owned());
    for index in 0..envoy.len().max(ours.len()) {
        let envoy = envoy.get(index).unwrap_or(&none);
        let ours = ours.get(index).unwrap_or(&none);
        let deed = if envoy.0.is_empty() {
            &ours.0
        } else {
            &envoy.0
        };
        note(
            found,
            format!("seen {deed}"),
            envoy.1.clone(),
            ours.1.clone(),
        );
    }
}

fn compare_logs(found: &mut Vec<Difference>, envoy: &[String], ours: &[String]) {
    if envoy.len() != ours.len() {
        found.push(Difference {
            what: "log lines".to_owned(),
            envoy: format!("{}: {}", envoy.len(), envoy.join(" / ")),
            ours: format!("{}: {}", ours.len(), ours.join(" / ")),
        });
        return;
    }
    for (envoy, ours) in envoy.iter().zip(ours) {
        let (envoy, ours): (Vec<_>, Vec<_>) =
            (envoy.split('\t').collect(), ours.split('\t').collect());
        for index in 0..envoy.len().max(ours.len()) {
            let envoy = envoy.get(index).copied().unwrap_or_default();
            let ours = ours.get(index).copied().unwrap_or_default();
            let field = envoy.split_once('=').map_or("line", |(name, _)| name);
            note(
                found,
                format!("log {field}"),
                envoy.to_owned(),
                ours.to_owned(),
            );
        }
    }
}

fn endpoint(line: &str) -> Option<&str> {
    line.split('\t').find(|field| field.starts_with("up_host="))
}

/// Writes `:PORT` (or `=PORT`) for each port that the kernel chose.
pub(crate) fn without_ephemeral_ports(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find(':') {
        let (before, after) = rest.split_at(at + 1);
        out.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, further) = after.split_at(digits);
        let ephemeral = number
            .parse::<u32>()
            .is_ok_and(|port| (FIRST_EPHEMERAL..=65_535).contains(&port));
        out.push_str(if ephemeral { "PORT" } else { number });
        rest = further;
    }
    out.push_str(rest);
    out
}

/// Whether a text is of a pattern, in which `*` stands for anything.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pattern
        .contains('*')
        .then(|| pattern.rsplit('*').next())
        .flatten()
    else {
        return rest.is_empty();
    };
    let middle: Vec<_> = parts.collect();
    for part in &middle[..middle.len() - 1] {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn only_ports_that_the_kernel_chose_are_hidden() {
    assert_eq!(
        without_ephemeral_ports("a=127.0.0.1:10000 b=[::1]:40000 c=x:70000"),
        "a=127.0.0.1:10000 b=[::1]:PORT c=x:70000"
    );
}

#[test]
fn a_star_stands_for_anything() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "ab", true),
        ("*", "", true),
        ("a*c*e", "abcde", true),
        ("a*c*e", "abde", false),
        ("a*a", "a", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

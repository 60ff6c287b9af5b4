//! The one table of configurations whose rules are golden files: for the tests of their text, and
//! of what then stands in a kernel.

/// Settings, and what they meet.
pub(crate) struct Configuration {
    /// The name of the golden file.
    pub(crate) name: &'static str,
    /// The command line.
    pub(crate) arguments: Vec<&'static str>,
    /// The name servers of `/etc/resolv.conf`.
    pub(crate) name_servers: Vec<&'static str>,
}

/// All of them.
pub(crate) fn configurations() -> Vec<Configuration> {
    let lines = include_str!("configurations.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(configuration).collect()
}

fn configuration(line: &'static str) -> Configuration {
    let (name, settings) = line.split_once(':').expect("a name before the settings");
    let (arguments, name_servers) = settings.split_once(" ; ").unwrap_or((settings, ""));
    let mut arguments: Vec<_> = arguments.split_whitespace().collect();
    if !arguments.contains(&"--ipv6") {
        arguments.extend(["--ipv6", "on"]);
    }
    Configuration {
        name,
        arguments,
        name_servers: name_servers.split_whitespace().collect(),
    }
}

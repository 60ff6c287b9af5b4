//! The name servers that the processes of the pod ask.

use std::{fs, io, net::IpAddr};

const CONFIGURATION: &str = "/etc/resolv.conf";

/// The resolver's configuration could not be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "read {CONFIGURATION}: name the servers by --dns-server, or redirect questions to any by \
     --capture-all-dns"
)]
pub struct ResolverError(#[source] io::Error);

/// The name servers of `/etc/resolv.conf` (`resolv.conf(5)`), in order; none where it is missing.
///
/// # Errors
/// The file cannot be read.
pub fn name_servers() -> Result<Vec<IpAddr>, ResolverError> {
    match fs::read_to_string(CONFIGURATION) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(ResolverError(error)),
    }
}

/// An address of a link has its zone left out: rules know none.
fn parse(text: &str) -> Vec<IpAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let address = match (words.next(), words.next()) {
            (Some("nameserver"), Some(address)) => address.split('%').next().unwrap_or_default(),
            _ => continue,
        };
        if let Ok(address) = address.parse()
            && !servers.contains(&address)
        {
            servers.push(address);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::{ResolverError, parse};
    use crate::random::Random;

    #[test]
    fn a_configuration_that_cannot_be_read_has_a_remedy() {
        let refused = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(
            ResolverError(refused).to_string(),
            "read /etc/resolv.conf: name the servers by --dns-server, or redirect questions to \
             any by --capture-all-dns"
        );
    }

    #[test]
    fn servers_are_read_in_order_and_once() {
        let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.96.0.10\n\
                    \tnameserver  fe80::1%eth0 \nnameserver 10.96.0.10\nnameserver x\nnameserver\n\
                    options ndots:5\n";
        assert_eq!(
            parse(text),
            ["10.96.0.10", "fe80::1"].map(|address| address.parse::<std::net::IpAddr>().unwrap())
        );
        assert!(parse("").is_empty());
    }

    #[test]
    fn no_mutation_of_a_configuration_names_another_server() {
        let text = "search a b\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\noptions ndots:5\n";
        let mut random = Random::new(12);
        for _ in 0..20_000 {
            let pieces = ["nameserver", "%", "::", "\n", "\u{a0}", "1.1.1.1"];
            let mutation = random.mutation(text, &pieces);
            for server in parse(&mutation) {
                let mut words = mutation
                    .split_whitespace()
                    .filter_map(|word| word.split('%').next());
                assert!(words.any(|word| word.parse() == Ok(server)), "{mutation}");
            }
        }
    }
}

//! The tags that Envoy has without being told
//! (<https://www.envoyproxy.io/docs/envoy/latest/operations/stats_overview>), as far as statistics of
//! connections have them.

use super::Extracted;

macro_rules! tags {
    ($($tag:ident = $name:literal),+ $(,)?) => {
        /// A tag of Envoy's.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum DefaultTag {
            $(#[doc = concat!("`", $name, "`")] $tag,)+
        }

        impl DefaultTag {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$tag),+];

            /// The name in the configuration.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$tag => $name,)+
                }
            }
        }
    };
}

tags! {
    CipherSuite = "cipher_suite",
    ClusterName = "envoy.cluster_name",
    ConnectionLimitPrefix = "envoy.connection_limit_prefix",
    HttpConnectionManagerPrefix = "envoy.http_conn_manager_prefix",
    ListenerAddress = "envoy.listener_address",
    LocalNetworkRateLimitPrefix = "envoy.local_network_ratelimit_prefix",
    ProxyProtocolVersion = "envoy.proxy_protocol_version",
    RbacPrefix = "envoy.rbac_prefix",
    ResponseCodeClass = "envoy.response_code_class",
    SslCipher = "envoy.ssl_cipher",
    SslCurve = "envoy.ssl_curve",
    SslSignatureAlgorithm = "envoy.ssl_sigalg",
    SslVersion = "envoy.ssl_version",
    TcpPrefix = "envoy.tcp_prefix",
    TlsCertificate = "envoy.tls_certificate",
    WorkerId = "envoy.worker_id",
    XdsResourceName = "envoy.xds_resource_name",
}

/// The tags of a name that are looked for.
pub(super) fn find<'a>(name: &'a str, tags: &[DefaultTag], extracted: &mut Extracted<'a>) {
    let mut finder = Finder {
        name,
        tags,
        extracted,
    };
    let Some((first, rest)) = name.split_once('.') else {
        return;
    };
    finder.response_code_class();
    match first {
        "listener" => finder.listener(rest),
        "cluster" => finder.cluster(rest),
        "http" => finder.word(rest, DefaultTag::HttpConnectionManagerPrefix),
        "tcp" => {
            finder.rbac(first, rest);
            finder.word(rest, DefaultTag::TcpPrefix);
        }
        "connection_limit" => finder.word(rest, DefaultTag::ConnectionLimitPrefix),
        "local_rate_limit" => finder.word(rest, DefaultTag::LocalNetworkRateLimitPrefix),
        "sds" => finder.word(rest, DefaultTag::XdsResourceName),
        "server" | "thread_local_cluster_manager" => finder.worker(rest),
        "proxy_proto" => finder.proxy_protocol(rest),
        _ => finder.rbac(first, rest),
    }
}

struct Finder<'a, 'b> {
    name: &'a str,
    tags: &'b [DefaultTag],
    extracted: &'b mut Extracted<'a>,
}

impl<'a> Finder<'a, '_> {
    /// Notes a tag whose value is a piece of the name, to be cut out with so many bytes around it.
    fn note(&mut self, tag: DefaultTag, value: &'a str, before: usize, after: usize) {
        if self.tags.contains(&tag) && !value.is_empty() {
            let start = value.as_ptr().addr() - self.name.as_ptr().addr();
            let cut = start - before..start + value.len() + after;
            self.extracted.add(tag.name(), value, cut);
        }
    }

    /// `_rq_<digit>xx` at the end.
    fn response_code_class(&mut self) {
        if let Some(before) = self.name.strip_suffix("xx")
            && let Some(class) = before.len().checked_sub(1)
            && before.as_bytes()[class].is_ascii_digit()
            && before[..class].ends_with("_rq_")
        {
            self.note(DefaultTag::ResponseCodeClass, &before[class..], 0, 0);
        }
    }

    /// The first word, if there are more.
    fn word(&mut self, rest: &'a str, tag: DefaultTag) {
        if let Some((word, _)) = rest.split_once('.') {
            self.note(tag, word, 0, 1);
        }
    }

    fn listener(&mut self, rest: &'a str) {
        let Some((address, rest)) = split_address(rest) else {
            return;
        };
        if let Some(rest) = rest.strip_prefix("http.") {
            self.word(rest, DefaultTag::HttpConnectionManagerPrefix);
        }
        // The administration's own listener has no address.
        if address == "admin" {
            return;
        }
        self.tls(rest, DefaultTag::SslCipher);
        self.worker(rest);
        self.note(DefaultTag::ListenerAddress, address, 0, 1);
    }

    fn cluster(&mut self, rest: &'a str) {
        let Some((cluster, after)) = rest.split_once('.') else {
            return;
        };
        self.tls(after, DefaultTag::CipherSuite);
        self.note(DefaultTag::ClusterName, cluster, 0, 1);
    }

    /// What a handshake agreed on, and the certificates.
    fn tls(&mut self, rest: &'a str, cipher: DefaultTag) {
        let Some(start) = rest.find("ssl.") else {
            return;
        };
        // A word of its own.
        if start > 0 && !rest[..start].ends_with('.') {
            return;
        }
        let Some((what, value)) = rest[start + 4..].split_once('.') else {
            return;
        };
        match what {
            "ciphers" => self.note(cipher, value, 1, 0),
            "curves" => self.note(DefaultTag::SslCurve, value, 1, 0),
            "sigalgs" => self.note(DefaultTag::SslSignatureAlgorithm, value, 1, 0),
            "versions" => self.note(DefaultTag::SslVersion, value, 1, 0),
            "certificate" => {
                if let Some((certificate, _)) = value.rsplit_once('.') {
                    self.note(DefaultTag::TlsCertificate, certificate, 0, 1);
                }
            }
            _ => {}
        }
    }

    /// `worker_<number>.`
    fn worker(&mut self, rest: &'a str) {
        let number = rest
            .strip_prefix("worker_")
            .and_then(|rest| rest.split_once('.'));
        if let Some((number, _)) = number
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            self.note(DefaultTag::WorkerId, number, 0, 1);
        }
    }

    /// `<prefix>.rbac.`
    fn rbac(&mut self, prefix: &'a str, rest: &str) {
        if rest.starts_with("rbac.") {
            self.note(DefaultTag::RbacPrefix, prefix, 0, 1);
        }
    }

    /// `versions.v<number>.`
    fn proxy_protocol(&mut self, rest: &'a str) {
        const BEFORE: &str = "versions.v";
        let number = rest
            .strip_prefix(BEFORE)
            .and_then(|rest| rest.split_once('.'));
        if let Some((number, _)) = number {
            self.note(DefaultTag::ProxyProtocolVersion, number, BEFORE.len(), 1);
        }
    }
}

/// An IPv4 address with its port, or else the first word; and the rest.
fn split_address(rest: &str) -> Option<(&str, &str)> {
    let mut ends = rest.match_indices('.').map(|(end, _)| end);
    let first = ends.next()?;
    let whole = ends.nth(2).filter(|end| is_ipv4_with_port(&rest[..*end]));
    let end = whole.unwrap_or(first);
    Some((&rest[..end], &rest[end + 1..]))
}

fn is_ipv4_with_port(text: &str) -> bool {
    text.split_once('_').is_some_and(|(ip, port)| {
        ip.parse::<std::net::Ipv4Addr>().is_ok() && port.parse::<u16>().is_ok()
    })
}

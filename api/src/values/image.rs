//! References to container images.

use std::str::FromStr;

use super::ValueError;

/// A container image reference, `[registry/]name[:tag][@digest]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageReference(String);

impl ImageReference {
    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads the grammar of the OCI distribution's references, which the kubelet reads; whether there is
/// such an image is its to say.
impl FromStr for ImageReference {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if is_reference(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError(
                "an image reference such as registry/fairlead/proxy:0.1.0 is accepted".to_owned(),
            ))
        }
    }
}

fn is_reference(text: &str) -> bool {
    let (text, digest) = split(text, text.find('@'));
    // A colon before the last slash is that of the registry's port.
    let last = text.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = split(text, text[last..].find(':').map(|colon| last + colon));
    let (first, path) = split(name, name.find('/'));
    let is_path = |path: &str| path.split('/').all(is_component);
    let is_name = match path {
        Some(path) => (is_registry(first) || is_component(first)) && is_path(path),
        None => is_component(first),
    };
    is_name && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

/// What stands before a sign, and what after it.
fn split(text: &str, sign: Option<usize>) -> (&str, Option<&str>) {
    match sign {
        Some(sign) => (&text[..sign], Some(&text[sign + 1..])),
        None => (text, None),
    }
}

/// A host, perhaps with a port; an address of IPv6 has brackets.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
            let port = rest.strip_prefix(':');
            if !is_address || (port.is_none() && !rest.is_empty()) {
                return false;
            }
            ("v6", port)
        }
        None => split(text, text.find(':')),
    };
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        !label.is_empty()
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Words of small letters and digits, between which stand a dot, one or two underscores, or dashes.
fn is_component(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separators = text.split(is_letter);
    // Before the first letter and after the last one nothing stands.
    let is_bounded = text.starts_with(is_letter) && text.ends_with(is_letter);
    is_bounded
        && separators.all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

fn is_tag(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with(['.', '-'])
}

fn is_digest(text: &str) -> bool {
    let Some((algorithm, hash)) = text.split_once(':') else {
        return false;
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    hash.len() == length
        && hash
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_what_the_kubelet_reads() {
        let hash = "0a".repeat(32);
        for good in [
            "proxy",
            "proxy:latest",
            "fairlead/proxy:1",
            "r.example/fairlead/proxy",
            "localhost:5000/a__b/c.d_e---f",
            "R.Example:5000/a",
            "[fd00::1]:5000/a:1",
            "[fd00::1]/a",
            "a:V1.0_rc-1",
            &format!("r.example:5000/a/b@sha256:{hash}"),
            &format!("a/b:1@sha256:{hash}"),
        ] {
            assert!(good.parse::<ImageReference>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a\"",
            "a:",
            "a:-1",
            "a:b:c",
            "/a",
            "a/",
            "a//b",
            "Proxy",
            "r.example/Proxy",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "r.example:port/a",
            "-r.example/a",
            "[fd00]/a",
            "[fd00::1]x/a",
            "{{x}}",
            "a@sha256:0a",
            "a@sha256",
            "a@md5:0a",
            "é",
            &format!("a@sha256:{hash}@sha256:{hash}"),
            &format!("a@sha256:{}", "0A".repeat(32)),
            &format!("a:{}", "1".repeat(129)),
        ] {
            assert!(bad.parse::<ImageReference>().is_err(), "{bad}");
        }
    }
}

//! Address ranges.

use std::net::IpAddr;

use fairlead_xds::envoy::config::core::v3::CidrRange;
use ipnet::IpNet;

use crate::compile::At;

/// A range of addresses (`envoy.config.core.v3.CidrRange`), without the bits past its length.
///
/// No length means 0, which is every address of the family, as in Envoy.
pub fn cidr_range(at: &At<'_>, range: &CidrRange) -> Option<IpNet> {
    let CidrRange {
        address_prefix,
        prefix_len,
    } = range;
    let Ok(address) = address_prefix.parse::<IpAddr>() else {
        return at
            .field("address_prefix")
            .fault(format!("'{address_prefix}' is no IP address"));
    };
    let length = prefix_len.map_or(0, |length| length.value);
    let net = u8::try_from(length)
        .ok()
        .and_then(|length| IpNet::new(address, length).ok());
    match net {
        Some(net) => Some(net.trunc()),
        None => at
            .field("prefix_len")
            .fault(format!("{length} is longer than an address is")),
    }
}

#[cfg(test)]
mod tests {
    use fairlead_xds::google::protobuf::UInt32Value;

    use super::*;
    use crate::compile::{Fault, Findings};

    #[track_caller]
    fn check(address: &str, length: Option<u32>, expected: Result<&str, &str>) {
        let findings = Findings::default();
        let range = CidrRange {
            address_prefix: address.to_owned(),
            prefix_len: length.map(|value| UInt32Value { value }),
        };
        let net = cidr_range(&findings.at("range"), &range).map(|net| net.to_string());
        let fault = findings.faults().first().map(Fault::to_string);
        assert_eq!(net.as_deref(), expected.ok());
        assert_eq!(fault.as_deref(), expected.err());
    }

    #[test]
    fn ranges_are_truncated_to_their_length() {
        check("10.1.2.3", Some(8), Ok("10.0.0.0/8"));
        check("10.1.2.3", Some(32), Ok("10.1.2.3/32"));
        check("fd00::1", Some(16), Ok("fd00::/16"));
        check("10.1.2.3", None, Ok("0.0.0.0/0"));
    }

    #[test]
    fn faults_name_the_field() {
        check(
            "ten",
            Some(8),
            Err("range.address_prefix: 'ten' is no IP address"),
        );
        check(
            "10.0.0.0",
            Some(33),
            Err("range.prefix_len: 33 is longer than an address is"),
        );
        check(
            "fd00::",
            Some(300),
            Err("range.prefix_len: 300 is longer than an address is"),
        );
    }
}

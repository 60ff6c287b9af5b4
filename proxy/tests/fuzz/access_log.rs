//! Formats of access logs: a format is sound and can be written, or each of its faults is told.

use fairlead_proxy::access_log::format::{DEFAULT, check};

use crate::{
    fuzz,
    mutation::{mutated_text, one_of},
};

const FORMATS: &[&str] = &[
    DEFAULT,
    "%START_TIME(%Y-%m-%dT%H:%M:%S.%3f%z)% %START_TIME(%s.%9f)% %EMIT_TIME% %START_TIME_LOCAL(%c)%",
    "%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS%",
    "%UPSTREAM_TRANSPORT_FAILURE_REASON% %DOWNSTREAM_TRANSPORT_FAILURE_REASON% %UPSTREAM_CLUSTER%",
    "%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_CERT_V_START(%b %d %H:%M:%S %Y %Z)% %DOWNSTREAM_TLS_VERSION%",
    "%FILTER_STATE(envoy.a:PLAIN):7% %FILTER_STATE(a:FIELD:b)% %DYNAMIC_METADATA(a:b:c):12% %METADATA(CLUSTER:a:b)%",
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(24)% %UPSTREAM_HOST% %REQ(X?Y):3% %ENVIRONMENT(HOME):4%",
    "%COMMON_DURATION(DS_RX_BEG:US_TX_END:us)% %UNIQUE_ID% %HOSTNAME% %REQUESTED_SERVER_NAME(SNI_FIRST:ORIG)%",
    "100%% %COALESCE({\"operators\": [\"HOSTNAME\", {\"command\": \"REQ\", \"param\": \"a\"}]})%",
];

const PIECES: &[&str] = &[
    "",
    "%",
    "%%",
    "(",
    ")",
    "()",
    ")%",
    ":",
    ":0",
    ":-1",
    ":18446744073709551616",
    "?",
    "\"",
    "\n",
    "\0",
    "é",
    "\u{10ffff}",
    "%START_TIME(",
    "%f",
    "%12f",
    "%E*S",
    "%EMIT_TIME%",
    "%COALESCE({\"operators\":[",
    "{",
    "}",
    "[",
    "]",
    "%CEL(a)%",
    "(999)",
    "(:)",
    "_",
];

#[test]
fn every_mutated_format_is_sound_or_told_what_is_wrong() {
    let make = |rng: &mut fastrand::Rng| {
        let format = one_of(rng, FORMATS);
        mutated_text(rng, format, PIECES)
    };
    fuzz(5_000, make, |format| {
        let Err(faults) = check(format) else {
            return;
        };
        assert!(!faults.is_empty());
        for fault in faults {
            assert!(fault.path.starts_with("format"), "{fault}");
            assert!(!fault.message.is_empty());
        }
    });
}

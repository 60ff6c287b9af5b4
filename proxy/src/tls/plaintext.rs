//! How a caller of plaintext notices that the other side takes mTLS alone.

use std::fmt;

/// Why a plaintext connection was not served, as far as it shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PlaintextRefused {
    /// The peer answered with an alert of TLS.
    Alert,
    /// The peer ended the connection after our first bytes, without a byte of its own.
    Silent,
}

impl PlaintextRefused {
    /// What the end of a connection tells, by how much was sent over it and the first bytes that came
    /// back. Asked only of ends that the peer made early: by a reset, or before a request was answered.
    pub fn at_end(sent_bytes: u64, first_received: &[u8]) -> Option<Self> {
        if is_answer_to_plaintext(first_received) {
            return Some(Self::Alert);
        }
        (sent_bytes > 0 && first_received.is_empty()).then_some(Self::Silent)
    }

    /// One token for machines.
    pub fn token(self) -> &'static str {
        match self {
            Self::Alert => "upstream_requires_mtls",
            Self::Silent => "upstream_closed_on_plaintext",
        }
    }
}

impl fmt::Display for PlaintextRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alert => {
                "peer requires mTLS: it answered plaintext with an alert of TLS; no traffic policy \
                 here says that connections to it are encrypted"
            }
            Self::Silent => {
                "the peer ended the connection without an answer to plaintext: peer requires mTLS, \
                 or its application refused"
            }
        })
    }
}

/// Whether these bytes, the first that came back on a plaintext connection, are the alert with which
/// a port for TLS alone answers.
pub fn is_answer_to_plaintext(first: &[u8]) -> bool {
    // Type alert, version 3.x, two bytes of level and description.
    matches!(first, [0x15, 0x03, 0..=4, 0, 2, 1 | 2, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_certain_and_silence_is_a_guess() {
        for (sent, received, expected) in [
            (
                10,
                &[0x15, 3, 3, 0, 2, 2, 40][..],
                Some(PlaintextRefused::Alert),
            ),
            (10, &[0x15, 3, 1, 0, 2, 2], Some(PlaintextRefused::Alert)),
            (10, &[0x15, 3, 1, 0], None),
            (10, b"HTTP/1.1 503", None),
            (10, b"", Some(PlaintextRefused::Silent)),
            (0, b"", None),
        ] {
            assert_eq!(PlaintextRefused::at_end(sent, received), expected);
        }
        for refused in [PlaintextRefused::Alert, PlaintextRefused::Silent] {
            assert!(refused.to_string().contains("peer requires mTLS"));
        }
    }
}

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
    /// What the end of a connection tells, by the first bytes that were sent over it and the first that
    /// came back. Silence is asked for only where the peer ended the connection, and first.
    pub fn at_end(first_sent: &[u8], first_received: &[u8], by_peer: bool) -> Option<Self> {
        if first_sent.is_empty() || is_handshake(first_sent) {
            return None;
        }
        if is_answer_to_plaintext(first_received) {
            return Some(Self::Alert);
        }
        (by_peer && first_received.is_empty()).then_some(Self::Silent)
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

/// Whether the sender speaks TLS itself, so that an alert answers that.
fn is_handshake(first: &[u8]) -> bool {
    matches!(first, [0x16, 0x03, ..] | [0x16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_certain_and_silence_is_a_guess() {
        const REQUEST: &[u8] = b"GET / H";
        const HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0];
        const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];
        let (alert, silent) = (
            Some(PlaintextRefused::Alert),
            Some(PlaintextRefused::Silent),
        );
        for (sent, received, by_peer, expected) in [
            (REQUEST, ALERT, true, alert),
            (REQUEST, ALERT, false, alert),
            (REQUEST, &[0x15, 3, 1, 0, 2, 2], true, alert),
            (REQUEST, &[0x15, 3, 1, 0], true, None),
            (REQUEST, b"HTTP/1.1 503", true, None),
            (REQUEST, b"", true, silent),
            (REQUEST, b"", false, None),
            (b"", b"", true, None),
            (b"", ALERT, true, None),
            (HELLO, ALERT, true, None),
            (HELLO, b"", true, None),
        ] {
            assert_eq!(
                PlaintextRefused::at_end(sent, received, by_peer),
                expected,
                "{sent:?} {received:?} {by_peer}"
            );
        }
        for refused in [PlaintextRefused::Alert, PlaintextRefused::Silent] {
            assert!(refused.to_string().contains("peer requires mTLS"));
        }
    }
}

//! Is this HTTP, and which version
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/listener_filters/http_inspector>).
//!
//! The first line alone tells. It is read by Envoy's rule, not by a parser of requests: Envoy takes a
//! request line without a version, or with one that nobody speaks, for HTTP/1.0, and any method that
//! is a token. What comes after is the business of who serves the connection.

/// In which a request line must end.
pub const MAX_REQUEST_LINE: usize = 64 * 1024;

/// How a connection of HTTP/2 starts (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the bytes are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It cannot be told yet.
    NeedMore,
    /// Not HTTP.
    NotHttp,
    /// A request of HTTP/1.0, or of a version that is none.
    Http10,
    /// A request of HTTP/1.1.
    Http11,
    /// The preface of HTTP/2.
    Http2,
    /// A request line that did not end within [`MAX_REQUEST_LINE`].
    TooLarge,
}

/// Looks for HTTP in the first bytes of a connection.
pub fn inspect(bytes: &[u8]) -> Verdict {
    if bytes.starts_with(PREFACE) {
        return Verdict::Http2;
    }
    if PREFACE.starts_with(bytes) {
        return Verdict::NeedMore;
    }
    let window = &bytes[..bytes.len().min(MAX_REQUEST_LINE)];
    let end = window.iter().position(|byte| *byte == b'\n');
    let line = trimmed(end.map_or(window, |end| &window[..end]));
    match (request_line(line), end) {
        (None, _) | (Some(Line::Partial), Some(_)) => Verdict::NotHttp,
        (Some(Line::Whole { version }), Some(_)) => version_of(version),
        (Some(_), None) if window.len() >= MAX_REQUEST_LINE => Verdict::TooLarge,
        (Some(_), None) => Verdict::NeedMore,
    }
}

/// Without blanks and carriage returns at the end.
fn trimmed(line: &[u8]) -> &[u8] {
    let is_kept = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r');
    let end = line.iter().rposition(is_kept);
    &line[..end.map_or(0, |end| end + 1)]
}

/// What there is of a line that may be a request's.
enum Line<'a> {
    Partial,
    Whole { version: &'a [u8] },
}

fn request_line(line: &[u8]) -> Option<Line<'_>> {
    let (method, rest) = word(line);
    if method.is_empty() || !method.iter().all(is_token) {
        return None;
    }
    let (target, version) = word(rest);
    if !target.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    if target.is_empty() {
        return Some(Line::Partial);
    }
    // More of it may follow.
    let cut = version.is_empty();
    if !is_target(target, method == b"CONNECT") {
        return cut.then_some(Line::Partial);
    }
    Some(Line::Whole { version })
}

/// What comes before the next blank, and what comes after the blanks.
fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let blanks = rest.iter().position(|byte| !is_blank(byte));
    (word, &rest[blanks.unwrap_or(rest.len())..])
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// RFC 9112, section 3.2.
fn is_target(target: &[u8], is_authority: bool) -> bool {
    if is_authority || target.starts_with(b"/") || target.starts_with(b"*") {
        return true;
    }
    let scheme = target.iter().position(|byte| !byte.is_ascii_alphabetic());
    scheme.is_some_and(|end| end > 0 && target[end..].starts_with(b"://"))
}

fn version_of(version: &[u8]) -> Verdict {
    match version {
        b"HTTP/1.1" => Verdict::Http11,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Verdict::Http10
        }
        [] => Verdict::Http10,
        _ => Verdict::NotHttp,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[track_caller]
    fn check(verdict: Verdict, lines: &[&[u8]]) {
        for line in lines {
            assert_eq!(inspect(line), verdict, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn request_lines_tell_the_version() {
        check(
            Verdict::Http11,
            &[
                b"GET / HTTP/1.1\r\n",
                b"GET / HTTP/1.1\n",
                b"GET / HTTP/1.1 \r\n",
                b"GET  / HTTP/1.1\r\n",
                b"GET\t/ HTTP/1.1\r\n",
                b"foo / HTTP/1.1\r\n",
                b"1GET / HTTP/1.1\r\n",
                b"OPTIONS * HTTP/1.1\r\n",
                b"GET http://a/ HTTP/1.1\r\n",
                b"CONNECT a:80 HTTP/1.1\r\n",
                b"PRI * HTTP/1.1\r\n",
                b"GET / HTTP/1.1\r\nno header\r\n\r\n",
            ],
        );
        check(
            Verdict::Http10,
            &[
                b"GET / HTTP/1.0\r\n",
                b"GET / HTTP/1.2\r\n",
                b"GET / HTTP/2.0\r\n",
                b"GET /\r\n",
                b"GET / \r\n",
                b"a /b\r\n",
                b"PRI * HTTP/2.0\r\nHost: a\r\n",
            ],
        );
    }

    #[test]
    fn the_preface_is_that_of_http_2() {
        check(Verdict::Http2, &[PREFACE, &[PREFACE, b"more"].concat()]);
        check(Verdict::NeedMore, &[b"", b"PRI", &PREFACE[..23]]);
    }

    #[test]
    fn other_lines_are_not_http() {
        check(
            Verdict::NotHttp,
            &[
                b"\r\nGET / HTTP/1.1\r\n",
                b"\n",
                b" GET / HTTP/1.1\r\n",
                b"GET\r\n",
                b"GET \r\n",
                b"hello\r\n",
                b"hello world\r\n",
                b"get / http/1.1\r\n",
                b"GET /a b HTTP/1.1\r\n",
                b"GET /a\tb HTTP/1.1\r\n",
                b"GET a:80 HTTP/1.1\r\n",
                b"GET abc HTTP/1.1\r\n",
                b"GET ://a HTTP/1.1\r\n",
                b"GET / HTTP/11.1\r\n",
                b"GET / HTTP/1.x\r\n",
                b"GET /\x0c\r\n",
                b"*3\r\n$3\r\nSET\r\n",
                b"SSH-2.0-x\r\n",
            ],
        );
    }

    #[test]
    fn what_can_be_no_request_is_not_waited_for() {
        check(
            Verdict::NotHttp,
            &[
                b"\x16\x03\x01",
                b"\x00\x01\x02\x03",
                b"(",
                b"{\"a\":1}",
                b"G:T / HTTP/1.1",
                b"G\0T",
                b"GET /\x7f",
                b"GET /\xc3\xa9",
            ],
        );
        check(
            Verdict::NeedMore,
            &[
                b"hello",
                b"GET",
                b"GET ",
                b"GET abc",
                b"GET http",
                b"GET / H",
                b"GET / HTTP/1.1",
                b"GET / HTTP/1.1\r",
            ],
        );
    }

    #[test]
    fn a_request_line_must_end_within_the_limit() {
        let line = |length: usize| {
            let mut line = b"GET /".to_vec();
            line.resize(length - 11, b'a');
            line.extend(b" HTTP/1.1\r\n");
            line
        };
        check(Verdict::Http11, &[&line(9000), &line(MAX_REQUEST_LINE)]);
        check(Verdict::TooLarge, &[&line(MAX_REQUEST_LINE + 1)]);
        check(
            Verdict::NeedMore,
            &[&line(MAX_REQUEST_LINE)[..MAX_REQUEST_LINE - 1]],
        );
    }

    fn hostile() -> impl Strategy<Value = Vec<u8>> {
        let word = proptest::sample::select(vec![
            &b"GET"[..],
            PREFACE,
            b"CONNECT",
            b" ",
            b"\t",
            b"/a",
            b"http://a",
            b"HTTP/1.1",
            b"HTTP/1.0",
            b"\r",
            b"\n",
            b"\xff",
        ]);
        let words = vec(word, 0..9).prop_map(|words| words.concat());
        prop_oneof![words, vec(any::<u8>(), 0..40)]
    }

    proptest! {
        #[test]
        fn byte_by_byte_is_as_at_once(bytes in hostile()) {
            let at_once = inspect(&bytes);
            for length in 0..bytes.len() {
                let verdict = inspect(&bytes[..length]);
                if verdict != Verdict::NeedMore {
                    prop_assert_eq!(verdict, at_once);
                    break;
                }
            }
        }
    }
}

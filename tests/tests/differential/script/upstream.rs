//! Servers behind the proxies.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use rustls::{ServerConnection, StreamOwned};
use socket2::SockRef;

use super::{PATIENCE, client::shown};
use crate::certificates::certificates;

/// What a server does with its connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Says what it hears, to the end.
    Echo,
    /// Says a name and a newline first, then as `Echo`.
    Named(&'static str),
    /// Says who connected and what came until the end or a newline; then ends.
    Tell,
    /// Ends at once.
    Close,
    /// Resets at the first byte.
    Reset,
    /// Says this and ends its half at once, then hears to the end.
    HalfClose(&'static [u8]),
    /// Says nothing and hears to the end.
    Silent,
    /// Answers each HTTP request with this status.
    Http(u16),
    /// Answers each gRPC health check with this status.
    Grpc(u8),
    /// Answers this to whatever comes first.
    Reply(&'static [u8]),
    /// TLS as somebody: says what was agreed on, then as `Echo`.
    Tls {
        /// Whose certificate it has.
        who: &'static str,
        /// Whether it demands certificates of the authority.
        mutual: bool,
        /// What it speaks by ALPN.
        alpn: &'static [&'static str],
    },
}

/// A listening server; ends on drop.
#[derive(Debug)]
pub(super) struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    #[track_caller]
    pub(super) fn listen(at: &str, answer: Answer) -> Self {
        let listener =
            TcpListener::bind(at).unwrap_or_else(|error| panic!("listen on {at}: {error}"));
        let accepting = listener.try_clone().expect("clone a listener");
        thread::spawn(move || {
            while let Ok((stream, _)) = accepting.accept() {
                thread::spawn(move || {
                    let _ = stream.set_read_timeout(Some(2 * PATIENCE));
                    // A peer that is gone ends it.
                    let _ = answer.serve(stream);
                });
            }
        });
        Self { listener }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // Wakes the accepting thread; it fails only if that ended.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

impl Answer {
    fn serve(self, mut stream: TcpStream) -> io::Result<()> {
        match self {
            Self::Echo => echo(&mut stream),
            Self::Named(name) => {
                stream.write_all(name.as_bytes())?;
                stream.write_all(b"\n")?;
                echo(&mut stream)
            }
            Self::Tell => {
                let peer = stream.peer_addr()?;
                let heard = heard(&mut stream)?;
                write!(stream, "peer={} heard={}", peer.ip(), shown(&heard))
            }
            Self::Close => Ok(()),
            Self::Reset => {
                stream.read_exact(&mut [0])?;
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))
            }
            Self::HalfClose(bytes) => {
                stream.write_all(bytes)?;
                stream.shutdown(Shutdown::Write)?;
                io::copy(&mut stream, &mut io::sink()).map(drop)
            }
            Self::Silent => io::copy(&mut stream, &mut io::sink()).map(drop),
            Self::Http(status) => http(&mut stream, status),
            Self::Grpc(status) => grpc(stream, status),
            Self::Reply(bytes) => {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer)? > 0 {
                    stream.write_all(bytes)?;
                }
                Ok(())
            }
            Self::Tls { who, mutual, alpn } => {
                let config = certificates().server(who, mutual, alpn);
                let connection = ServerConnection::new(config).map_err(io::Error::other)?;
                tls(connection, stream)
            }
        }
    }
}

fn echo(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 16_384];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

fn heard(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while !heard.ends_with(b"\n") {
        match stream.read(&mut buffer)? {
            0 => break,
            length => heard.extend_from_slice(&buffer[..length]),
        }
    }
    Ok(heard)
}

fn http(stream: &mut TcpStream, status: u16) -> io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => request.extend_from_slice(&buffer[..length]),
        }
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            write!(
                stream,
                "HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n"
            )?;
        }
    }
}

/// HTTP/2 with one answer to all: a message of one field, its length before it, and trailers.
fn grpc(stream: TcpStream, status: u8) -> io::Result<()> {
    use http_body_util::{BodyExt, Full};
    use hyper::{
        HeaderMap, Request, Response, body::Incoming, header::HeaderValue, service::service_fn,
    };
    use hyper_util::rt::{TokioExecutor, TokioIo};

    let answer = move |_: Request<Incoming>| async move {
        let message = bytes::Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]);
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let body = Full::new(message).with_trailers(async move { Some(Ok(trailers)) });
        let mut response = Response::new(body);
        let kind = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", kind);
        Ok::<_, std::convert::Infallible>(response)
    };
    stream.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stream = TokioIo::new(tokio::net::TcpStream::from_std(stream)?);
        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(stream, service_fn(answer))
            .await
            .map_err(io::Error::other)
    })
}

fn tls(connection: ServerConnection, stream: TcpStream) -> io::Result<()> {
    let mut stream = StreamOwned::new(connection, stream);
    stream.conn.complete_io(&mut stream.sock)?;
    let connection = &stream.conn;
    let agreed = format!(
        "{:?} sni={} alpn={} client={}\n",
        connection.protocol_version(),
        connection.server_name().unwrap_or("-"),
        connection
            .alpn_protocol()
            .map_or("-".into(), String::from_utf8_lossy),
        certificates().whose(connection.peer_certificates()),
    );
    stream.write_all(agreed.as_bytes())?;
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer)? {
            0 => break,
            length => stream.write_all(&buffer[..length])?,
        }
    }
    stream.conn.send_close_notify();
    stream.flush()?;
    stream.sock.shutdown(Shutdown::Write)?;
    io::copy(&mut stream.sock, &mut io::sink()).map(drop)
}

//! A client that says what it saw.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use socket2::{Domain, SockRef, Socket, Type};

use super::{PATIENCE, kind, parse};
use crate::certificates::certificates;

/// What a client offers in TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tls<'a> {
    /// The server's name; an address sends none.
    pub(crate) name: &'a str,
    /// Whose certificate it has.
    pub(crate) who: Option<&'a str>,
    /// What it offers by ALPN.
    pub(crate) alpn: &'a [&'a str],
    /// The versions it speaks.
    pub(crate) versions: &'a [&'static rustls::SupportedProtocolVersion],
}

impl Default for Tls<'_> {
    fn default() -> Self {
        Self {
            name: "a.example",
            who: None,
            alpn: &[],
            versions: rustls::ALL_VERSIONS,
        }
    }
}

/// A connected client.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(from: Option<SocketAddr>, to: &str) -> Self {
        Self::try_connect(from, to).unwrap_or_else(|error| panic!("connect to {to}: {error}"))
    }

    pub(crate) fn try_connect(from: Option<SocketAddr>, to: &str) -> io::Result<Self> {
        let to = parse(to);
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(from) = from {
            socket.set_reuse_address(true)?;
            socket.bind(&from.into())?;
        }
        socket.connect_timeout(&to.into(), PATIENCE)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: socket.into(),
        })
    }

    /// Sends; a peer that is gone shows in what comes.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Ends its half.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("ask for a reset");
    }

    /// The next line; or how it failed to come.
    pub(crate) fn line(&mut self) -> String {
        line(&mut self.stream)
    }

    /// All that comes, and how it ends.
    pub(crate) fn rest(&mut self) -> String {
        rest(&mut self.stream)
    }

    /// What comes within a time that is expected to bring nothing.
    pub(crate) fn quiet_for(&mut self, time: Duration) -> String {
        self.stream.set_read_timeout(Some(time)).expect("a time");
        let result = rest(&mut self.stream);
        self.stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time");
        result
    }

    /// A TLS handshake, the line of the upstream, bytes sent, and all that comes. A server that does
    /// not like a client's certificate says so after the client's side of the handshake is done.
    pub(crate) fn tls(self, tls: Tls<'_>, bytes: &[u8]) -> String {
        let name = ServerName::try_from(tls.name.to_owned()).expect("a server's name");
        let config = certificates().client(tls.who, tls.versions, tls.alpn);
        let connection = match ClientConnection::new(config, name) {
            Ok(connection) => connection,
            Err(error) => return format!("tls: {error}"),
        };
        let mut stream = StreamOwned::new(connection, self.stream);
        if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
            return format!("handshake: {}", kind(&error));
        }
        let agreed = agreed(&stream.conn);
        let first = line(&mut stream);
        let _ = stream.write_all(bytes);
        stream.conn.send_close_notify();
        let _ = stream.flush();
        let _ = stream.sock.shutdown(Shutdown::Write);
        format!("{agreed} {first} {}", rest(&mut stream))
    }
}

/// The first bytes of a TLS client.
pub(crate) fn hello(tls: Tls<'_>) -> Vec<u8> {
    let name = ServerName::try_from(tls.name.to_owned()).expect("a server's name");
    let config = certificates().client(tls.who, tls.versions, tls.alpn);
    let mut connection = ClientConnection::new(config, name).expect("a client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("bytes in memory");
    bytes
}

fn agreed(connection: &ClientConnection) -> String {
    format!(
        "{:?} alpn={} server={}",
        connection.protocol_version().expect("a version"),
        connection
            .alpn_protocol()
            .map_or("-".into(), String::from_utf8_lossy),
        certificates().whose(connection.peer_certificates()),
    )
}

pub(super) fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(0) => return format!("{} eof", shown(&line)).trim_start().to_owned(),
            Ok(_) if byte == *b"\n" => return shown(&line),
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return format!("{} {}", shown(&line), kind(&error))
                    .trim_start()
                    .to_owned();
            }
        }
    }
}

pub(super) fn rest(stream: &mut impl Read) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    let end = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break "eof".to_owned(),
            Ok(length) => all.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break kind(&error),
        }
    };
    format!("\"{}\" {end}", shown(&all))
}

pub(super) fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

//! The terminal filters that answer themselves, without an upstream.

use std::{io, net::SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{ending::Ending, tcp::Side, upstream::Transport};

/// Sends back what comes.
pub(super) async fn echo(transport: &mut Transport, peer: SocketAddr) -> Ending {
    let mut buffer = vec![0; 16 * 1024];
    let echoed = async {
        loop {
            let read = match transport {
                Transport::Raw(stream) => stream.read(&mut buffer).await?,
                Transport::Tls(stream) => stream.read(&mut buffer).await?,
            };
            if read == 0 {
                break;
            }
            write(transport, &buffer[..read]).await?;
        }
        shut(transport).await
    };
    ended(echoed.await, transport, peer)
}

/// Sends always the same, and closes.
pub(super) async fn respond(
    transport: &mut Transport,
    response: &[u8],
    peer: SocketAddr,
) -> Ending {
    let responded = async {
        write(transport, response).await?;
        shut(transport).await
    };
    ended(responded.await, transport, peer)
}

fn ended(result: io::Result<()>, transport: &Transport, downstream: SocketAddr) -> Ending {
    match result {
        Ok(()) => {
            transport.stream().complete();
            Ending::Completed {
                last: Side::Upstream,
            }
        }
        Err(source) => Ending::DownstreamBroke { downstream, source },
    }
}

async fn write(transport: &mut Transport, bytes: &[u8]) -> io::Result<()> {
    match transport {
        Transport::Raw(stream) => stream.write_all(bytes).await,
        Transport::Tls(stream) => {
            stream.write_all(bytes).await?;
            stream.flush().await
        }
    }
}

async fn shut(transport: &mut Transport) -> io::Result<()> {
    match transport {
        Transport::Raw(stream) => stream.shutdown().await,
        Transport::Tls(stream) => stream.shutdown().await,
    }
}

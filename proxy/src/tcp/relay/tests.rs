use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    join,
};

use super::*;
use crate::{stats::Counter, stream::Farewell};

const BYTES: usize = 3 * 1024 * 1024;

fn meter(counter: &Counter) -> Meter<'_> {
    Meter {
        connection: counter,
        totals: &[],
        opening: None,
    }
}

#[tokio::test]
async fn a_large_stream_passes_both_ways() {
    // Small, so that writes are short.
    let (client, mut downstream) = duplex(1000);
    let (mut upstream, server) = duplex(700);
    let (received, sent) = (Counter::default(), Counter::default());
    let data: Vec<u8> = (0..BYTES).map(|index| (index % 251) as u8).collect();
    let exchange = |stream| {
        let data = data.clone();
        async move {
            let (mut read, mut write) = split(stream);
            let sending = async move {
                write.write_all(&data).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let mut found = Vec::new();
            let (_, read) = join!(sending, read.read_to_end(&mut found));
            read.unwrap();
            found
        }
    };
    let relaying = relay(
        &mut downstream,
        &mut upstream,
        meter(&received),
        meter(&sent),
    );
    let (passed, at_client, at_server) = join!(relaying, exchange(client), exchange(server));
    passed.unwrap();
    assert!(at_client == data && at_server == data);
    assert_eq!([received.value(), sent.value()], [BYTES as u64; 2]);
}

#[tokio::test]
async fn an_end_is_passed_on_while_the_other_direction_goes_on() {
    let (mut client, mut downstream) = duplex(1000);
    let (mut upstream, mut server) = duplex(1000);
    let counter = Counter::default();
    let relaying = relay(
        &mut downstream,
        &mut upstream,
        meter(&counter),
        meter(&counter),
    );
    let exchange = async {
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = String::new();
        server.read_to_string(&mut question).await.unwrap();
        server.write_all(b"answer").await.unwrap();
        server.shutdown().await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        (question, answer)
    };
    let (passed, (question, answer)) = join!(relaying, exchange);
    passed.unwrap();
    assert_eq!((&*question, &*answer), ("question", "answer"));
}

#[tokio::test]
async fn the_side_that_broke_is_named() {
    let (client, mut downstream) = duplex(1000);
    let (mut upstream, mut server) = duplex(1000);
    let counter = Counter::default();
    let relaying = relay(
        &mut downstream,
        &mut upstream,
        meter(&counter),
        meter(&counter),
    );
    // Nobody is there to take the answer.
    drop(client);
    let answering = async { server.write_all(b"answer").await.unwrap() };
    let (passed, ()) = join!(relaying, answering);
    assert!(matches!(passed.unwrap_err().broken, Broken::Downstream(_)));
}

/// One whose peer takes nothing more, as after it has closed; what it had sent can be read.
struct Deaf(DuplexStream);

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }
}

/// What came of a relay between two sides of which one is deaf.
struct Met {
    broken: Side,
    farewell: Farewell,
    /// What the other peer got.
    got: String,
    /// Whether it was told an end.
    ended: bool,
}

/// Relays a message to a side that is `deaf`, whose peer has sent `last` and is gone. The peer of the
/// other side takes what comes, or nothing.
async fn meet(deaf: Side, last: &str, takes: bool) -> Met {
    // So small that not all of what the deaf side's peer has sent is passed on at once.
    let (mut peer, mut hearing) = duplex(4);
    let (mut gone, inner) = duplex(1000);
    let mut inner = Deaf(inner);
    gone.write_all(last.as_bytes()).await.unwrap();
    drop(gone);
    peer.write_all(b"more").await.unwrap();
    let counter = Counter::default();
    let relaying = async {
        let failure = match deaf {
            Side::Upstream => {
                relay(&mut hearing, &mut inner, meter(&counter), meter(&counter)).await
            }
            Side::Downstream => {
                relay(&mut inner, &mut hearing, meter(&counter), meter(&counter)).await
            }
        };
        let failure = failure.unwrap_err();
        // Fails after an end. Whether it is taken does not matter.
        let after = poll_fn(|cx| Poll::Ready(Pin::new(&mut hearing).poll_write(cx, b"."))).await;
        drop(hearing);
        (failure, matches!(after, Poll::Ready(Err(_))))
    };
    let taking = async {
        let mut got = String::new();
        if takes {
            peer.read_to_string(&mut got).await.unwrap();
        }
        got
    };
    let ((failure, ended), got) = join!(relaying, taking);
    drop(peer);
    Met {
        broken: match failure.broken {
            Broken::Downstream(_) => Side::Downstream,
            Broken::Upstream(_) => Side::Upstream,
        },
        farewell: failure.farewell,
        got,
        ended,
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_side_had_sent_before_it_was_found_broken_is_passed_on() {
    let last = "413 Content Too Large";
    for deaf in [Side::Upstream, Side::Downstream] {
        let met = meet(deaf, last, true).await;
        assert_eq!(met.broken, deaf);
        assert_eq!(met.got.trim_end_matches('.'), last, "{deaf:?}");
        assert_eq!(met.farewell, Farewell::Finish, "{deaf:?}");
        assert!(!met.ended, "{deaf:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_side_that_had_nothing_left_is_no_end() {
    let met = meet(Side::Upstream, "", true).await;
    assert_eq!(met.broken, Side::Upstream);
    assert!(matches!(met.farewell, Farewell::Reset { .. }));
    assert!(!met.ended);
}

#[tokio::test(start_paused = true)]
async fn a_side_that_takes_nothing_of_what_is_left_is_given_up() {
    for deaf in [Side::Upstream, Side::Downstream] {
        let met = meet(deaf, "413 Content Too Large", false).await;
        assert_eq!(met.broken, deaf);
        let after = Duration::ZERO;
        assert_eq!(met.farewell, Farewell::Reset { after }, "{deaf:?}");
        assert!(!met.ended, "{deaf:?}");
    }
}

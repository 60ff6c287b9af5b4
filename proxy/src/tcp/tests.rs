use std::{net::Ipv4Addr, time::Duration};

use tokio::{
    io::AsyncReadExt,
    join,
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::stream::SETTLE;

const BYTES: usize = 8 * 1024 * 1024;

/// Two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, accepted) = join!(TcpStream::connect(address), listener.accept());
    (connected.unwrap(), accepted.unwrap().0)
}

/// Passes a large stream there and back.
async fn check(pipes: Arc<PipePool>) {
    let (client, downstream) = pair().await;
    let (upstream, server) = pair().await;
    let passing = async move {
        let (mut downstream, mut upstream) = (Stream::new(downstream), Stream::new(upstream));
        let counters: [Counter; 4] = Default::default();
        let [received, all_received, sent, all_sent] = &counters;
        let passed = pass(
            &mut downstream,
            &mut upstream,
            &pipes,
            Meter {
                connection: received,
                totals: &[all_received],
                opening: None,
            },
            Meter {
                connection: sent,
                totals: &[all_sent],
                opening: None,
            },
        )
        .await;
        passed.unwrap();
        downstream.close();
        upstream.close();
        counters.map(|counter| counter.value())
    };
    let byte = |index: usize| (index % 251) as u8;
    let data: Vec<u8> = (0..BYTES).map(byte).collect();
    let exchange = |stream: TcpStream| {
        let data = data.clone();
        async move {
            let (mut read, mut write) = stream.into_split();
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
    let (counters, at_client, at_server) = join!(passing, exchange(client), exchange(server));
    assert_eq!(counters, [BYTES as u64; 4]);
    assert!(at_client == data && at_server == data);
}

#[tokio::test]
async fn a_large_stream_is_spliced() {
    let pipes = Arc::new(PipePool::default());
    check(pipes.clone()).await;
    // Those that it took are back.
    assert!(pipes.idle_pipes() > 0);
}

#[tokio::test]
async fn a_large_stream_is_copied_where_no_pipe_is_to_be_had() {
    let pipes = Arc::new(PipePool::default());
    let all: Vec<Pipe> = std::iter::from_fn(|| pipes.take()).collect();
    check(pipes.clone()).await;
    assert!(pipes.take().is_none());
    drop(all);
}

#[test]
fn what_was_not_discarded_decides_on_the_farewell() {
    let none = Recent::default();
    let now = Recent {
        at: Some(Instant::now()),
        ..none
    };
    let reset = |after| Farewell::Reset { after };
    for (recent, flushed, expected) in [
        (none, Flushed::Nothing, reset(Duration::ZERO)),
        (none, Flushed::Everything, Farewell::Finish),
        (none, Flushed::Short, reset(Duration::ZERO)),
        (
            Recent { fresh: true, ..now },
            Flushed::Nothing,
            Farewell::Finish,
        ),
        (
            Recent { ended: true, ..now },
            Flushed::Nothing,
            Farewell::Finish,
        ),
        (
            Recent {
                ended: true,
                ..none
            },
            Flushed::Nothing,
            reset(Duration::ZERO),
        ),
        (
            Recent {
                fresh: true,
                short: true,
                ..now
            },
            Flushed::Nothing,
            reset(Duration::ZERO),
        ),
    ] {
        assert_eq!(recent.farewell(flushed), expected, "{recent:?} {flushed:?}");
    }
    // What was passed on a moment ago may be on its way.
    let Farewell::Reset { after } = now.farewell(Flushed::Nothing) else {
        panic!("nothing arrived after the break");
    };
    assert!(after > Duration::ZERO && after <= SETTLE);
}

//! What the first bytes of a connection say, to the filters of its listener.

use std::{io, time::Duration};

use rustix::net::RecvFlags;
use tokio::{
    io::{AsyncReadExt, Interest},
    net::TcpStream,
    time::timeout,
};

use super::record::Record;
use crate::{
    inspector::{Inspected, Inspection, Progress},
    stream::Stream,
};

/// More than the filters of a listener look at.
const PEEK_BYTES: usize = 128 * 1024;

impl Record {
    /// Looks at the first bytes, as long as the listener's filters want more of them.
    pub(super) async fn inspect(&mut self, stream: &mut Stream) -> Result<Inspected, String> {
        let listener = self.listener.clone();
        let original = (self.local != self.direct_local).then(|| self.local.port());
        let mut inspection = Inspection::new(&listener.filters, self.direct_local.port(), original);
        let mut progress = inspection.step(&[]);
        if matches!(progress, Progress::NeedMore { .. }) {
            let looking = Box::pin(look(
                stream.tcp(),
                &mut inspection,
                listener.filters.timeout,
            ));
            progress = looking.await;
        }
        self.inspected(&inspection);
        match progress {
            Progress::Done(inspected) => {
                // The header of a proxy before this one is none of the connection's own bytes.
                let mut header = vec![0; inspected.consumed];
                let read = stream.read_exact(&mut header).await;
                read.map(|_| inspected).map_err(|error| error.to_string())
            }
            Progress::Failed(failure) => Err(failure.reason.into_owned()),
            Progress::NeedMore { .. } => Err("the listener filters came to no end".to_owned()),
        }
    }
}

/// Peeks until the inspection is done, or its time is over.
async fn look(
    tcp: &TcpStream,
    inspection: &mut Inspection<'_>,
    within: Option<Duration>,
) -> Progress {
    let looking = async {
        let mut bytes = vec![0; 4096];
        let mut seen = 0;
        loop {
            match more(tcp, &mut bytes, seen).await {
                Ok(0) => return Progress::Failed(inspection.closed()),
                Ok(read) => seen = read,
                Err(error) => return Progress::Failed(inspection.broken(&error)),
            }
            match inspection.step(&bytes[..seen]) {
                Progress::NeedMore { at_least }
                    if at_least > bytes.len() || seen == bytes.len() =>
                {
                    let room = at_least.max(bytes.len() * 2).min(PEEK_BYTES);
                    bytes.resize(room.max(bytes.len()), 0);
                }
                Progress::NeedMore { .. } => {}
                done => return done,
            }
        }
    };
    let Some(within) = within else {
        return looking.await;
    };
    match timeout(within, looking).await {
        Ok(progress) => progress,
        Err(_) => inspection.timed_out(),
    }
}

/// Waits until more than what was `seen` is there, and peeks at it; 0 at the end of the stream.
async fn more(tcp: &TcpStream, bytes: &mut [u8], seen: usize) -> io::Result<usize> {
    loop {
        let ready = tcp.ready(Interest::READABLE).await?;
        let peeked = tcp.try_io(Interest::READABLE, || {
            let (read, _) = rustix::net::recv(tcp, &mut *bytes, RecvFlags::PEEK)?;
            if read > 0 && read <= seen {
                // So that the next event of the kernel is waited for, of more bytes or of the end.
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(read)
        });
        match peeked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if ready.is_read_closed() {
                    return Ok(0);
                }
            }
            peeked => return peeked,
        }
    }
}

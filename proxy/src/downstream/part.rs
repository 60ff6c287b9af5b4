//! How both sides end after bytes were passed on.

use super::record::Record;
use crate::{
    direction::Direction,
    ending::Ending,
    tcp::{Broken, Failure, Side},
    tls::PlaintextRefused,
    upstream::Transport,
};

impl Record {
    /// Ends both sides after bytes were passed on.
    pub(super) async fn part(
        &self,
        passed: Result<Side, Failure>,
        downstream: Transport,
        upstream: Transport,
    ) -> Ending {
        let endpoint = self.attempts.endpoint.as_ref();
        let address = endpoint.map_or(self.local, |endpoint| endpoint.address);
        let by_peer = match &passed {
            Ok(last) => *last == Side::Downstream,
            Err(failure) => matches!(failure.broken, Broken::Upstream(_)),
        };
        let refused = self.refused(&upstream, by_peer);
        match passed {
            Ok(last) => {
                downstream.stream().complete();
                upstream.stream().complete();
                match refused {
                    None => Ending::Completed { last },
                    Some(refused) => Ending::PlaintextRefused {
                        upstream: address,
                        refused,
                        end: Ok(last),
                    },
                }
            }
            Err(Failure { broken, farewell }) => match broken {
                Broken::Upstream(source) => {
                    drop(upstream);
                    downstream.end(farewell).await;
                    match refused {
                        None => Ending::UpstreamBroke {
                            upstream: address,
                            source,
                        },
                        Some(refused) => Ending::PlaintextRefused {
                            upstream: address,
                            refused,
                            end: Err(source),
                        },
                    }
                }
                Broken::Downstream(source) => {
                    drop(downstream);
                    upstream.end(farewell).await;
                    match refused {
                        None => Ending::DownstreamBroke {
                            downstream: self.peer,
                            source,
                        },
                        // Which the client may well have taken amiss.
                        Some(refused) => Ending::PlaintextRefused {
                            upstream: address,
                            refused,
                            end: Ok(Side::Downstream),
                        },
                    }
                }
            },
        }
    }

    /// Whether the upstream shows that it takes no plaintext. The application of this pod takes it.
    fn refused(&self, upstream: &Transport, by_peer: bool) -> Option<PlaintextRefused> {
        let inbound = self.listener.direction == Some(Direction::Inbound);
        if inbound || !matches!(upstream, Transport::Raw(_)) {
            return None;
        }
        let (request, response) = (self.request.bytes(), self.response.bytes());
        PlaintextRefused::at_end(&request.0[..request.1], &response.0[..response.1], by_peer)
    }
}

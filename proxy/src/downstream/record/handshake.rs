//! The handshake with the downstream.

use std::time::Instant;

use super::Record;
use crate::tls::{Handshaked, TlsError};

impl Record {
    pub(in crate::downstream) fn handshaken(&mut self, handshaked: Handshaked) {
        self.handshake_end = Some(Instant::now());
        if let Some(counted) = self
            .chain
            .as_ref()
            .and_then(|chain| chain.statistics.tls.as_ref())
        {
            let counted = counted.of(self.worker.number);
            for event in handshaked.events() {
                counted.count(&event);
            }
        }
        self.tls = Some(Box::new(handshaked));
    }

    pub(in crate::downstream) fn not_handshaken(&self, error: &TlsError) {
        if error.is_time_out() {
            let counted = self.listener_statistics();
            counted
                .downstream_cx_transport_socket_connect_timeout
                .increment();
        }
        if let Some(counted) = self
            .chain
            .as_ref()
            .and_then(|chain| chain.statistics.tls.as_ref())
        {
            let counted = counted.of(self.worker.number);
            for event in error.events() {
                counted.count(&event);
            }
        }
    }
}

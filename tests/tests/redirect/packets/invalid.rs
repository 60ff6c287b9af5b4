//! Packets that belong to no connection.

use std::{
    io::Read,
    net::{IpAddr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{ALL, APPLICATION_PORT, TIME_OUT, World, everywhere, socket};

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Of a connection that nobody began.
const STRAY: u16 = 40001;
/// Of one that the pod refuses.
const REFUSED: u16 = 40002;
/// Not captured, and nobody listens.
const CLOSED: u16 = 15021;

/// A sender and receiver of bare TCP segments in the peer.
struct Segments {
    socket: Socket,
    peer: IpAddr,
    pod: IpAddr,
}

impl Segments {
    #[track_caller]
    fn new(world: &World) -> Self {
        let address = |address| socket(address, 0).ip();
        let (peer, pod) = (address(world.addresses.peer), address(world.addresses.pod));
        let domain = Domain::for_address(SocketAddr::new(pod, 0));
        let socket = world
            .peer
            .run(|| Socket::new(domain, Type::RAW, Some(Protocol::TCP)));
        let socket = socket.expect("a raw socket");
        socket.set_read_timeout(Some(TIME_OUT)).expect("a deadline");
        Self { socket, peer, pod }
    }

    #[track_caller]
    fn send(&self, source: u16, destination: u16, flags: u8) {
        let segment = segment([self.peer, self.pod], [source, destination], flags);
        let pod = SocketAddr::new(self.pod, 0);
        self.socket
            .send_to(&segment, &pod.into())
            .expect("send a segment");
    }

    /// The port of the peer whose segment the pod resets next.
    #[track_caller]
    fn next_reset(&self) -> u16 {
        // The kernel leaves the header of IPv4 in place, and takes off that of IPv6.
        let start = if self.pod.is_ipv4() { 20 } else { 0 };
        loop {
            let mut packet = [0; 128];
            let length = (&self.socket).read(&mut packet).expect("a reset");
            let segment = &packet[start..length];
            if segment[13] & RST != 0 {
                return u16::from_be_bytes([segment[2], segment[3]]);
            }
        }
    }
}

/// The header of TCP (RFC 9293, 3.1), without options or data.
fn segment([source, destination]: [IpAddr; 2], ports: [u16; 2], flags: u8) -> Vec<u8> {
    let mut segment = ports.map(u16::to_be_bytes).concat();
    segment.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    // Five words of header, and a window.
    segment.extend([5 << 4, flags, 0x10, 0, 0, 0, 0, 0]);
    let mut covered = [octets(source), octets(destination)].concat();
    covered.extend([0, 6, 0, 20]);
    covered.extend(&segment);
    segment[16..18].copy_from_slice(&checksum(&covered).to_be_bytes());
    segment
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The checksum of the internet (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Whose segments the pod resets, if one is the answer to a question that nobody asked.
#[track_caller]
fn check(arguments: &[&str], expected: &[u16]) {
    everywhere(&[&ALL[..], arguments].concat(), |world| {
        let segments = Segments::new(world);
        segments.send(STRAY, APPLICATION_PORT, SYN | ACK);
        // What comes after it on the same cable is answered after it.
        segments.send(REFUSED, CLOSED, SYN);
        for port in expected {
            assert_eq!(segments.next_reset(), *port);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn a_stray_packet_is_reset_by_the_kernel() {
    check(&[], &[STRAY, REFUSED]);
}

#[test]
#[ignore = "needs root"]
fn a_stray_packet_is_dropped_if_asked_for() {
    check(&["--drop-invalid"], &[REFUSED]);
    check(&["--drop-invalid", "-m", "TPROXY"], &[REFUSED]);
}

//! One question to the kernel, one answer.

use std::io;

use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use rustix::io::Errno;

use crate::rules::Family;

/// Sends a request about addresses, links and routes; the answer is one message.
///
/// # Errors
/// When the socket fails; what the kernel thinks of the request is in the answer.
pub(crate) fn route(request: &[u8]) -> io::Result<Vec<u8>> {
    exchange(NETLINK_ROUTE, request)
}

/// Whether nf_tables certainly has no nat table for the family. It then holds no rules, and no
/// program need be run to read them: that is how each new pod begins.
pub(crate) fn lacks_nat_table(family: Family) -> bool {
    let answer = exchange(NETLINK_NETFILTER, &nat_table_request(family));
    answer.is_ok_and(|answer| error_of(&answer) == Some(-Errno::NOENT.raw_os_error()))
}

fn exchange(protocol: isize, request: &[u8]) -> io::Result<Vec<u8>> {
    let socket = Socket::new(protocol)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(request, 0)?;
    // The kernel has answered before `send` returns.
    let (answer, _) = socket.recv_from_full()?;
    Ok(answer)
}

/// `NFT_MSG_GETTABLE` for the table `nat`, as linux/netfilter/nf_tables.h lays it out.
fn nat_table_request(family: Family) -> [u8; 28] {
    const SUBSYSTEM_NF_TABLES: u16 = 10;
    const GET_TABLE: u16 = 1;
    const FLAG_REQUEST: u16 = 1;
    const ATTRIBUTE_NAME: u16 = 1;
    let protocol_family: u8 = match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    };
    let mut request = [0; 28];
    request[0..4].copy_from_slice(&28_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&(SUBSYSTEM_NF_TABLES << 8 | GET_TABLE).to_ne_bytes());
    request[6..8].copy_from_slice(&FLAG_REQUEST.to_ne_bytes());
    // Sequence and port of the header, version and resource of netfilter's stay 0.
    request[16] = protocol_family;
    request[20..22].copy_from_slice(&8_u16.to_ne_bytes());
    request[22..24].copy_from_slice(&ATTRIBUTE_NAME.to_ne_bytes());
    request[24..28].copy_from_slice(b"nat\0");
    request
}

/// The code of an answer that is an error: negative, or 0 for none.
fn error_of(answer: &[u8]) -> Option<i32> {
    const ERROR: u16 = 2;
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (kind == ERROR).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::error_of;

    #[test]
    fn an_answer_is_an_error_or_not() {
        let answer = |kind: u16, code: i32| {
            let mut answer = vec![0; 36];
            answer[4..6].copy_from_slice(&kind.to_ne_bytes());
            answer[16..20].copy_from_slice(&code.to_ne_bytes());
            error_of(&answer)
        };
        assert_eq!(answer(2, -2), Some(-2));
        assert_eq!(answer(2, 0), Some(0));
        assert_eq!(answer(0x0a00, -2), None);
        assert_eq!(error_of(&[]), None);
    }
}

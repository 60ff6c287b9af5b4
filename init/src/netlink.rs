//! One question to the kernel, and its answer: one message, or a list of them.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{
    Socket, SocketAddr,
    protocols::{NETLINK_NETFILTER, NETLINK_ROUTE},
};
use rustix::io::Errno;

use crate::rules::Family;

/// A list that changes while it is read is read again, this many times.
const READS: usize = 10;

/// Asks for a change of addresses, rules or routes.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub(crate) fn change(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let request = serialize(message, NLM_F_REQUEST | NLM_F_ACK | flags);
    let answer = exchange(NETLINK_ROUTE, &request)?;
    refusal(&answer)
}

/// Asks about one thing.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub(crate) fn ask(message: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
    let answer = exchange(NETLINK_ROUTE, &serialize(message, NLM_F_REQUEST))?;
    refusal(&answer)?;
    parse(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Asks for a list. What this program cannot read is left out: none of it is ours.
///
/// # Errors
/// The kernel's refusal, or a failure of the socket.
pub(crate) fn list(message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
    let request = serialize(message.clone(), NLM_F_REQUEST | NLM_F_DUMP);
    for _ in 0..READS {
        let socket = connect(NETLINK_ROUTE)?;
        // Lets the kernel choose by the request's fields; one that cannot lists everything.
        let _ = socket.set_netlink_get_strict_chk(true);
        socket.send(&request, 0)?;
        let mut items = Vec::new();
        let whole = loop {
            let (part, _) = socket.recv_from_full()?;
            match read_part(&part, &mut items)? {
                Part::More => {}
                Part::Last => break true,
                Part::Torn => break false,
            }
        };
        if whole {
            return Ok(items);
        }
    }
    Err(io::Error::other(
        "the list changed each time while it was read",
    ))
}

/// What follows a part of a list.
#[derive(Debug, Eq, PartialEq)]
enum Part {
    More,
    Last,
    /// The list changed in between, so that this one may lack an item.
    Torn,
}

fn read_part(mut part: &[u8], items: &mut Vec<RouteNetlinkMessage>) -> io::Result<Part> {
    const DONE: u16 = 3;
    while let Some((message, rest)) = first_message(part) {
        let field = |at: usize| u16::from_ne_bytes([message[at], message[at + 1]]);
        let (kind, flags) = (field(4), field(6));
        if flags & NLM_F_DUMP_INTR != 0 {
            return Ok(Part::Torn);
        }
        if kind == DONE {
            // The end carries a code as an error does.
            return match code(message) {
                Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
                _ => Ok(Part::Last),
            };
        }
        refusal(message)?;
        items.extend(parse(message));
        part = rest;
    }
    Ok(Part::More)
}

/// The first of the messages that one read brought; none where the rest is no message.
fn first_message(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    const HEADER: usize = 16;
    let length = u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    let message = bytes
        .get(..length)
        .filter(|message| message.len() >= HEADER)?;
    let rest = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((message, rest))
}

fn serialize(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn parse(message: &[u8]) -> Option<RouteNetlinkMessage> {
    match NetlinkMessage::deserialize(message).ok()?.payload {
        NetlinkPayload::InnerMessage(message) => Some(message),
        _ => None,
    }
}

fn refusal(answer: &[u8]) -> io::Result<()> {
    match error_of(answer) {
        Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
        _ => Ok(()),
    }
}

/// Whose packets a table of nf_tables sees (`NFPROTO_*` of linux/netfilter.h).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NfProto {
    /// Both families'.
    Inet = 1,
    /// IPv4's.
    Ipv4 = 2,
    /// IPv6's.
    Ipv6 = 10,
}

impl From<Family> for NfProto {
    fn from(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Ipv4,
            Family::Ipv6 => Self::Ipv6,
        }
    }
}

/// Whether nf_tables certainly has no table of this name. It then holds no rules, and no program
/// need be run to read them: that is how each new pod begins.
pub(crate) fn lacks_table(family: NfProto, name: &str) -> bool {
    let answer = exchange(NETLINK_NETFILTER, &table_request(family, name));
    answer.is_ok_and(|answer| error_of(&answer) == Some(-Errno::NOENT.raw_os_error()))
}

/// Whether nf_tables certainly has a table of this name.
pub(crate) fn holds_table(family: NfProto, name: &str) -> bool {
    holds(&table_request(family, name))
}

/// Whether nf_tables certainly has a chain of this name in that table.
pub(crate) fn holds_chain(family: NfProto, table: &str, name: &str) -> bool {
    holds(&chain_request(family, table, name))
}

fn holds(request: &[u8]) -> bool {
    let answer = exchange(NETLINK_NETFILTER, request);
    answer.is_ok_and(|answer| error_of(&answer).is_none())
}

fn exchange(protocol: isize, request: &[u8]) -> io::Result<Vec<u8>> {
    let socket = connect(protocol)?;
    socket.send(request, 0)?;
    // The kernel has answered before `send` returns.
    let (answer, _) = socket.recv_from_full()?;
    Ok(answer)
}

fn connect(protocol: isize) -> io::Result<Socket> {
    let socket = Socket::new(protocol)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// `NFT_MSG_GETTABLE` for one table, as linux/netfilter/nf_tables.h lays it out.
fn table_request(family: NfProto, name: &str) -> Vec<u8> {
    const GET_TABLE: u16 = 1;
    const TABLE_NAME: u16 = 1;
    nf_tables_request(GET_TABLE, family, &[(TABLE_NAME, name)])
}

/// `NFT_MSG_GETCHAIN` for one chain.
fn chain_request(family: NfProto, table: &str, name: &str) -> Vec<u8> {
    const GET_CHAIN: u16 = 4;
    const CHAIN_TABLE: u16 = 1;
    const CHAIN_NAME: u16 = 3;
    let attributes = [(CHAIN_TABLE, table), (CHAIN_NAME, name)];
    nf_tables_request(GET_CHAIN, family, &attributes)
}

fn nf_tables_request(kind: u16, family: NfProto, attributes: &[(u16, &str)]) -> Vec<u8> {
    const SUBSYSTEM_NF_TABLES: u16 = 10;
    // The header, and netfilter's own.
    const HEADERS: usize = 16 + 4;
    let mut request = vec![0; HEADERS];
    request[4..6].copy_from_slice(&(SUBSYSTEM_NF_TABLES << 8 | kind).to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    // Sequence and port of the header, version and resource of netfilter's stay 0.
    request[16] = family as u8;
    let length = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX);
    for (attribute, text) in attributes {
        // Its length counts its own header and the zero that ends the text.
        request.extend(length(4 + text.len() + 1).to_ne_bytes());
        request.extend(attribute.to_ne_bytes());
        request.extend(text.as_bytes());
        request.push(0);
        request.resize(request.len().next_multiple_of(4), 0);
    }
    let whole = u32::from(length(request.len()));
    request[0..4].copy_from_slice(&whole.to_ne_bytes());
    request
}

/// The code of an answer that is an error: negative, or 0 for none.
fn error_of(answer: &[u8]) -> Option<i32> {
    const ERROR: u16 = 2;
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    code(answer).filter(|_| kind == ERROR)
}

/// The number after the header.
fn code(message: &[u8]) -> Option<i32> {
    let bytes = message.get(16..20)?;
    Some(i32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::NLM_F_DUMP_INTR;
    use netlink_packet_route::{RouteNetlinkMessage, rule::RuleMessage};
    use rustix::io::Errno;

    use super::{Part, error_of, read_part, serialize};

    fn message(kind: u16, flags: u16, code: i32) -> Vec<u8> {
        let mut message = vec![0; 20];
        message[0..4].copy_from_slice(&20_u32.to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[6..8].copy_from_slice(&flags.to_ne_bytes());
        message[16..20].copy_from_slice(&code.to_ne_bytes());
        message
    }

    fn item() -> Vec<u8> {
        serialize(RouteNetlinkMessage::NewRule(RuleMessage::default()), 0)
    }

    #[track_caller]
    fn check(part: &[u8], expected: &Result<(Part, usize), Errno>) {
        let mut items = Vec::new();
        let outcome = read_part(part, &mut items).map(|part| (part, items.len()));
        let outcome = outcome.map_err(|error| Errno::from_io_error(&error).unwrap());
        assert_eq!(&outcome, expected);
    }

    #[test]
    fn a_list_comes_in_parts_of_many_messages() {
        let (done, refused) = (message(3, 0, 0), message(3, 0, -97));
        check(&[item(), item()].concat(), &Ok((Part::More, 2)));
        check(&[item(), done.clone()].concat(), &Ok((Part::Last, 1)));
        check(&done, &Ok((Part::Last, 0)));
        check(&refused, &Err(Errno::AFNOSUPPORT));
        check(&message(2, 0, -95), &Err(Errno::OPNOTSUPP));
    }

    #[test]
    fn a_list_that_changed_meanwhile_is_not_whole() {
        let torn = message(3, NLM_F_DUMP_INTR, 0);
        check(&[item(), torn].concat(), &Ok((Part::Torn, 1)));
    }

    #[test]
    fn what_is_no_message_ends_the_part() {
        let item = item();
        check(&item[..item.len() - 1], &Ok((Part::More, 0)));
        check(&[0; 16], &Ok((Part::More, 0)));
        check(&[], &Ok((Part::More, 0)));
        // A message of a kind that this program does not know.
        check(&[message(999, 0, 0), item].concat(), &Ok((Part::More, 1)));
    }

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

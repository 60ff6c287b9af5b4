//! A name server with a table of IPv4 addresses.

use fairlead_tests::netns::{Datagrams, Namespace, User};

/// Where the bootstraps look for it.
const ADDRESS: &str = "127.0.0.1:5353";

/// The length of the header of a message.
const HEADER: usize = 12;

/// Answers by a table; a name that is not in it does not exist.
#[track_caller]
pub(super) fn serve(
    namespace: &Namespace,
    table: &'static [(&'static str, &'static [&'static str])],
) -> Datagrams {
    Datagrams::answer_as(User::ROOT, namespace, ADDRESS, move |datagram| {
        answer(&datagram.payload, table)
    })
}

fn answer(question: &[u8], table: &[(&str, &[&str])]) -> Option<Vec<u8>> {
    let (name, end) = name(question)?;
    let kind = question.get(end..end + 2)?;
    let found = table.iter().find(|(known, _)| *known == name);
    let addresses: &[&str] = match found {
        Some((_, addresses)) if kind == [0, 1] => addresses,
        _ => &[],
    };
    let mut out = question[..2].to_vec();
    // A response, with recursion; 3 says that there is no such name.
    out.extend([0x85, if found.is_some() { 0x80 } else { 0x83 }]);
    out.extend([0, 1, 0, u8::try_from(addresses.len()).ok()?, 0, 0, 0, 0]);
    out.extend(&question[HEADER..end + 4]);
    for address in addresses {
        let address: std::net::Ipv4Addr = address.parse().ok()?;
        // The name of the question, A, IN, one second, four bytes.
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        out.extend(address.octets());
    }
    Some(out)
}

/// The name of the first question, and where it ends.
fn name(question: &[u8]) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = question.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += length;
    }
}

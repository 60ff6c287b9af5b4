use std::net::{Ipv4Addr, SocketAddr};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{RData, Record, RecordType},
};
use tokio::{net::UdpSocket, time::timeout};

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

/// A name server that knows two names, and fails for a third.
async fn server() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let question = Message::from_vec(&buffer[..length]).unwrap();
            let answer = answer(&question).to_vec().unwrap();
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    address
}

fn answer(question: &Message) -> Message {
    let query = question.queries[0].clone();
    let mut answer = Message::response(question.id, question.op_code);
    answer.metadata.recursion_available = true;
    let (v4, v6): (&[&str], &[&str]) = match &*query.name().to_string() {
        "four.test." => (&["192.0.2.1", "192.0.2.2"], &[]),
        "both.test." => (&["192.0.2.3"], &["2001:db8::3"]),
        "broken.test." => {
            answer.metadata.response_code = ResponseCode::ServFail;
            (&[], &[])
        }
        _ => {
            answer.metadata.response_code = ResponseCode::NXDomain;
            (&[], &[])
        }
    };
    let found: Vec<RData> = match query.query_type() {
        RecordType::A => v4.iter().map(|ip| RData::A(ip.parse().unwrap())).collect(),
        RecordType::AAAA => v6
            .iter()
            .map(|ip| RData::AAAA(ip.parse().unwrap()))
            .collect(),
        _ => Vec::new(),
    };
    for (number, data) in found.into_iter().enumerate() {
        let ttl = 30 - u32::try_from(number).unwrap();
        answer.add_answer(Record::from_rdata(query.name().clone(), ttl, data));
    }
    answer.add_query(query);
    answer
}

async fn resolve(family: Family, name: &str) -> Result<Answer, ResolveError> {
    let servers = Servers {
        addresses: [server().await].into(),
        no_search: true,
        tries: Some(1),
        ..Servers::default()
    };
    let resolver = Resolver::new(&servers, family).unwrap();
    timeout(DEADLINE, resolver.resolve(name)).await.unwrap()
}

async fn check(family: Family, name: &str, expected: &[&str]) {
    let answer = resolve(family, name).await.unwrap();
    let found: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{family:?} {name}");
}

#[tokio::test]
async fn families_are_tried_in_their_order() {
    check(Family::Auto, "both.test.", &["2001:db8::3"]).await;
    check(Family::Auto, "four.test.", &["192.0.2.1", "192.0.2.2"]).await;
    check(Family::V4Preferred, "both.test.", &["192.0.2.3"]).await;
    check(Family::V4Only, "both.test.", &["192.0.2.3"]).await;
    check(Family::V6Only, "both.test.", &["2001:db8::3"]).await;
    check(Family::All, "both.test.", &["192.0.2.3", "2001:db8::3"]).await;
}

#[tokio::test]
async fn an_answer_holds_until_its_first_record_expires() {
    let answer = resolve(Family::V4Only, "four.test.").await.unwrap();
    assert_eq!(answer.ttl, Some(Duration::from_secs(29)));
}

#[tokio::test]
async fn that_there_is_nothing_is_an_answer() {
    check(Family::V6Only, "four.test.", &[]).await;
    check(Family::Auto, "nobody.test.", &[]).await;
}

#[tokio::test]
async fn a_server_that_fails_gives_none() {
    let error = resolve(Family::Auto, "broken.test.").await.unwrap_err();
    let words = error.to_string();
    assert!(words.starts_with("resolve broken.test.: "), "{words}");
}

//! Conntrack zones for questions to name servers: the application's and the proxy's have the same
//! addresses once the first are redirected, and without a zone the answers would be mixed up.

use super::{Chain, DNS, Family, Is, Match, Protocol, Rule, Table, Verdict, Writer, to_port};
use crate::Redirect;

/// Of questions that the proxy sends on, and of their answers.
const PROXY_ZONE: u16 = 1;
/// Of questions that the application sends, and of the proxy's answers.
const APPLICATION_ZONE: u16 = 2;

pub(super) fn rules(redirect: &Redirect, family: Family) -> Vec<Rule> {
    let Some(dns) = &redirect.dns else {
        return Vec::new();
    };
    let servers = dns.servers_of(family);
    if servers.is_empty() {
        return Vec::new();
    }
    let [output, prerouting] =
        [Chain::OUTPUT, Chain::PREROUTING].map(|chain| Writer::new(Table::Raw, chain));
    let questions = Writer::new(Table::Raw, Chain::ISTIO_OUTPUT_DNS);
    let answers = Writer::new(Table::Raw, Chain::ISTIO_INBOUND);

    let mut rules = vec![output.rule([], Verdict::Jump(Chain::ISTIO_OUTPUT_DNS))];
    let uids = redirect.proxy_uids.iter();
    let uids = uids.map(|uid| Match::Uid(Is::Equal(*uid)));
    let gids = redirect.proxy_gids.iter();
    let gids = gids.map(|gid| Match::Gid(Is::Equal(*gid)));
    for owner in uids.chain(gids) {
        let question = to_port(Protocol::Udp, DNS);
        let answer = Match::SourcePort(Protocol::Udp, Is::Equal(vec![dns.port.into()]));
        for (match_, zone) in [(question, PROXY_ZONE), (answer, APPLICATION_ZONE)] {
            let matches = [match_, owner.clone()];
            rules.push(questions.rule(matches, Verdict::ConnectionZone(zone)));
        }
    }
    for server in &servers {
        let matches = server.iter().cloned().chain([to_port(Protocol::Udp, DNS)]);
        let verdict = Verdict::ConnectionZone(APPLICATION_ZONE);
        rules.push(questions.rule(Vec::from_iter(matches), verdict));
    }
    rules.push(prerouting.rule([], Verdict::Jump(Chain::ISTIO_INBOUND)));
    for server in servers {
        // Those whom the application asks are those who answer the proxy.
        let source = server.map(|server| match server {
            Match::Destination(address) => Match::Source(address),
            other => other,
        });
        let port = Match::SourcePort(Protocol::Udp, Is::Equal(vec![DNS.into()]));
        let matches = Vec::from_iter(source.into_iter().chain([port]));
        rules.push(answers.rule(matches, Verdict::ConnectionZone(PROXY_ZONE)));
    }
    rules
}

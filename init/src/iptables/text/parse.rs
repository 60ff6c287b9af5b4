//! Text → rule, whichever program wrote it: what is not known stays text.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::rules::{Chain, Is, Match, Ports, Protocol, Rule, State, Table, Verdict};

/// Reads what follows `-A CHAIN`.
pub fn parse(table: Table, chain: Chain, specification: &str) -> Rule {
    let mut reader = Reader::default();
    let mut words = words(specification).into_iter().peekable();
    while let Some(word) = words.next() {
        if word == "!" {
            reader.negated = true;
            continue;
        }
        let mut values = Vec::new();
        while let Some(value) = words.next_if(|next| !next.starts_with('-') && next != "!") {
            values.push(value);
        }
        reader.option(&word, &values);
        reader.negated = false;
    }
    let verdict = reader.verdict();
    Rule {
        table,
        chain,
        matches: reader.matches,
        verdict,
    }
}

#[derive(Default)]
struct Reader {
    matches: Vec<Match>,
    protocol: Option<Protocol>,
    module: String,
    negated: bool,
    goes_to: Option<Target>,
}

struct Target {
    option: String,
    name: String,
    /// Its options, one after the other.
    options: Vec<(String, Vec<String>)>,
}

impl Reader {
    fn option(&mut self, word: &str, values: &[String]) {
        if let Some(target) = &mut self.goes_to {
            target.options.push((word.to_owned(), values.to_vec()));
            return;
        }
        let value = values.first().map_or("", String::as_str);
        let single = values.len() == 1;
        match word {
            "-m" | "--match" if single => value.clone_into(&mut self.module),
            "-j" | "-g" | "--jump" | "--goto" if single => {
                self.goes_to = Some(Target {
                    option: word.to_owned(),
                    name: value.to_owned(),
                    options: Vec::new(),
                });
            }
            "--tcp-flags" if self.module == "tcp" && is_syn(values) => {
                self.matches.push(Match::Syn(self.is(())));
            }
            _ if single => match self.condition(word, value) {
                Some(Some(condition)) => self.add(condition),
                // Said by another condition already, or true of every packet.
                Some(None) => {}
                None => self.unknown(word, values),
            },
            _ => self.unknown(word, values),
        }
    }

    /// A port tells the protocol, too.
    fn add(&mut self, condition: Match) {
        if let Match::SourcePort(protocol, _) | Match::DestinationPort(protocol, _) = &condition {
            let alone = Match::Protocol(Is::Equal(*protocol));
            self.matches.retain(|other| *other != alone);
        }
        self.matches.push(condition);
    }

    fn unknown(&mut self, word: &str, values: &[String]) {
        let mut text = String::new();
        if word.starts_with("--") && !self.module.is_empty() {
            text += &format!("-m {} ", self.module);
        }
        if self.negated {
            text += "! ";
        }
        text += word;
        for value in values {
            text.push(' ');
            text += &quoted(value);
        }
        self.matches.push(Match::Unknown(text));
    }

    fn is<T>(&self, value: T) -> Is<T> {
        if self.negated {
            Is::Not(value)
        } else {
            Is::Equal(value)
        }
    }

    /// The condition that an option of one value states; `None` if it is not one that we know.
    fn condition(&mut self, word: &str, value: &str) -> Option<Option<Match>> {
        Some(Some(match (word, self.module.as_str()) {
            ("-s" | "--source" | "--src", _) => {
                return self.address(value).map(|cidr| cidr.map(Match::Source));
            }
            ("-d" | "--destination" | "--dst", _) => {
                return self.address(value).map(|cidr| cidr.map(Match::Destination));
            }
            // A + at the end stands for any rest.
            ("-i" | "--in-interface", _) if !value.ends_with('+') => {
                Match::InInterface(self.is(value.to_owned()))
            }
            ("-o" | "--out-interface", _) if !value.ends_with('+') => {
                Match::OutInterface(self.is(value.to_owned()))
            }
            ("-p" | "--protocol", _) => {
                let protocol = protocol(value)?;
                if !self.negated {
                    self.protocol = Some(protocol);
                }
                // Its options need no module of their own.
                protocol.name().clone_into(&mut self.module);
                Match::Protocol(self.is(protocol))
            }
            ("--dport" | "--destination-port", "tcp" | "udp")
            | ("--dports" | "--destination-ports", "multiport") => {
                Match::DestinationPort(self.protocol?, self.is(ports(value)?))
            }
            ("--sport" | "--source-port", "tcp" | "udp")
            | ("--sports" | "--source-ports", "multiport") => {
                Match::SourcePort(self.protocol?, self.is(ports(value)?))
            }
            ("--uid-owner", "owner") => Match::Uid(self.is(value.parse().ok()?)),
            ("--gid-owner", "owner") => Match::Gid(self.is(value.parse().ok()?)),
            ("--mark", "mark") => Match::Mark(self.is(mark(value)?)),
            ("--mark", "connmark") => Match::ConnectionMark(self.is(mark(value)?)),
            ("--ctstate", "conntrack") | ("--state", "state") => {
                Match::State(self.is(states(value)?))
            }
            _ => return None,
        }))
    }

    /// An address; any address is no condition.
    #[expect(clippy::option_option, reason = "unknown, no condition, or one")]
    fn address(&self, value: &str) -> Option<Option<Is<IpNet>>> {
        let cidr = match value.parse::<IpNet>() {
            Ok(cidr) => cidr.trunc(),
            Err(_) => IpNet::from(value.parse::<IpAddr>().ok()?),
        };
        if cidr.prefix_len() == 0 && !self.negated {
            return Some(None);
        }
        Some(Some(self.is(cidr)))
    }

    fn verdict(&self) -> Verdict {
        let Some(target) = &self.goes_to else {
            return Verdict::Continue;
        };
        target.known().unwrap_or_else(|| target.text())
    }
}

impl Target {
    fn known(&self) -> Option<Verdict> {
        let option = |names: &[&str]| -> Option<&str> {
            let (_, values) = self
                .options
                .iter()
                .find(|(name, _)| names.contains(&name.as_str()))?;
            values.first().map(String::as_str)
        };
        let has = |name: &str| self.options.iter().any(|(option, _)| option == name);
        let all_bits =
            |name: &str| option(&[name]).is_none_or(|mask| number(mask) == Some(u32::MAX));
        Some(match self.name.as_str() {
            "RETURN" => Verdict::Return,
            "ACCEPT" => Verdict::Accept,
            "DROP" => Verdict::Drop,
            "REDIRECT" if self.options.len() == 1 => {
                Verdict::Redirect(option(&["--to-ports", "--to-port"])?.parse().ok()?)
            }
            "TPROXY" => {
                let any = option(&["--on-ip"])
                    .is_none_or(|ip| ip.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()));
                let port = option(&["--on-port"])?.parse().ok()?;
                let mark = mark(option(&["--tproxy-mark"])?)?;
                any.then_some(Verdict::Tproxy { port, mark })?
            }
            "MARK" if self.options.len() == 1 => {
                Verdict::SetMark(mark(option(&["--set-xmark", "--set-mark"])?)?)
            }
            "CONNMARK" if all_bits("--nfmask") && all_bits("--ctmask") && all_bits("--mask") => {
                match (has("--save-mark"), has("--restore-mark")) {
                    (true, false) => Verdict::SaveMark,
                    (false, true) => Verdict::RestoreMark,
                    _ => return None,
                }
            }
            "CT" if self.options.len() == 1 => {
                Verdict::ConnectionZone(option(&["--zone"])?.parse().ok()?)
            }
            // Targets of the kernel have names in capitals and options; chains have no options.
            name if self.options.is_empty() && !is_extension(name) => {
                let chain = Chain::named(name);
                match self.option.as_str() {
                    "-g" | "--goto" => Verdict::Goto(chain),
                    _ => Verdict::Jump(chain),
                }
            }
            _ => return None,
        })
    }

    fn text(&self) -> Verdict {
        let mut text = format!("{} {}", self.option, self.name);
        for (option, values) in &self.options {
            text += &format!(" {option}");
            for value in values {
                text.push(' ');
                text += &quoted(value);
            }
        }
        Verdict::Unknown(text)
    }
}

/// Targets of iptables-extensions(8) that need no option.
fn is_extension(name: &str) -> bool {
    const NAMES: [&str; 12] = [
        "REDIRECT",
        "MASQUERADE",
        "REJECT",
        "LOG",
        "NFLOG",
        "NFQUEUE",
        "TRACE",
        "NOTRACK",
        "CT",
        "AUDIT",
        "CHECKSUM",
        "QUEUE",
    ];
    NAMES.contains(&name)
}

fn protocol(text: &str) -> Option<Protocol> {
    match text {
        "tcp" | "6" => Some(Protocol::Tcp),
        "udp" | "17" => Some(Protocol::Udp),
        _ => None,
    }
}

/// Whether flags, the looked at ones and those of them that are set, are those of `--syn`.
fn is_syn(flags: &[String]) -> bool {
    let [among, set] = flags else { return false };
    let mut among: Vec<&str> = among.split(',').collect();
    among.sort_unstable();
    among == ["ACK", "FIN", "RST", "SYN"] && set == "SYN"
}

fn ports(text: &str) -> Option<Vec<Ports>> {
    let range = |item: &str| {
        let (first, last) = item.split_once(':').unwrap_or((item, item));
        let ports = Ports {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
        };
        (ports.first <= ports.last).then_some(ports)
    };
    text.split(',').map(range).collect()
}

/// A mark of which all bits count.
fn mark(text: &str) -> Option<u32> {
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    (number(mask)? == u32::MAX).then(|| number(value))?
}

fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn states(text: &str) -> Option<Vec<State>> {
    let state = |name: &str| {
        Some(match name {
            "NEW" => State::New,
            "ESTABLISHED" => State::Established,
            "RELATED" => State::Related,
            "INVALID" => State::Invalid,
            "UNTRACKED" => State::Untracked,
            _ => return None,
        })
    };
    let mut states: Vec<State> = text.split(',').map(state).collect::<Option<_>>()?;
    // In one order, whichever they were given in.
    states.sort_unstable_by_key(|state| match state {
        State::Invalid => 0,
        State::New => 1,
        State::Related => 2,
        State::Established => 3,
        State::Untracked => 4,
    });
    states.dedup();
    Some(states)
}

fn quoted(word: &str) -> String {
    if !word.is_empty() && !word.contains([' ', '"', '\\', '\'', '\t']) {
        return word.to_owned();
    }
    let mut quoted = String::from("\"");
    for character in word.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

/// The words of a rule as `iptables-save` prints it, where a text with blanks is quoted.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut begun) = (false, false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            '\\' if quoted => word.extend(characters.next()),
            blank if blank.is_whitespace() && !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => {
                word.push(other);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

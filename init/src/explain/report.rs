//! An explanation as text for people and as JSON for programs.

use std::fmt::{self, Write};

use serde::Serialize;

use super::{
    conditions::Meets,
    packet::{Packet, state_name},
    reason::{Reason, reason},
    walk::{Explanation, Outcome, Step},
    words,
};

/// A text that only prints: names and comments of rules, which anybody in the pod may have chosen,
/// could otherwise command the terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    let harmless = |character: char| match character {
        '\n' => '\n',
        _ if character.is_control() => char::REPLACEMENT_CHARACTER,
        _ => character,
    };
    text.chars().map(harmless).collect()
}

impl Explanation<'_> {
    /// The outcome in one line.
    pub fn verdict(&self) -> String {
        let destination = self.packet.destination;
        let decided = self.decided_by.and_then(|index| self.steps.get(index));
        let by_foreign = decided.is_some_and(|step| reason(step) == Reason::Foreign);
        let outcome = match self.outcome {
            Outcome::Redirected { port } if by_foreign => {
                format!("redirected to port {port} by a rule that is not Fairlead's")
            }
            Outcome::Redirected { port } => {
                format!("captured: goes to the proxy's port {port} (REDIRECT)")
            }
            Outcome::Tproxied { port } if by_foreign => {
                format!("taken to port {port} by a TPROXY rule that is not Fairlead's")
            }
            Outcome::Tproxied { port } => format!("captured by TPROXY to port {port}"),
            Outcome::Diverted { mark } => format!(
                "captured: stays in the pod with the connection that it belongs to (mark {mark})"
            ),
            Outcome::Uncaptured => format!("not captured: goes to {destination} as it is"),
            Outcome::AsItsConnection => "as the first packet of its connection: the nat table is \
                                         not asked again; ask with --state new"
                .to_owned(),
            Outcome::Dropped => "dropped".to_owned(),
        };
        match self.doubts.is_empty() {
            true => outcome,
            false => format!("{outcome} (uncertain)"),
        }
    }

    /// The explanation for people; `verbose` adds the rules that do not match.
    pub fn text(&self, verbose: bool) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, verbose);
        printable(&text)
    }

    fn write(&self, f: &mut String, verbose: bool) -> fmt::Result {
        writeln!(f, "{}", self.packet)?;
        let mut hook = None;
        let two_backends = self.has_two_backends();
        for step in &self.steps {
            if !verbose && matches!(step.meets, Meets::Not(_)) {
                continue;
            }
            if hook.replace(step.hook) != Some(step.hook) {
                writeln!(f, "\nhook {}:", step.hook.name())?;
            }
            f.write_str("  ")?;
            if two_backends {
                write!(f, "{}: ", step.tables.backend)?;
            }
            writeln!(f, "{}", line(step))?;
        }
        if self.steps.is_empty() {
            writeln!(f, "\nno rule is asked")?;
        }
        writeln!(f, "\n{}", self.verdict())?;
        match self.decided_by.and_then(|index| self.steps.get(index)) {
            Some(step) => writeln!(f, "  by {}", line(step))?,
            None if self.outcome == Outcome::Uncaptured => writeln!(f, "  no rule captures it")?,
            None => {}
        }
        for doubt in &self.doubts {
            writeln!(f, "  uncertain: {doubt}")?;
        }
        for note in &self.notes {
            writeln!(f, "  note: {note}")?;
        }
        Ok(())
    }

    fn has_two_backends(&self) -> bool {
        let mut backends = self.steps.iter().map(|step| step.tables.backend);
        let first = backends.next();
        backends.any(|backend| Some(backend) != first)
    }

    /// The explanation as JSON; `verbose` adds the rules that do not match.
    pub fn json(&self, verbose: bool) -> String {
        let steps = self.steps.iter();
        let report = Report {
            packet: PacketReport::of(&self.packet),
            verdict: VerdictReport::of(self),
            steps: steps
                .filter(|step| verbose || !matches!(step.meets, Meets::Not(_)))
                .map(StepReport::of)
                .collect(),
            doubts: &self.doubts,
            notes: &self.notes,
        };
        serde_json::to_string_pretty(&report).expect("strings and numbers have a JSON form")
    }
}

/// A step in one line: place, conditions, verdict, why, and by which setting.
fn line(step: &Step<'_>) -> String {
    let mut line = format!("{}: {}", step.place(), words::conditions(step.rule));
    let fails = match step.meets {
        Meets::All => {
            line += &format!(" → {}", words::verdict(&step.rule.verdict));
            None
        }
        Meets::Not(condition) => Some(("not met", condition)),
        Meets::Unknown(condition) => Some(("cannot be told", condition)),
    };
    if let Some((how, condition)) = fails {
        line += &format!(" ⇏ {how}: {}", words::condition(condition));
        return line;
    }
    match reason(step) {
        Reason::Ours { why, settings } => {
            line += &format!(": {why}");
            let settings: Vec<String> = settings
                .iter()
                .map(|setting| match setting.annotation {
                    Some(annotation) => format!("{}, {annotation}", setting.flag),
                    None => setting.flag.to_owned(),
                })
                .collect();
            if !settings.is_empty() {
                line += &format!(" ({})", settings.join("; "));
            }
        }
        Reason::Unreadable => line += ": what it does is not known",
        Reason::Stray => line += ": no setting makes such a rule; somebody added it",
        Reason::Foreign => line += ": foreign, not Fairlead's",
    }
    line
}

#[derive(Serialize)]
struct Report<'a> {
    packet: PacketReport,
    verdict: VerdictReport,
    steps: Vec<StepReport>,
    doubts: &'a [String],
    notes: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PacketReport {
    direction: &'static str,
    protocol: &'static str,
    source: Option<String>,
    source_port: Option<u16>,
    destination: String,
    uid: Option<u32>,
    gid: Option<u32>,
    interface: String,
    mark: u32,
    connection_mark: u32,
    state: &'static str,
}

impl PacketReport {
    fn of(packet: &Packet) -> Self {
        Self {
            direction: packet.direction.name(),
            protocol: packet.protocol.name(),
            source: packet.source.map(|source| source.to_string()),
            source_port: packet.source_port,
            destination: packet.destination.to_string(),
            uid: packet.uid,
            gid: packet.gid,
            interface: packet.interface.clone(),
            mark: packet.mark,
            connection_mark: packet.connection_mark,
            state: state_name(packet.state),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerdictReport {
    kind: &'static str,
    port: Option<u16>,
    certain: bool,
    text: String,
    rule: Option<StepReport>,
}

impl VerdictReport {
    fn of(explanation: &Explanation<'_>) -> Self {
        let (kind, port) = match explanation.outcome {
            Outcome::Redirected { port } => ("redirected", Some(port)),
            Outcome::Tproxied { port } => ("tproxied", Some(port)),
            Outcome::Diverted { .. } => ("diverted", None),
            Outcome::Uncaptured => ("uncaptured", None),
            Outcome::AsItsConnection => ("asItsConnection", None),
            Outcome::Dropped => ("dropped", None),
        };
        let decided = explanation.decided_by;
        Self {
            kind,
            port,
            certain: explanation.doubts.is_empty(),
            text: explanation.verdict(),
            rule: decided
                .and_then(|index| explanation.steps.get(index))
                .map(StepReport::of),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepReport {
    hook: &'static str,
    backend: String,
    table: String,
    chain: String,
    number: usize,
    conditions: Vec<String>,
    action: String,
    /// Whether it is met; null where that cannot be told.
    met: Option<bool>,
    /// The first condition that is not.
    fails: Option<String>,
    /// Whose rule it is: `fairlead`, `stray`, `foreign`, or `unreadable`.
    origin: &'static str,
    reason: Option<String>,
    settings: Vec<SettingReport>,
}

#[derive(Serialize)]
struct SettingReport {
    flag: &'static str,
    annotation: Option<&'static str>,
}

impl StepReport {
    fn of(step: &Step<'_>) -> Self {
        let (met, fails) = match step.meets {
            Meets::All => (Some(true), None),
            Meets::Not(condition) => (Some(false), Some(words::condition(condition))),
            Meets::Unknown(condition) => (None, Some(words::condition(condition))),
        };
        let (origin, why, settings) = match reason(step) {
            Reason::Ours { why, settings } => ("fairlead", Some(why), settings),
            Reason::Unreadable => ("unreadable", None, Vec::new()),
            Reason::Stray => ("stray", None, Vec::new()),
            Reason::Foreign => ("foreign", None, Vec::new()),
        };
        Self {
            hook: step.hook.name(),
            backend: step.tables.backend.to_string(),
            table: step.tables.name(step.table),
            chain: step.chain.name.to_string(),
            number: step.number,
            conditions: step.rule.matches.iter().map(words::condition).collect(),
            action: words::verdict(&step.rule.verdict),
            met,
            fails,
            origin,
            reason: why,
            settings: settings
                .into_iter()
                .map(|setting| SettingReport {
                    flag: setting.flag,
                    annotation: setting.annotation,
                })
                .collect(),
        }
    }
}

//! What a rule does, after its conditions → one verdict.

use serde_json::Value;

use super::super::chain_of_name;
use crate::rules::{Chain, Verdict};

/// The verdict of a rule's deeds; text for those that no rule of ours does together.
pub(super) fn verdict(deeds: &[&Value], is_ours: bool) -> Verdict {
    known(deeds, is_ours).unwrap_or_else(|| {
        let texts: Vec<String> = deeds.iter().map(|deed| deed.to_string()).collect();
        Verdict::Unknown(texts.join(" "))
    })
}

fn known(deeds: &[&Value], is_ours: bool) -> Option<Verdict> {
    match deeds {
        [] => Some(Verdict::Continue),
        [deed] => last(deed, is_ours).or_else(|| change(deed)),
        [tproxy, mark, end] => {
            let port = port_of(tproxy.get("tproxy")?)?;
            let Verdict::SetMark(mark) = change(mark)? else {
                return None;
            };
            let ends = last(end, is_ours)? == Verdict::Accept;
            ends.then_some(Verdict::Tproxy { port, mark })
        }
        _ => None,
    }
}

/// What no other deed can follow.
fn last(deed: &Value, is_ours: bool) -> Option<Verdict> {
    let (kind, details) = deed.as_object()?.iter().next()?;
    let target = || {
        let name = details.get("target")?.as_str()?;
        Some(match is_ours {
            true => chain_of_name(name),
            false => Chain::named(name),
        })
    };
    Some(match kind.as_str() {
        "accept" => Verdict::Accept,
        "drop" => Verdict::Drop,
        "return" => Verdict::Return,
        "continue" => Verdict::Continue,
        "jump" => Verdict::Jump(target()?),
        "goto" => Verdict::Goto(target()?),
        "redirect" => Verdict::Redirect(port_of(details)?),
        _ => return None,
    })
}

/// A port and nothing else, but for the family.
fn port_of(details: &Value) -> Option<u16> {
    let details = details.as_object()?;
    let others = details
        .keys()
        .any(|key| !matches!(key.as_str(), "port" | "family"));
    let port = details.get("port")?.as_u64().filter(|_| !others)?;
    u16::try_from(port).ok()
}

/// What changes the packet or its connection, and is no end.
fn change(deed: &Value) -> Option<Verdict> {
    let change = deed.get("mangle")?;
    let (key, value) = (change.get("key")?, change.get("value")?);
    let number = || value.as_u64();
    Some(match field(key)? {
        ("meta", "mark") if field(value) == Some(("ct", "mark")) => Verdict::RestoreMark,
        ("meta", "mark") => Verdict::SetMark(u32::try_from(number()?).ok()?),
        ("ct", "mark") if field(value) == Some(("meta", "mark")) => Verdict::SaveMark,
        ("ct", "zone") => Verdict::ConnectionZone(u16::try_from(number()?).ok()?),
        _ => return None,
    })
}

/// A field of the packet's or the connection's, without any further detail.
fn field(value: &Value) -> Option<(&str, &str)> {
    let (kind, details) = value.as_object()?.iter().next()?;
    let details = details.as_object().filter(|details| details.len() == 1)?;
    Some((kind.as_str(), details.get("key")?.as_str()?))
}

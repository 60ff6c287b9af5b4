//! An application's page → lines of Prometheus' text form that every scraper can read.
//!
//! The text form is passed on as it is, but for comments that mean nothing. OpenMetrics differs in
//! little that matters here: counters are declared without their `_total`, there are more types, times
//! are in seconds, samples have exemplars, and the page has an end.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

/// The two forms that a page may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// Prometheus' text form, 0.0.4.
    Text,
    /// OpenMetrics, 1.0.0.
    OpenMetrics,
}

/// Why a page cannot be read.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("the page is not UTF-8")]
    Encoding,
    #[error("line {number} is no metric: '{start}'")]
    Line { number: usize, start: String },
    #[error("the page says it is OpenMetrics, but lacks its last line '# EOF': it was cut")]
    Cut,
}

/// Enough of a line to find it.
const START: usize = 80;

/// The page in the text form.
pub(super) fn text(page: &[u8], form: Form) -> Result<String, Invalid> {
    let page = str::from_utf8(page).map_err(|_| Invalid::Encoding)?;
    let families = match form {
        Form::Text => HashMap::new(),
        Form::OpenMetrics => families(page),
    };
    let mut text = String::with_capacity(page.len() + 1);
    let mut ended = form == Form::Text;
    for (index, line) in page.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        if form == Form::OpenMetrics && line == "# EOF" {
            ended = true;
            break;
        }
        let written = match line.strip_prefix('#') {
            Some(comment) => write_comment(&mut text, comment, form, &families),
            None if line.trim().is_empty() => Some(()),
            None => write_sample(&mut text, line, form),
        };
        if written.is_none() {
            return Err(Invalid::Line {
                number: index + 1,
                start: line.chars().take(START).collect(),
            });
        }
    }
    if ended { Ok(text) } else { Err(Invalid::Cut) }
}

/// Adds a page to others. A family that they declare already is not declared once more: Prometheus
/// would read over it, but not every scraper does.
pub(crate) fn join(text: &mut String, page: &str) {
    let declared: HashSet<String> = text
        .lines()
        .filter_map(declaration)
        .map(str::to_owned)
        .collect();
    for line in page.lines() {
        if declaration(line).is_none_or(|known| !declared.contains(known)) {
            text.push_str(line);
            text.push('\n');
        }
    }
}

/// Keyword and family of a line that declares one.
fn declaration(line: &str) -> Option<&str> {
    let rest = line
        .strip_prefix("# TYPE ")
        .or_else(|| line.strip_prefix("# HELP "))?;
    let end = rest.find(' ').unwrap_or(rest.len());
    Some(&line[..line.len() - rest.len() + end])
}

/// The types of an OpenMetrics page, by family: they may be declared after the help.
fn families(page: &str) -> HashMap<&str, &str> {
    let declared = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    declared.filter_map(|rest| rest.split_once(' ')).collect()
}

/// A declaration; a comment of another kind is left out.
fn write_comment(
    text: &mut String,
    comment: &str,
    form: Form,
    families: &HashMap<&str, &str>,
) -> Option<()> {
    let comment = comment.trim_start_matches([' ', '\t']);
    let (keyword, rest) = comment.split_once([' ', '\t']).unwrap_or((comment, ""));
    if keyword != "TYPE" && keyword != "HELP" {
        return Some(());
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let (name, words) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    if !name.is_empty() && split_name(name)?.1.is_empty() {
        let (suffix, kind) = match (form, families.get(name).copied().unwrap_or("")) {
            (Form::Text, _) => ("", words.trim()),
            (Form::OpenMetrics, "counter") => ("_total", "counter"),
            (Form::OpenMetrics, "info") => ("_info", "gauge"),
            (Form::OpenMetrics, "stateset") => ("", "gauge"),
            (Form::OpenMetrics, kind @ ("gauge" | "histogram" | "summary")) => ("", kind),
            (Form::OpenMetrics, _) => ("", "untyped"),
        };
        let known = ["counter", "gauge", "histogram", "summary", "untyped"];
        let words = match keyword {
            "HELP" => words,
            _ if known.contains(&kind) => kind,
            _ => return None,
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "# {keyword} {name}{suffix} {words}");
        return Some(());
    }
    None
}

fn write_sample(text: &mut String, line: &str, form: Form) -> Option<()> {
    let (series, rest) = split_series(line)?;
    let (sample, exemplar) = match form {
        Form::Text => (rest, None),
        Form::OpenMetrics => match rest.split_once(" # ") {
            Some((sample, exemplar)) => (sample, Some(exemplar)),
            None => (rest, None),
        },
    };
    if exemplar.is_some_and(|exemplar| !exemplar.starts_with('{')) {
        return None;
    }
    let mut words = sample.split([' ', '\t']).filter(|word| !word.is_empty());
    let (value, time) = (words.next()?, words.next());
    value.parse::<f64>().ok()?;
    let time = match (form, time) {
        (_, None) => None,
        (Form::Text, Some(time)) => Some(time.parse::<i64>().ok()?),
        (Form::OpenMetrics, Some(time)) => {
            let seconds = time.parse::<f64>().ok().filter(|time| time.is_finite())?;
            Some((seconds * 1000.0).round() as i64)
        }
    };
    if words.next().is_some() {
        return None;
    }
    let _ = match time {
        None => writeln!(text, "{series} {value}"),
        Some(time) => writeln!(text, "{series} {value} {time}"),
    };
    Some(())
}

/// A series, name and labels, and what follows.
fn split_series(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = split_name(line)?;
    let after_name = rest.trim_start_matches([' ', '\t']);
    let Some(labels) = after_name.strip_prefix('{') else {
        let series = &line[..line.len() - rest.len()];
        // A blank is all that may follow the name.
        return (rest.len() > after_name.len()).then_some((series, after_name));
    };
    let rest = skip_labels(labels)?;
    Some((&line[..line.len() - rest.len()], rest))
}

/// What follows the labels and their closing brace.
fn skip_labels(labels: &str) -> Option<&str> {
    let mut rest = labels.trim_start_matches([' ', '\t']);
    loop {
        if let Some(end) = rest.strip_prefix('}') {
            return Some(end);
        }
        let (name, after) = split_name(rest)?;
        if name.contains(':') {
            return None;
        }
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=')?;
        let value = value.trim_start_matches([' ', '\t']).strip_prefix('"')?;
        rest = skip_quoted(value)?.trim_start_matches([' ', '\t']);
        if let Some(next) = rest.strip_prefix(',') {
            rest = next.trim_start_matches([' ', '\t']);
        } else if !rest.starts_with('}') {
            return None;
        }
    }
}

/// What follows the closing quote.
fn skip_quoted(text: &str) -> Option<&str> {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(&text[index + 1..]),
            _ => {}
        }
    }
    None
}

/// A name of a metric, and what follows.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let is_letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    if !text.bytes().next().is_some_and(is_letter) {
        return None;
    }
    let end = text
        .bytes()
        .position(|byte| !is_letter(byte) && !byte.is_ascii_digit());
    Some(text.split_at(end.unwrap_or(text.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: Form, page: &str, expected: &str) {
        assert_eq!(
            text(page.as_bytes(), form).as_deref(),
            Ok(expected),
            "{page}"
        );
    }

    #[test]
    fn the_text_form_is_passed_on() {
        check(
            Form::Text,
            "# HELP a_total Some \\n help\n# TYPE a_total counter\na_total{b=\"c\\\"} \\\\\",d=\"é\",} 1e3 1395066363000\n\n\
             # a word\n#\n# EOF\nx:y NaN\nz  { a = \"1\" , b=\"2\" }  +Inf\nlast{} -0.5",
            "# HELP a_total Some \\n help\n# TYPE a_total counter\na_total{b=\"c\\\"} \\\\\",d=\"é\",} 1e3 1395066363000\n\
             x:y NaN\nz  { a = \"1\" , b=\"2\" } +Inf\nlast{} -0.5\n",
        );
        check(Form::Text, "", "");
        check(
            Form::Text,
            "# HELP a\n# TYPE a untyped\na\t1\n",
            "# HELP a \n# TYPE a untyped\na 1\n",
        );
    }

    #[test]
    fn openmetrics_is_translated() {
        check(
            Form::OpenMetrics,
            "# HELP hits Hits.\n# TYPE hits counter\n# UNIT hits seconds\n\
             hits_total{code=\"200\"} 7.0 1520879607.789 # {trace_id=\"a # b\"} 0.67 1520879607.789\n\
             hits_created{code=\"200\"} 1.5e9\n\
             # TYPE build info\nbuild_info{v=\"1\"} 1\n\
             # TYPE state stateset\nstate{state=\"on\"} 1\n\
             # TYPE odd unknown\nodd 3\n\
             # TYPE size histogram\nsize_bucket{le=\"+Inf\"} 2 # {} 1\nsize_count 2\n\
             # EOF\nafter the end\n",
            "# HELP hits_total Hits.\n# TYPE hits_total counter\n\
             hits_total{code=\"200\"} 7.0 1520879607789\n\
             hits_created{code=\"200\"} 1.5e9\n\
             # TYPE build_info gauge\nbuild_info{v=\"1\"} 1\n\
             # TYPE state gauge\nstate{state=\"on\"} 1\n\
             # TYPE odd untyped\nodd 3\n\
             # TYPE size histogram\nsize_bucket{le=\"+Inf\"} 2\nsize_count 2\n",
        );
        assert_eq!(text(b"a 1\n", Form::OpenMetrics), Err(Invalid::Cut));
    }

    #[test]
    fn a_family_is_declared_once_in_all_pages() {
        let mut text = "# TYPE a counter\na 1\n".to_owned();
        join(
            &mut text,
            "# HELP a A.\n# TYPE a counter\na{b=\"c\"} 2\n# TYPE ab gauge\nab 1\n# a word\n",
        );
        assert_eq!(
            text,
            "# TYPE a counter\na 1\n# HELP a A.\na{b=\"c\"} 2\n# TYPE ab gauge\nab 1\n# a word\n"
        );
    }

    /// Pages that a broken application might serve: a sound one with some bytes changed.
    fn broken(sound: &str) -> impl Iterator<Item = Vec<u8>> {
        const BYTES: &[u8] = b"{}\"\\=, #\n\t1aE_:.+-\xc3\xa9\r";
        let sound = sound.as_bytes().to_vec();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap_or(0)
        };
        (0..20_000).map(move |_| {
            let mut page = sound.clone();
            for _ in 0..=random(3) {
                let place = random(page.len());
                page[place] = BYTES[random(BYTES.len())];
            }
            page.truncate(random(page.len()) + 1);
            page
        })
    }

    #[test]
    fn whatever_is_accepted_is_read_again_as_the_same() {
        let sound = "# HELP hits Hits é.\n# TYPE hits counter\nhits_total{code=\"2\\\"0\",b=\"\"} 7.0 15 # {a=\"b\"} 1\n\
                     # TYPE x gauge\nx 1e3\n# EOF\n";
        let mut accepted = 0;
        for form in [Form::Text, Form::OpenMetrics] {
            for page in broken(sound) {
                let Ok(once) = text(&page, form) else {
                    continue;
                };
                accepted += 1;
                assert_eq!(text(once.as_bytes(), Form::Text), Ok(once));
            }
        }
        assert!(accepted > 100, "{accepted}");
    }

    #[test]
    fn one_bad_line_is_told_and_spoils_the_page() {
        for line in [
            "<html>",
            "1a 1",
            "a",
            "a ",
            "a b",
            "a 1 x",
            "a 1 2 3",
            "a 1 2.5",
            "a{b=\"c\" 1",
            "a{b=\"c} 1",
            "a{b=c} 1",
            "a{b:c=\"d\"} 1",
            "a{b=\"c\"d=\"e\"} 1",
            "a{,} 1",
            "{\"a.b\"} 1",
            "a-b 1",
            "a 1\r2",
            "# TYPE a",
            "# TYPE a info",
            "# TYPE 1 gauge",
            "# HELP",
        ] {
            let page = format!("ok 1\n{line}\nok 2\n");
            let found = text(page.as_bytes(), Form::Text).unwrap_err();
            assert!(
                matches!(found, Invalid::Line { number: 2, .. }),
                "{line}: {found}"
            );
        }
        let error = text(&[b'a', 0xff], Form::Text).unwrap_err();
        assert_eq!(error, Invalid::Encoding);
    }
}

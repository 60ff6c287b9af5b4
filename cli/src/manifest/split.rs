//! A YAML stream → the texts of its documents, which together are the stream.
//!
//! A line that begins with `---` is a document's beginning wherever it stands, even within a text
//! of several lines (YAML 1.2, 9.1.2), so lines are all there is to look at.

/// The text of a document, with the marker and the comments before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Chunk<'a> {
    pub(super) text: &'a str,
    /// The line of the stream where it begins, from 1.
    pub(super) line: usize,
}

/// The texts of the documents, in order.
pub(super) fn split(stream: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut start_line = 1;
    let mut state = State::default();
    let mut offset = 0;
    for (index, line) in stream.split_inclusive('\n').enumerate() {
        if state.ends_before(line) {
            let text = &stream[start..offset];
            let line = start_line;
            chunks.push(Chunk { text, line });
            (start, start_line) = (offset, index + 1);
            state = State::default();
        }
        state.take(line);
        offset += line.len();
    }
    if start < stream.len() {
        let text = &stream[start..];
        let line = start_line;
        chunks.push(Chunk { text, line });
    }
    chunks
}

/// What a document has had so far.
#[derive(Default)]
struct State {
    marker: bool,
    content: bool,
    end: bool,
}

impl State {
    fn ends_before(&self, line: &str) -> bool {
        match Line::of(line) {
            Line::Begin { .. } => self.marker || self.content || self.end,
            Line::Directive | Line::Content => self.end,
            Line::End | Line::Nothing => false,
        }
    }

    fn take(&mut self, line: &str) {
        match Line::of(line) {
            Line::Begin { content } => {
                self.marker = true;
                self.content = content;
            }
            Line::End => self.end = true,
            Line::Directive => self.content = self.marker || self.content,
            Line::Content => self.content = true,
            Line::Nothing => {}
        }
    }
}

enum Line {
    /// `---`, and whether something follows in the same line.
    Begin {
        content: bool,
    },
    /// `...`
    End,
    /// `%YAML`, `%TAG`
    Directive,
    /// Blank, or a comment.
    Nothing,
    Content,
}

impl Line {
    fn of(line: &str) -> Self {
        let line = line.trim_start_matches('\u{feff}');
        let after = |marker| {
            line.strip_prefix(marker)
                .filter(|rest: &&str| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        };
        let is_nothing = |text: &str| text.trim().is_empty() || text.trim_start().starts_with('#');
        if let Some(rest) = after("---") {
            let content = !is_nothing(rest);
            Self::Begin { content }
        } else if after("...").is_some() {
            Self::End
        } else if is_nothing(line) {
            Self::Nothing
        } else if line.starts_with('%') {
            Self::Directive
        } else {
            Self::Content
        }
    }
}

impl<'a> Chunk<'a> {
    /// The lines before the content: comments and the marker.
    fn before(&self) -> impl Iterator<Item = (&'a str, Line)> {
        let lines = self.text.split_inclusive('\n');
        lines
            .map(|line| (line, Line::of(line)))
            .take_while(|(_, kind)| !matches!(kind, Line::Content | Line::End))
            .scan(false, |done, (line, kind)| {
                if *done {
                    return None;
                }
                *done = matches!(kind, Line::Begin { content: true });
                Some((line, kind))
            })
    }

    /// Where the content begins, after whole lines that are not it.
    pub(super) fn content(&self) -> usize {
        self.before()
            .filter(|(_, kind)| !matches!(kind, Line::Begin { content: true }))
            .map(|(line, _)| line.len())
            .sum()
    }

    /// Writes what stands before the content. Directives are left out: they are about the text that
    /// is replaced.
    pub(super) fn write_before(&self, out: &mut String) {
        for (line, kind) in self.before() {
            match kind {
                Line::Directive => {}
                Line::Begin { content: true } => out.push_str("---\n"),
                _ => out.push_str(line),
            }
        }
    }

    /// The marker of the end, without which directives cannot follow.
    pub(super) fn after(&self) -> &'static str {
        let mut lines = self.text.lines().map(Line::of);
        if lines.any(|line| matches!(line, Line::End)) {
            "...\n"
        } else {
            ""
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(documents: &[&str]) {
        let stream = documents.concat();
        let found: Vec<&str> = split(&stream).iter().map(|chunk| chunk.text).collect();
        assert_eq!(found, documents);
    }

    #[test]
    fn markers_part_documents() {
        check(&[]);
        check(&["a: 1\n"]);
        check(&["a: 1\n", "---\nb: 1\n", "---\nc: 1"]);
        check(&["---\na: 1\n", "---\r\nb: 1\r\n", "--- {c: 1}\n", "---"]);
        check(&["\u{feff}---\na: 1\n", "---\nb: 1\n"]);
    }

    #[test]
    fn what_only_looks_like_a_marker_parts_nothing() {
        check(&["a: |\n  ---\n  b\n---- c\n---d: 1\n ---\n"]);
    }

    #[test]
    fn comments_and_directives_belong_to_what_follows_the_first_and_the_end() {
        check(&["# a\n\n---\n# b\na: 1\n# c\n", "---\n# d\n"]);
        check(&["%YAML 1.2\n---\na: 1\n...\n# x\n", "%YAML 1.2\n---\nb: 1\n"]);
        check(&["a: 1\n...\n", "b: 1\n"]);
        check(&["a: 1\n...\n", "---\nb: 1\n"]);
    }

    #[test]
    fn comments_before_the_content_can_be_kept() {
        let kept = |text: &str| {
            let mut out = String::new();
            let chunk = Chunk { text, line: 1 };
            chunk.write_before(&mut out);
            (out, text[chunk.content()..].to_owned(), chunk.after())
        };
        let owned = |before: &str, content: &str, after| (before.into(), content.into(), after);
        assert_eq!(kept("a: 1\n# x\n"), owned("", "a: 1\n# x\n", ""));
        assert_eq!(
            kept("# x\n---\n# y\n\na: 1\n"),
            owned("# x\n---\n# y\n\n", "a: 1\n", "")
        );
        assert_eq!(
            kept("%YAML 1.2\n--- {a: 1}\n...\n"),
            owned("---\n", "--- {a: 1}\n...\n", "...\n")
        );
    }

    #[test]
    fn lines_are_those_of_the_stream() {
        let lines: Vec<usize> = split("# x\na: 1\n---\nb: 1\n---\nc: 1\n")
            .iter()
            .map(|chunk| chunk.line)
            .collect();
        assert_eq!(lines, [1, 3, 5]);
    }
}

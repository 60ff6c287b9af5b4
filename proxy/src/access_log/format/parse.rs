//! A format string → literals and commands, without a look at what a command means.

/// A part of a format string.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Token<'a> {
    /// To be printed as it is.
    Literal(&'a str),
    /// `%NAME(parameter):max_length%`
    Command(Call<'a>),
}

/// A command as it is written.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Call<'a> {
    /// Where it begins in the format string, in bytes.
    pub(super) position: usize,
    /// Its name.
    pub(super) name: &'a str,
    /// What stands between its brackets.
    pub(super) parameter: Option<&'a str>,
    /// After how many bytes its value is cut off.
    pub(super) max_length: Option<usize>,
}

/// A percent sign that begins no command.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Malformed {
    /// Where it stands in the format string, in bytes.
    pub(super) position: usize,
}

/// The parts of a format string, in their order.
pub(super) fn tokens(format: &str) -> Result<Vec<Token<'_>>, Malformed> {
    let mut tokens = Vec::new();
    let mut position = 0;
    while let Some(length) = format[position..].find('%') {
        if length > 0 {
            tokens.push(Token::Literal(&format[position..position + length]));
        }
        position += length;
        let rest = &format[position..];
        if rest.starts_with("%%") {
            tokens.push(Token::Literal("%"));
            position += 2;
            continue;
        }
        let (call, length) = call(rest, position).ok_or(Malformed { position })?;
        tokens.push(Token::Command(call));
        position += length;
    }
    if position < format.len() {
        tokens.push(Token::Literal(&format[position..]));
    }
    Ok(tokens)
}

/// The command that the text begins with, and how long it is.
fn call(text: &str, position: usize) -> Option<(Call<'_>, usize)> {
    let after_sign = &text[1..];
    let is_of_name =
        |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let length = after_sign.bytes().take_while(is_of_name).count();
    if length == 0 {
        return None;
    }
    let (name, rest) = after_sign.split_at(length);
    let whole = |parameter, max_length, rest: &str| {
        let call = Call {
            position,
            name,
            parameter,
            max_length,
        };
        (call, text.len() - rest.len())
    };
    let Some(inside) = rest.strip_prefix('(') else {
        let (max_length, rest) = end(rest)?;
        return Some(whole(None, max_length, rest));
    };
    // A bracket ends the parameter only where the command can end, too; a line end ends all.
    let inside_line = inside.split('\n').next().unwrap_or_default();
    inside_line.match_indices(')').find_map(|(index, _)| {
        let (max_length, rest) = end(&inside[index + 1..])?;
        Some(whole(Some(&inside[..index]), max_length, rest))
    })
}

/// The length limit, and what follows the command.
fn end(text: &str) -> Option<(Option<usize>, &str)> {
    let Some(limited) = text.strip_prefix(':') else {
        return Some((None, text.strip_prefix('%')?));
    };
    let digits = limited.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = limited.split_at(digits);
    Some((Some(number.parse().ok()?), rest.strip_prefix('%')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Token<'_> {
        Token::Literal(text)
    }

    fn command<'a>(
        position: usize,
        name: &'a str,
        parameter: Option<&'a str>,
        max_length: Option<usize>,
    ) -> Token<'a> {
        Token::Command(Call {
            position,
            name,
            parameter,
            max_length,
        })
    }

    #[test]
    fn literals_and_commands_are_told_apart() {
        let check = |format, expected: &[Token<'_>]| {
            assert_eq!(tokens(format).unwrap(), expected, "{format}");
        };
        check("", &[]);
        check("a\nb", &[literal("a\nb")]);
        check("%%", &[literal("%")]);
        check(
            "a%%%A%",
            &[literal("a"), literal("%"), command(3, "A", None, None)],
        );
        check("%A()%", &[command(0, "A", Some(""), None)]);
        check("%A:3%", &[command(0, "A", None, Some(3))]);
        check(
            "%A_9(b):03%é",
            &[command(0, "A_9", Some("b"), Some(3)), literal("é")],
        );
        check("%A(%)%", &[command(0, "A", Some("%"), None)]);
        check("%A(b)c)%", &[command(0, "A", Some("b)c"), None)]);
        check(
            "%A(b)% %A(c)%",
            &[
                command(0, "A", Some("b"), None),
                literal(" "),
                command(7, "A", Some("c"), None),
            ],
        );
    }

    #[test]
    fn a_stray_percent_sign_is_found() {
        let check = |format, position| {
            assert_eq!(tokens(format), Err(Malformed { position }), "{format}");
        };
        check("%", 0);
        check("a % b", 2);
        check("%a%", 0);
        check("%A %", 0);
        check("%A", 0);
        check("%A%%", 3);
        check("%A(b%", 0);
        check("%A(b)c%", 0);
        check("%A(b):%", 0);
        check("%A(b):-1%", 0);
        check("%A(b):x%", 0);
        check("%A(b\nc)%", 0);
        check("%A:99999999999999999999999%", 0);
    }
}

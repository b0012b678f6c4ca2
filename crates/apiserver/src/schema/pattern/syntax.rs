//! Regular expressions as Go's `regexp` reads them (the RE2 syntax), written for `regex`.
//!
//! The two differ where clients notice: perl classes are ASCII in Go, a `{` that begins no
//! repetition is literal, `\Q…\E` quotes, and `[`, `&&`, `--` and `~~` mean nothing in a class.
//! Whatever stands for itself is written so that it cannot mean anything else.

use std::fmt::Write as _;

/// Most repetitions that Go allows.
const MAX_REPEAT: u32 = 1000;

/// Named classes; others are an error in Go and something else in `regex`.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// The same pattern for `regex`, or why Go refuses it. What both refuse may be left to `regex`.
pub(super) fn translate(source: &str) -> Result<String> {
    let mut translator = Translator {
        rest: source,
        out: String::with_capacity(source.len() + 16),
    };
    translator.pattern()?;
    Ok(translator.out)
}

struct Translator<'a> {
    rest: &'a str,
    out: String,
}

type Result<T> = std::result::Result<T, String>;

impl<'a> Translator<'a> {
    fn pattern(&mut self) -> Result<()> {
        let mut repeated = false;
        while let Some(c) = self.rest.chars().next() {
            let repetition = self.repetition();
            if let Some(length) = repetition {
                if repeated {
                    return Err(format!("invalid nested repetition operator: `{c}`"));
                }
                let operator = self.take(length);
                check_counts(operator)?;
                self.out.push_str(operator);
                if self.rest.starts_with('?') {
                    self.copy(1);
                }
            } else {
                self.next();
                match c {
                    '\\' => self.escape()?,
                    '[' => self.class()?,
                    '(' => self.group()?,
                    '.' | '^' | '$' | '|' | ')' => self.out.push(c),
                    c => self.literal(c),
                }
            }
            repeated = repetition.is_some();
        }
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn copy(&mut self, length: usize) {
        let taken = self.take(length);
        self.out.push_str(taken);
    }

    /// A character that stands for itself, in a class or outside.
    fn literal(&mut self, c: char) {
        if c.is_ascii_alphanumeric() || !c.is_ascii() {
            self.out.push(c);
        } else {
            // Writing to a string does not fail.
            let _ = write!(self.out, "\\x{:02X}", u32::from(c));
        }
    }

    /// The length of the repetition operator at hand.
    fn repetition(&self) -> Option<usize> {
        if self.rest.starts_with(['*', '+', '?']) {
            return Some(1);
        }
        let (inner, _) = self.rest.strip_prefix('{')?.split_once('}')?;
        let count = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            digits && (text == "0" || !text.starts_with('0'))
        };
        let valid = match inner.split_once(',') {
            Some((least, most)) => count(least) && (most.is_empty() || count(most)),
            None => count(inner),
        };
        valid.then_some(inner.len() + 2)
    }

    /// What comes after an opening parenthesis.
    fn group(&mut self) -> Result<()> {
        self.out.push('(');
        if !self.rest.starts_with('?') {
            return Ok(());
        }
        let end = if self.rest.starts_with("?P<") || self.rest.starts_with("?<") {
            self.rest.find('>')
        } else {
            self.rest.find([':', ')'])
        };
        let header = self.take(end.ok_or("missing closing )")?);
        let flags = |c: char| "imsU-".contains(c);
        if !header.contains('<') && !header[1..].chars().all(flags) {
            return Err(format!("invalid or unsupported Perl syntax: `({header}`"));
        }
        self.out.push_str(header);
        self.copy(1);
        Ok(())
    }

    /// What comes after a backslash, outside of classes.
    fn escape(&mut self) -> Result<()> {
        let Some(c) = self.rest.chars().next() else {
            return Err("trailing backslash at end of expression".to_owned());
        };
        match c {
            'A' | 'z' => {
                self.out.push('\\');
                self.copy(1);
            }
            'b' | 'B' => {
                self.next();
                self.out
                    .push_str(if c == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
            }
            'Q' => {
                self.next();
                let end = self.rest.find(r"\E").unwrap_or(self.rest.len());
                self.take(end).chars().for_each(|c| self.literal(c));
                self.take(self.rest.len().min(2));
            }
            'p' | 'P' => self.unicode_class(),
            _ => {
                if let Some(members) = perl(c) {
                    self.next();
                    let not = if c.is_ascii_uppercase() { "^" } else { "" };
                    // Folding case would let other scripts in.
                    let _ = write!(self.out, "(?-i:[{not}{members}])");
                } else {
                    let c = self.escaped()?;
                    self.literal(c);
                }
            }
        }
        Ok(())
    }

    /// The character that an escape sequence stands for; the backslash has been taken.
    fn escaped(&mut self) -> Result<char> {
        let c = self
            .next()
            .ok_or("trailing backslash at end of expression")?;
        let invalid = || format!("invalid escape sequence: `\\{c}`");
        Ok(match c {
            'a' => '\x07',
            'f' => '\x0C',
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'v' => '\x0B',
            'x' => self.hexadecimal().ok_or_else(invalid)?,
            '1'..='7' if !self.rest.starts_with(|c: char| c.is_digit(8)) => return Err(invalid()),
            '0'..='7' => {
                let more = self.rest.bytes().take(2);
                let more = more.take_while(|b| matches!(b, b'0'..=b'7')).count();
                let digits = format!("{c}{}", self.take(more));
                let code = u32::from_str_radix(&digits, 8).ok();
                code.and_then(char::from_u32).ok_or_else(invalid)?
            }
            c if c.is_ascii_punctuation() || c == ' ' || c.is_ascii_control() => c,
            _ => return Err(invalid()),
        })
    }

    /// What comes after `\x`.
    fn hexadecimal(&mut self) -> Option<char> {
        let digits = if self.rest.starts_with('{') {
            let end = self.rest.find('}')?;
            &self.take(end + 1)[1..end]
        } else {
            self.rest.get(..2)?;
            self.take(2)
        };
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| hexadecimal);
        code.and_then(char::from_u32)
    }

    /// `pL`, `p{Greek}` or `p{^Greek}`, which `regex` writes `P{Greek}`.
    fn unicode_class(&mut self) {
        let positive = self.next() == Some('p');
        let negated = self.rest.starts_with("{^");
        self.out
            .push_str(if positive == negated { r"\P" } else { r"\p" });
        if negated {
            self.take(2);
            self.out.push('{');
        } else {
            // So that a brace is not taken for a literal one.
            let first = self.next();
            self.out.extend(first);
            if first != Some('{') {
                return;
            }
        }
        let end = self.rest.find('}').map_or(self.rest.len(), |end| end + 1);
        self.copy(end);
    }

    /// What comes after the opening bracket of a class.
    fn class(&mut self) -> Result<()> {
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        let mut first = true;
        while first || !self.rest.starts_with(']') {
            first = false;
            self.class_item()?;
        }
        self.copy(1);
        Ok(())
    }

    fn class_item(&mut self) -> Result<()> {
        if self.rest.starts_with("[:")
            && let Some(end) = self.rest.find(":]")
            && end > 1
        {
            let name = self.rest[2..end].trim_start_matches('^');
            if !POSIX.contains(&name) || end - 2 > name.len() + 1 {
                let class = &self.rest[..end + 2];
                return Err(format!("invalid character class range: `{class}`"));
            }
            self.copy(end + 2);
            return Ok(());
        }
        if let Some(escaped) = self.rest.strip_prefix('\\') {
            let c = escaped.chars().next().unwrap_or_default();
            if let Some(members) = perl(c) {
                self.take(2);
                let not = if c.is_ascii_uppercase() { "^" } else { "" };
                let _ = write!(self.out, "[{not}{members}]");
                return Ok(());
            }
            if matches!(c, 'p' | 'P') {
                self.take(1);
                self.unicode_class();
                return Ok(());
            }
        }
        let low = self.class_char()?;
        self.literal(low);
        if self.rest.starts_with('-') && self.rest.len() > 1 && !self.rest.starts_with("-]") {
            self.copy(1);
            let high = self.class_char()?;
            self.literal(high);
        }
        Ok(())
    }

    fn class_char(&mut self) -> Result<char> {
        match self.next() {
            None => Err("missing closing ]".to_owned()),
            Some('\\') => self.escaped(),
            Some(c) => Ok(c),
        }
    }
}

/// The members of a perl class, which are ASCII; an upper-case name is for all others.
fn perl(name: char) -> Option<&'static str> {
    Some(match name {
        'd' | 'D' => "0-9",
        'w' | 'W' => "0-9A-Za-z_",
        's' | 'S' => r"\t\n\x0C\r\x20",
        _ => return None,
    })
}

/// Refuses more repetitions than Go allows.
fn check_counts(operator: &str) -> Result<()> {
    let mut counts = operator.split(['{', ',', '}']);
    let within = |count: &str| count.parse().is_ok_and(|count: u32| count <= MAX_REPEAT);
    if operator.starts_with('{') && !counts.all(|count| count.is_empty() || within(count)) {
        return Err(format!("invalid repeat count: `{operator}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    #[track_caller]
    fn matches(pattern: &str, text: &str) -> bool {
        Regex::new(&translate(pattern).unwrap())
            .unwrap()
            .is_match(text)
    }

    #[test]
    fn perl_classes_are_ascii() {
        let cases = [
            (r"^\d+$", "42", "٤٢"),
            (r"^[\d.]+$", "4.2", "٤"),
            (r"^\w+$", "a_1", "ä"),
            (r"(?i)^\w$", "k", "\u{212A}"),
            (r"^\s$", "\t", "\u{b}"),
            (r"^[^\s]$", "\u{a0}", " "),
            (r"^\D$", "٤", "4"),
            (r"^[\Wa]$", "ä", "b"),
            (r"a\b", "aä", "ab"),
            (r"a\B", "ab", "a"),
        ];
        for (pattern, yes, no) in cases {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
    }

    #[test]
    fn what_stands_for_itself_in_go_does_so_here() {
        let cases = [
            ("^[[]$", "[", "]"),
            ("^[]a]$", "]", "b"),
            ("^[a&&b]+$", "a&b", "c"),
            ("^[+--]+$", "+,-", "."),
            ("^[a~~b]+$", "~", "c"),
            ("^{$", "{", "a"),
            ("^a{,2}$", "a{,2}", "aa"),
            ("^a{1,x}$", "a{1,x}", "a"),
            ("^a{01}$", "a{01}", "a"),
            (r"^\Q[a](\E+$", "[a]((", "a"),
            (r"^\Q.*", ".*", "aa"),
            (r"^\<\_\>$", "<_>", "a"),
            (r"^\101\x42\x{43}$", "ABC", "abc"),
            (r"^[\101-\x43]$", "B", "D"),
            (r"^[[:alpha:]-]+$", "a-", "ä"),
            (r"^[[:^alpha:]]+$", "ä", "a"),
            (r"^\p{^Greek}$", "a", "α"),
            (r"^[\P{^Greek}]$", "α", "a"),
            (r"^\pL{2}$", "äa", "a1"),
            ("^(?i:A)(?P<n>b)(?<m>c)$", "abc", "aBc"),
            ("^a{2,3}?$", "aaa", "a"),
        ];
        for (pattern, yes, no) in cases {
            assert!(matches(pattern, yes), "{pattern} {yes}");
            assert!(!matches(pattern, no), "{pattern} {no}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        let patterns = [
            "(",
            ")",
            "[",
            "[a",
            "a**",
            "*",
            r"\1",
            r"\u0041",
            r"\Z",
            r"\",
            "a{1001}",
            "(?x)a",
            "(?=a)",
            "[[:nope:]]",
            r"[a-\d]",
            "[b-a]",
            r"\x{110000}",
            r"\p{Nope}",
            "a{2}{3}",
        ];
        for pattern in patterns {
            let refused = translate(pattern).map(|translated| Regex::new(&translated).is_err());
            assert!(refused.unwrap_or(true), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in r"[a-cäQExpdwsPB0-9\[\]\\^(){}?:<>*+|.,&~\n-]{0,30}") {
            if let Ok(translated) = translate(&text) {
                let _ = Regex::new(&translated);
            }
        }

        #[test]
        fn quoted_text_matches_itself_alone(text in "[^\\\\]{0,20}") {
            let pattern = format!(r"^\Q{text}\E$");
            prop_assert!(matches(&pattern, &text));
            let text = format!("{text}!");
            prop_assert!(!matches(&pattern, &text));
        }
    }
}

//! Formulas as text: what is shown is what is computed.
//!
//! `+ - * /`, brackets, numbers, names, and `max(…)`, `min(…)`, `ceil(…)`, `floor(…)`.

use core::fmt::Write as _;

/// A formula, read.
#[derive(Clone, Debug, PartialEq)]
pub enum Formula {
    /// A constant.
    Number(f64),
    /// Another quantity.
    Name(String),
    /// Two parts and the sign between them.
    Both(Box<Self>, char, Box<Self>),
    /// A function of its parts.
    Call(Function, Vec<Self>),
}

/// What a formula may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Up to a whole number.
    Ceil,
    /// Down to a whole number.
    Floor,
}

const FUNCTIONS: [(&str, Function); 4] =
    [("max", Function::Max), ("min", Function::Min), ("ceil", Function::Ceil), ("floor", Function::Floor)];

impl Formula {
    /// Reads a formula.
    ///
    /// # Errors
    /// What was expected, and where (characters from the begin).
    pub fn read(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text: text.as_bytes(), at: 0 };
        let formula = reader.sum()?;
        reader.space();
        if reader.at == reader.text.len() { Ok(formula) } else { Err(reader.wrong("an operator or the end")) }
    }

    /// Its value. `of` gives the value of a name; a name it does not know makes the whole NaN.
    pub fn value(&self, of: &impl Fn(&str) -> Option<f64>) -> f64 {
        match self {
            Self::Number(number) => *number,
            Self::Name(name) => of(name).unwrap_or(f64::NAN),
            Self::Both(left, sign, right) => {
                let (left, right) = (left.value(of), right.value(of));
                match sign {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                }
            }
            Self::Call(function, parts) => {
                let mut values = parts.iter().map(|part| part.value(of));
                let first = values.next().unwrap_or(f64::NAN);
                match function {
                    Function::Max => values.fold(first, f64::max),
                    Function::Min => values.fold(first, f64::min),
                    Function::Ceil => first.ceil(),
                    Function::Floor => first.floor(),
                }
            }
        }
    }

    /// The names in it, each as often as it stands there.
    pub fn names<'a>(&'a self, into: &mut Vec<&'a str>) {
        match self {
            Self::Number(_) => {}
            Self::Name(name) => into.push(name),
            Self::Both(left, _, right) => {
                left.names(into);
                right.names(into);
            }
            Self::Call(_, parts) => parts.iter().for_each(|part| part.names(into)),
        }
    }

    /// As text, each name as `say` says it.
    pub fn say(&self, say: &impl Fn(&str) -> String, number: &impl Fn(f64) -> String) -> String {
        let mut text = String::new();
        self.write(&mut text, 0, say, number);
        text
    }

    fn write(&self, text: &mut String, outer: u8, say: &impl Fn(&str) -> String, number: &impl Fn(f64) -> String) {
        match self {
            Self::Number(value) => text.push_str(&number(*value)),
            Self::Name(name) => text.push_str(&say(name)),
            Self::Both(left, sign, right) => {
                let (own, sign) = match sign {
                    '+' => (1, "+"),
                    '-' => (1, "−"),
                    '*' => (2, "×"),
                    _ => (2, "/"),
                };
                let brackets = own < outer;
                text.push_str(if brackets { "(" } else { "" });
                left.write(text, own, say, number);
                let _ = write!(text, " {sign} ");
                // a − (b − c) and a / (b × c) keep their brackets.
                right.write(text, own + u8::from(sign == "−" || sign == "/"), say, number);
                text.push_str(if brackets { ")" } else { "" });
            }
            Self::Call(function, parts) => {
                let name = FUNCTIONS.iter().find(|f| f.1 == *function).map_or("", |f| f.0);
                let _ = write!(text, "{name}(");
                for (place, part) in parts.iter().enumerate() {
                    text.push_str(if place > 0 { ", " } else { "" });
                    part.write(text, 0, say, number);
                }
                text.push(')');
            }
        }
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn next_is(&mut self, signs: &[u8]) -> Option<char> {
        self.space();
        let found = *self.text.get(self.at).filter(|c| signs.contains(c))?;
        self.at += 1;
        Some(char::from(found))
    }

    fn wrong(&self, expected: &str) -> String {
        let found = self.text.get(self.at).map_or_else(|| "the end".to_owned(), |c| format!("`{}`", char::from(*c)));
        format!("expected {expected} at {}, found {found}", self.at)
    }

    fn sum(&mut self) -> Result<Formula, String> {
        let mut left = self.product()?;
        while let Some(sign) = self.next_is(b"+-") {
            left = Formula::Both(Box::new(left), sign, Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Formula, String> {
        let mut left = self.part()?;
        while let Some(sign) = self.next_is(b"*/") {
            left = Formula::Both(Box::new(left), sign, Box::new(self.part()?));
        }
        Ok(left)
    }

    fn part(&mut self) -> Result<Formula, String> {
        if self.next_is(b"(").is_some() {
            let inner = self.sum()?;
            return self.close(inner);
        }
        let word = self.word();
        if word.is_empty() {
            return Err(self.wrong("a number, a name or `(`"));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().map(Formula::Number).map_err(|_| format!("`{word}` is no number"));
        }
        if self.next_is(b"(").is_none() {
            return Ok(Formula::Name(word));
        }
        let Some((_, function)) = FUNCTIONS.iter().find(|f| f.0 == word) else {
            return Err(format!("there is no function `{word}`"));
        };
        let mut parts = vec![self.sum()?];
        while self.next_is(b",").is_some() {
            parts.push(self.sum()?);
        }
        self.close(Formula::Call(*function, parts))
    }

    fn close(&mut self, inner: Formula) -> Result<Formula, String> {
        if self.next_is(b")").is_some() { Ok(inner) } else { Err(self.wrong("`)`")) }
    }

    /// A name or a number (`1e9`, `0.5`), without a sign.
    fn word(&mut self) -> String {
        self.space();
        let rest = &self.text[self.at..];
        let length = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'_' || **c == b'.').count();
        self.at += length;
        String::from_utf8_lossy(&rest[..length]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> f64 {
        let of = |name: &str| [("a", 2.0), ("b", 5.0), ("c_d", 10.0)].iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        Formula::read(text).unwrap().value(&of)
    }

    #[test]
    fn formulas_are_computed_as_written() {
        assert_eq!(value("a + b * c_d"), 52.0);
        assert_eq!(value("(a + b) * c_d"), 70.0);
        assert_eq!(value("c_d - b - a"), 3.0);
        assert_eq!(value("c_d / b / a"), 1.0);
        assert_eq!(value("max(a, b, 1) + min(a, b)"), 7.0);
        assert_eq!(value("ceil(b / a) + floor(b / a)"), 5.0);
        assert_eq!(value("1e9 / 0.5"), 2e9);
        assert!(value("a + nobody").is_nan());
    }

    #[test]
    fn what_is_shown_has_the_brackets_it_needs() {
        let shown = |text: &str| Formula::read(text).unwrap().say(&str::to_owned, &|n| n.to_string());
        assert_eq!(shown("(a + b) * c_d - (a - b)"), "(a + b) × c_d − (a − b)");
        assert_eq!(shown("a / (b * c_d)"), "a / (b × c_d)");
        assert_eq!(shown("(a * b) + c_d"), "a × b + c_d");
        assert_eq!(shown("ceil((a + 1) / b)"), "ceil((a + 1) / b)");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, word) in [
            ("a +", "at 3, found the end"),
            ("(a", "expected `)`"),
            ("a b", "an operator or the end at 2"),
            ("sqrt(a)", "no function `sqrt`"),
            ("1x", "`1x` is no number"),
        ] {
            let wrong = Formula::read(text).unwrap_err();
            assert!(wrong.contains(word), "{text}: {wrong}");
        }
    }
}

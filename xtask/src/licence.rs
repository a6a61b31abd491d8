//! Whether an SPDX licence expression can be met by allowed licences alone. It knows the operators that crates use
//! (`AND`, `OR`, `WITH`, parentheses, and the old `/` for `OR`), and no licence by itself.

/// True if some choice among the expression's alternatives needs only licences that `allowed` accepts. `WITH` and its
/// exception belong to the licence's name. An expression that cannot be read is refused.
pub(crate) fn satisfied(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut parser = Parser {
        words: spaced.split_whitespace().peekable(),
        allowed,
    };
    parser.alternatives() == Some(true) && parser.words.next().is_none()
}

struct Parser<'a, I: Iterator<Item = &'a str>> {
    words: std::iter::Peekable<I>,
    allowed: &'a dyn Fn(&str) -> bool,
}

impl<'a, I: Iterator<Item = &'a str>> Parser<'a, I> {
    fn alternatives(&mut self) -> Option<bool> {
        let mut met = self.conjunction()?;
        while self.words.next_if_eq(&"OR").is_some() {
            met |= self.conjunction()?;
        }
        Some(met)
    }

    fn conjunction(&mut self) -> Option<bool> {
        let mut met = self.term()?;
        while self.words.next_if_eq(&"AND").is_some() {
            met &= self.term()?;
        }
        Some(met)
    }

    fn term(&mut self) -> Option<bool> {
        match self.words.next()? {
            "(" => {
                let met = self.alternatives()?;
                self.words.next_if_eq(&")").map(|_| met)
            }
            ")" | "AND" | "OR" | "WITH" => None,
            name if self.words.next_if_eq(&"WITH").is_some() => Some((self.allowed)(&format!(
                "{name} WITH {}",
                self.words.next()?
            ))),
            name => Some((self.allowed)(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::satisfied;

    #[test]
    fn expressions() {
        let allowed = |name: &str| ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].contains(&name);
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND ISC", true),
            ("MIT AND GPL-3.0", false),
            ("MIT OR ISC AND GPL-3.0", true),
            ("(MIT OR ISC) AND GPL-3.0", false),
            ("(GPL-3.0 OR MIT) AND ISC", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("", false),
            ("MIT ISC", false),
            ("(MIT", false),
            ("MIT OR", false),
            ("AND MIT", false),
        ] {
            assert_eq!(satisfied(expression, &allowed), expected, "{expression:?}");
        }
    }
}

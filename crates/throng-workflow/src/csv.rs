//! Comma-separated values (RFC 4180) as a tree, every value with its place: a list of maps from the head's names to texts.
//!
//! Stricter than other readers, since what is written here in a way that can be read in two is a password. An empty field is
//! one that isn't there. Lines without anything are passed over.

use std::str::Chars;

use crate::node::{Key, Kind, Node};
use crate::problem::{Mark, Problems};

/// Reads a file whose first line names the columns, which must be of the `known` ones.
pub(crate) fn parse(source: &str, known: &[&str], problems: &mut Problems) -> Option<Node> {
    let mut records = Reader::new(source).records(problems)?.into_iter();
    let Some(head) = records.next() else {
        problems.add(
            at(1, 1, 1),
            format!(
                "expected a line with the columns, such as {}",
                known[..2].join(",")
            ),
        );
        return None;
    };
    if !check_head(&head, known, problems) {
        return None;
    }
    let mut rows = Vec::new();
    for record in records {
        let mark = record[0].mark;
        if record.len() != head.len() {
            problems.add_with_help(
                mark,
                format!(
                    "this line has {}, but the first names {}",
                    counted(record.len(), "field"),
                    counted(head.len(), "column")
                ),
                "put a field that has a comma in it in quotes",
            );
            continue;
        }
        let fields = head.iter().zip(record);
        let entries = fields.filter(|(_, field)| !field.text.is_empty());
        let entries = entries.map(|(column, field)| {
            let key = Key {
                text: column.text.trim().to_owned(),
                mark: column.mark,
            };
            (key, node(Kind::Text(field.text), field.mark))
        });
        rows.push(node(
            Kind::Map(entries.collect()),
            Mark { length: 1, ..mark },
        ));
    }
    Some(node(Kind::List(rows), at(1, 1, 1)))
}

fn check_head(head: &[Field], known: &[&str], problems: &mut Problems) -> bool {
    let mut right = true;
    for (index, column) in head.iter().enumerate() {
        let name = column.text.trim();
        if head[..index].iter().any(|other| other.text.trim() == name) {
            problems.add(column.mark, format!("the column `{name}` is named twice"));
            right = false;
        } else if !known.contains(&name) {
            if head.len() == 1 && name.contains([';', '\t']) {
                problems.add(column.mark, "expected commas between the columns");
            } else {
                problems.unknown(column.mark, "column", name, known.iter().copied());
            }
            right = false;
        }
    }
    right
}

fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn node(kind: Kind, mark: Mark) -> Node {
    Node {
        kind,
        mark,
        from_environment: false,
        named: None,
    }
}

fn at(line: u32, column: u32, length: u32) -> Mark {
    Mark {
        line,
        column,
        length,
        flag: None,
    }
}

struct Field {
    text: String,
    mark: Mark,
}

/// The text from some place on.
struct Reader<'a> {
    rest: Chars<'a>,
    line: u32,
    column: u32,
}

impl<'a> Reader<'a> {
    fn new(source: &'a str) -> Self {
        Self {
            rest: source.chars(),
            line: 1,
            column: 1,
        }
    }

    /// The next character and the one after it, which stay where they are.
    fn peek(&self) -> (Option<char>, Option<char>) {
        let mut ahead = self.rest.clone();
        (ahead.next(), ahead.next())
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next()?;
        if next == '\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
        Some(next)
    }

    /// Takes what ends a field: a comma, a line's end, the text's end. Whether the record goes on; nothing if something else
    /// stands here.
    fn end(&mut self) -> Option<bool> {
        match self.peek() {
            (Some(','), _) => {
                self.next();
                Some(true)
            }
            (Some('\n'), _) => {
                self.next();
                Some(false)
            }
            (Some('\r'), Some('\n') | None) => {
                self.next();
                self.next();
                Some(false)
            }
            (None, _) => Some(false),
            (Some(_), _) => None,
        }
    }

    /// All records that have something in them. A mistake in the quotes ends the reading: what follows would be misread.
    fn records(mut self, problems: &mut Problems) -> Option<Vec<Vec<Field>>> {
        let mut records = Vec::new();
        while self.peek().0.is_some() {
            let mut record = Vec::new();
            loop {
                let (field, goes_on) = self.field(problems)?;
                record.push(field);
                if !goes_on {
                    break;
                }
            }
            let blank = matches!(record.as_slice(), [field] if field.text.trim().is_empty());
            if !blank {
                records.push(record);
            }
        }
        Some(records)
    }

    fn field(&mut self, problems: &mut Problems) -> Option<(Field, bool)> {
        let begin = at(self.line, self.column, 1);
        let mut text = String::new();
        if self.peek().0 == Some('"') {
            self.next();
            loop {
                match self.next() {
                    Some('"') if self.peek().0 == Some('"') => {
                        self.next();
                        text.push('"');
                    }
                    Some('"') => break,
                    Some(other) => text.push(other),
                    None => {
                        problems.add(begin, "nothing ends the quotes that begin here");
                        return None;
                    }
                }
            }
            let place = at(self.line, self.column, 1);
            let Some(goes_on) = self.end() else {
                problems.add_with_help(
                    place,
                    "expected a comma or the line's end after the quotes",
                    "write a quote inside quotes twice",
                );
                return None;
            };
            return Some((Field { text, mark: begin }, goes_on));
        }
        loop {
            if let Some(goes_on) = self.end() {
                let length = text.chars().count() as u32;
                let mark = Mark { length, ..begin };
                return Some((Field { text, mark }, goes_on));
            }
            let place = at(self.line, self.column, 1);
            match self.next() {
                Some('"') => {
                    problems.add_with_help(
                        place,
                        "a quote in a field without quotes",
                        "put the field in quotes, and write this one twice",
                    );
                    return None;
                }
                Some(other) => text.push(other),
                // `end` has seen that.
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["name", "password", "email"];

    fn parsed(source: &str) -> Result<serde_json::Value, String> {
        let mut problems = Problems::new("users.csv", "");
        let root = parse(source, &KNOWN, &mut problems);
        if problems.is_empty() {
            Ok(root.expect("a tree").to_json())
        } else {
            let all: Vec<String> = problems
                .into_sorted()
                .iter()
                .map(ToString::to_string)
                .collect();
            Err(all.join("; "))
        }
    }

    #[test]
    fn fields_are_read_as_rfc_4180_has_them() {
        for (source, expected) in [
            ("name,password\na,b\n", r#"[{"name":"a","password":"b"}]"#),
            (
                "name,password\r\na,b\r\nc,d",
                r#"[{"name":"a","password":"b"},{"name":"c","password":"d"}]"#,
            ),
            (
                "password, name\n\"b,\"\"c\"\"\n d\", e \n",
                r#"[{"password":"b,\"c\"\n d","name":" e "}]"#,
            ),
            (
                "name,email\n\na,\n  \n\"\",x\n",
                r#"[{"name":"a"},{"email":"x"}]"#,
            ),
            ("name\n", "[]"),
        ] {
            let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
            assert_eq!(parsed(source), Ok(expected), "{source:?}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place_and_without_what_stands_there() {
        for (source, says) in [
            (
                "",
                "users.csv:1:1: expected a line with the columns, such as name,password",
            ),
            (
                "name,pasword\na,s3cret\n",
                "users.csv:1:6: unknown column `pasword`\n  help: did you mean `password`?",
            ),
            (
                "name,name\n",
                "users.csv:1:6: the column `name` is named twice",
            ),
            (
                "name;password\n",
                "users.csv:1:1: expected commas between the columns",
            ),
            (
                "name,password\na,s3,cret\n",
                "users.csv:2:1: this line has 3 fields, but the first names 2 columns",
            ),
            (
                "name,password\na\n",
                "users.csv:2:1: this line has 1 field, but the first names 2 columns",
            ),
            (
                "name,password\na,\"s3cret\n",
                "users.csv:2:3: nothing ends the quotes that begin here",
            ),
            (
                "name,password\na,\"s3\"cret\n",
                "users.csv:2:7: expected a comma or the line's end after the quotes",
            ),
            (
                "name,password\na,s3\"cret\n",
                "users.csv:2:5: a quote in a field without quotes",
            ),
        ] {
            let said = parsed(source).unwrap_err();
            assert!(said.starts_with(says), "{source:?}: {said}");
            assert!(!said.contains("cret"), "{said}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(source in r#"[ab,"\n\r ]{0,40}"#) {
            let mut problems = Problems::new("users.csv", "");
            parse(&source, &["a", "b"], &mut problems);
        }
    }
}

//! Stack traces in texts.

use std::sync::LazyLock;

use regex::Regex;

/// What traces look like. Each pattern needs more than a word that a message may have by chance.
static TRACES: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    [
        ("Python", r"Traceback \(most recent call last\)"),
        ("Python", r#"File \\?"[^"\n]+\.py\\?", line \d+, in "#),
        ("Java", r"\bat [\w$.<>]+\.[\w$<>]+\([\w$]+\.(java|kt|scala|groovy):\d+\)"),
        ("JavaScript",
            r"\bat (async |new )?([\pL_$<\[][^\n()]{0,100}\()?(file://|/|[A-Z]:\\|node:)[^\s()]*\.[cm]?[jt]sx?:\d+:\d+\)?",
        ),
        ("JavaScript", r"\bat [^\n()]{0,100}\(?node:[\w/]+:\d+:\d+"),
        (".NET", r"\bat [\w.`<>\[\]]+\([^)\n]*\) in [^\n]+:line \d+"),
        ("PHP", r"#\d+ [^\s]+\.php\(\d+\): "),
        ("PHP", r"\b(Fatal|Parse) error:.{1,300} in [^\s]+\.php on line \d+"),
        ("Ruby", r"[\w/.-]+\.rb:\d+:in [`']"),
        ("Go", r"goroutine \d+ \[running\]:"),
        ("Go", r"\.go:\d+ \+0x[0-9a-f]+"),
        ("Rust", r"thread '[^']*' (\(\d+\) )?panicked at "),
        ("Elixir", r"\([\w.]+ [\d.]+\) lib/[\w/]+\.exs?:\d+: "),
        ("Perl", r" at [^\s]+\.p[lm] line \d+\."),
    ]
    .into_iter()
    .map(|(language, pattern)| (language, Regex::new(pattern).expect("a valid pattern")))
    .collect()
});

/// The language of the stack trace in a text, if there is one.
pub(super) fn language(text: &str) -> Option<&'static str> {
    TRACES
        .iter()
        .find(|(_, pattern)| pattern.is_match(text))
        .map(|(language, _)| *language)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_told_from_messages() {
        for (text, expected) in [
            ("x\nTraceback (most recent call last):\n", Some("Python")),
            (
                r#"{"error":"File \"/app/a.py\", line 3, in f"}"#,
                Some("Python"),
            ),
            (
                "java.lang.X: y\n\tat com.acme.Foo.bar(Foo.java:12)",
                Some("Java"),
            ),
            (
                "Error: x\n    at Object.<anonymous> (/srv/app.js:10:5)",
                Some("JavaScript"),
            ),
            ("    at node:internal/main/run:28:49", Some("JavaScript")),
            ("   at A.B.C(String s) in /src/C.cs:line 9", Some(".NET")),
            ("#0 /var/www/index.php(12): f()", Some("PHP")),
            ("app/models/a.rb:3:in `x'", Some("Ruby")),
            ("goroutine 1 [running]:", Some("Go")),
            ("thread 'main' panicked at src/main.rs:1:1", Some("Rust")),
            ("JSON decode error at line 1 column 2", None),
            ("Look at https://example.com:443:1", None),
            ("expected `,` or `}` at line 1", None),
            ("at 10:30:12 (file:///a/b.js:1:2)", None),
            ("    at async file:///a/b.mjs:1:2", Some("JavaScript")),
            ("meet me at noon (room 12:30)", None),
        ] {
            assert_eq!(language(text), expected, "{text}");
        }
    }
}

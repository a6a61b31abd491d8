//! Text from outside made fit for a terminal: no control characters, and no wider than there is room.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Replaces what a terminal would obey instead of show: control characters, and those that turn the writing
/// direction around or join what should stand apart. Line breaks and tabs become blanks.
pub fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// A duration with the unit that suits it and at least three digits: 812µs, 234.1ms, 2.341s, 120.4s.
pub(super) fn seconds(seconds: f64) -> String {
    let micros = seconds * 1e6;
    match micros {
        _ if micros < 0.5 => "0s".to_owned(),
        _ if micros < 999.5 => format!("{micros:.0}µs"),
        _ if micros < 9_995.0 => format!("{:.2}ms", micros / 1e3),
        _ if micros < 999_950.0 => format!("{:.1}ms", micros / 1e3),
        _ if seconds < 99.995 => format!("{seconds:.2}s"),
        _ => format!("{seconds:.1}s"),
    }
}

/// Shortens text to a width in columns, with an ellipsis in the middle: both ends of a name tell it apart.
pub(super) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let room = width.saturating_sub(1);
    let head = take_columns(text.chars(), room.div_ceil(2));
    let tail: Vec<char> = take_columns(text.chars().rev(), room / 2);
    head.into_iter()
        .chain(['…'])
        .chain(tail.into_iter().rev())
        .collect()
}

fn take_columns(chars: impl Iterator<Item = char>, columns: usize) -> Vec<char> {
    let mut used = 0;
    chars
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .collect()
}

/// Text fitted to a width and filled up with blanks: a cell of a table.
pub(super) fn cell(text: &str, width: usize) -> String {
    let fitted = fit(text, width);
    let blanks = width.saturating_sub(fitted.width());
    fitted + &" ".repeat(blanks)
}

/// Breaks text into lines of at most a width, at blanks where there are any; each line begins with the indent.
pub(super) fn wrap(text: &str, width: usize, indent: &str) -> Vec<String> {
    let room = width.saturating_sub(indent.width()).max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let needed = word.width() + usize::from(!line.is_empty());
        if line.width() + needed <= room {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        // A word longer than a line is cut where the line ends.
        for c in word.chars() {
            if line.width() + c.width().unwrap_or(0) > room {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
        .into_iter()
        .map(|line| format!("{indent}{line}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        assert_eq!(clean("a\u{1b}[31mb"), "a\u{fffd}[31mb");
        assert_eq!(clean("a\nb\tc\rd"), "a b c d");
        assert_eq!(
            clean("\u{9b}2J\u{202e}evil\u{7}"),
            "\u{fffd}2J\u{fffd}evil\u{fffd}"
        );
        assert_eq!(clean("Zoë 日本"), "Zoë 日本");
    }

    #[test]
    fn durations_have_the_unit_that_suits_them() {
        for (value, shown) in [
            (0.0, "0s"),
            (0.000_000_4, "0s"),
            (0.000_001, "1µs"),
            (0.000_812, "812µs"),
            (0.000_999_6, "1.00ms"),
            (0.002_341, "2.34ms"),
            (0.009_996, "10.0ms"),
            (0.234_1, "234.1ms"),
            (0.999_96, "1.00s"),
            (2.341, "2.34s"),
            (99.999, "100.0s"),
            (4_000.0, "4000.0s"),
        ] {
            assert_eq!(seconds(value), shown, "{value}");
        }
    }

    #[test]
    fn names_are_cut_in_the_middle() {
        assert_eq!(fit("loadtest_user_1", 20), "loadtest_user_1");
        assert_eq!(fit("abcdefghij", 5), "ab…ij");
        assert_eq!(fit("abcdefghij", 6), "abc…ij");
        assert_eq!(cell("日本語日本語", 6), "日…語 ");
    }

    #[test]
    fn long_text_is_wrapped_at_blanks() {
        assert_eq!(wrap("one two three", 10, "  "), ["  one two", "  three"]);
        assert_eq!(
            wrap("abcdefghijklmnop", 12, "    "),
            ["    abcdefgh", "    ijklmnop"]
        );
        assert_eq!(wrap("", 10, ""), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn a_cell_is_exactly_as_wide_as_asked(text in "\\PC{0,60}", width in 1_usize..40) {
            let text = clean(&text);
            prop_assert_eq!(cell(&text, width).width(), width);
        }

        #[test]
        fn no_line_is_wider_than_asked(text in "\\PC{0,200}", width in 12_usize..80) {
            for line in wrap(&clean(&text), width, "  ") {
                prop_assert!(line.width() <= width, "{line:?}");
            }
        }
    }
}

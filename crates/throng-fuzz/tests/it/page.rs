//! docs/monkey.md, held against the program.

use std::collections::BTreeSet;

use throng_fuzz::Check;

use crate::integr8scode::FOUND_BY;

/// The rows of the table that begins with this head, cells without backticks.
fn rows(head: &str) -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/monkey.md");
    let page = std::fs::read_to_string(path).expect("docs/monkey.md");
    let mut lines = page
        .lines()
        .skip_while(|line| !line.starts_with(head))
        .skip(2);
    let mut rows = Vec::new();
    while let Some(line) = lines.next().filter(|line| line.starts_with('|')) {
        let cells = line.trim_matches('|').split('|');
        rows.push(cells.map(|cell| cell.trim().replace('`', "")).collect());
    }
    rows
}

#[test]
fn the_page_has_every_check_with_its_code() {
    let rows = rows("| check | WFC |");
    assert_eq!(rows.len(), Check::ALL.len());
    for (row, check) in rows.iter().zip(Check::ALL) {
        let codes: BTreeSet<String> = [true, false]
            .into_iter()
            .filter_map(|safe| check.wfc(safe))
            .map(|code| code.to_string())
            .collect();
        let codes: Vec<String> = codes.into_iter().collect();
        assert_eq!(row[0], check.id());
        assert_eq!(row[1], codes.join(", "), "{check}");
        assert_eq!(row[2], check.about(), "{check}");
    }
}

#[test]
fn the_page_says_by_which_check_each_planted_bug_is_found() {
    let rows = rows("| bug | check |");
    let expected: Vec<Vec<String>> = FOUND_BY
        .iter()
        .map(|(bug, check, operation)| {
            [bug.name(), check.id(), operation]
                .map(str::to_owned)
                .to_vec()
        })
        .collect();
    assert_eq!(rows, expected);
}

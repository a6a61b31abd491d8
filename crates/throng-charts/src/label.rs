//! Names of endpoints made short enough to be read beside a plot.

use throng_metrics::clean;

use crate::font::{Font, Weight};

/// The names of endpoints, without the beginning that all their paths have in common.
#[derive(Debug, PartialEq)]
pub(crate) struct Names {
    /// `/api/v1`; nothing where the paths have no beginning in common.
    pub(crate) prefix: Option<String>,
    prefix_length: usize,
}

impl Names {
    /// Looks at the names of the form `METHOD /path`; others (tools) have no path and stay as they are.
    pub(crate) fn of<'a>(endpoints: impl Iterator<Item = &'a str>) -> Self {
        let paths: Vec<Vec<&str>> = endpoints.filter_map(path).map(directories).collect();
        let mut common = match paths.as_slice() {
            [first, _, ..] => first.clone(),
            _ => Vec::new(),
        };
        for directories in &paths {
            let same = common.iter().zip(directories);
            let length = same.take_while(|(one, other)| one == other).count();
            common.truncate(length);
        }
        let prefix: String = common.iter().map(|part| format!("/{part}")).collect();
        Self {
            prefix_length: prefix.len(),
            prefix: (!prefix.is_empty()).then(|| encoded(clean(&prefix))),
        }
    }

    /// A name without what all have in common, and fit to be shown.
    pub(crate) fn short(&self, endpoint: &str) -> String {
        match path(endpoint) {
            Some(path) => {
                let method = &endpoint[..endpoint.len() - path.len()];
                encoded(clean(&format!("{method}{}", &path[self.prefix_length..])))
            }
            None => clean(endpoint),
        }
    }
}

/// A path whose letters the font has: those that it lacks percent-encoded, as they are sent anyway (RFC 3986, section 2.1).
fn encoded(path: String) -> String {
    if path.is_ascii() {
        return path;
    }
    let font = Font::embedded();
    let mut shown = String::with_capacity(path.len());
    for letter in path.chars() {
        if font.has(letter) {
            shown.push(letter);
        } else {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                shown.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    shown
}

fn path(endpoint: &str) -> Option<&str> {
    let (method, path) = endpoint.split_once(' ')?;
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_method && path.starts_with('/')).then_some(path)
}

/// The parts of a path but for the last one, as far as they are fixed.
fn directories(path: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    parts.pop();
    let fixed = parts.iter().take_while(|part| !part.contains('{')).count();
    parts.truncate(fixed);
    parts
}

/// Shortens a text to the room there is, with an ellipsis in the middle: both ends of a name tell it apart. Nothing if
/// there's room for all of it.
pub(crate) fn shortened(
    text: &str,
    room: f64,
    font: &Font,
    size: f64,
    weight: Weight,
) -> Option<String> {
    if font.room(text, size, weight) <= room {
        return None;
    }
    let letters: Vec<char> = text.chars().collect();
    let spare = Font::spare(weight);
    let advance = |letter: char| font.advance(letter, size, weight) * spare;
    let mut left = room - advance('…');
    let (mut head, mut tail) = (0, 0);
    while head + tail < letters.len() {
        // In turns from both ends.
        let from_head = head <= tail;
        let letter = if from_head {
            letters[head]
        } else {
            letters[letters.len() - 1 - tail]
        };
        left -= advance(letter);
        if left < 0.0 {
            break;
        }
        if from_head {
            head += 1;
        } else {
            tail += 1;
        }
    }
    let (first, last) = (&letters[..head], &letters[letters.len() - tail..]);
    Some(first.iter().chain(&['…']).chain(last).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn short(names: &[&str]) -> (Option<String>, Vec<String>) {
        let all = Names::of(names.iter().copied());
        let shown = names.iter().map(|name| all.short(name)).collect();
        (all.prefix, shown)
    }

    #[test]
    fn what_all_paths_begin_with_is_said_once() {
        let (prefix, shown) = short(&[
            "POST /api/v1/auth/login",
            "GET /api/v1/executions/{id}/result",
            "nc_share_list",
            "GET /api/v1/alerts",
        ]);
        assert_eq!(prefix.as_deref(), Some("/api/v1"));
        assert_eq!(
            shown,
            [
                "POST /auth/login",
                "GET /executions/{id}/result",
                "nc_share_list",
                "GET /alerts"
            ]
        );
    }

    #[test]
    fn names_without_a_common_beginning_stay_whole() {
        for names in [
            vec!["GET /users/{id}", "GET /carts/{id}"],
            vec!["GET /users/{id}/a", "GET /user/{id}/a"],
            vec!["GET /api/v1/only"],
            vec!["nc_share_list", "nc_share_create"],
            vec!["GET /{tenant}/a", "GET /{tenant}/b"],
            vec!["GET /", "GET /api/v1"],
            vec!["see /etc/a", "see /etc/b"],
            vec![],
        ] {
            let (prefix, shown) = short(&names);
            assert_eq!(
                (prefix, shown),
                (None, names.iter().map(|n| (*n).to_owned()).collect())
            );
        }
    }

    #[test]
    fn letters_that_the_font_lacks_are_shown_as_they_are_sent() {
        let (prefix, shown) = short(&["GET /é/日本/{id}", "GET /é/Дж", "日本"]);
        assert_eq!(prefix.as_deref(), Some("/é"));
        assert_eq!(shown, ["GET /%E6%97%A5%E6%9C%AC/{id}", "GET /Дж", "日本"]);
    }

    #[test]
    fn a_path_never_becomes_empty() {
        let (prefix, shown) = short(&["GET /api/v1", "GET /api/v1/users"]);
        assert_eq!(prefix.as_deref(), Some("/api"));
        assert_eq!(shown, ["GET /v1", "GET /v1/users"]);
    }

    #[test]
    fn long_names_are_cut_in_the_middle() {
        let font = Font::embedded();
        let cut = |text, room| shortened(text, room, &font, 12.0, Weight::Regular);
        assert_eq!(cut("GET /users", 200.0), None);
        let name =
            "DELETE /organisations/{organisation}/repositories/{repository}/branches/{branch}";
        let short = cut(name, 200.0).expect("it is too long");
        assert!(
            short.starts_with("DELETE /org") && short.ends_with("{branch}"),
            "{short}"
        );
        assert_eq!(cut(name, 1.0).as_deref(), Some("…"));
    }

    proptest! {
        #[test]
        fn what_was_cut_fits(text in "\\PC{0,80}", room in 20.0..400.0_f64) {
            let font = Font::embedded();
            let short = shortened(&text, room, &font, 12.0, Weight::Regular).unwrap_or(text);
            prop_assert!(font.room(&short, 12.0, Weight::Regular) <= room + 1e-6);
        }

        #[test]
        fn any_names_are_shortened_without_trouble(names in proptest::collection::vec("(GET|PUT) /(a|b|\\{c\\}|é)(/(a|b|é)){0,3}|\\PC{0,12}", 0..6)) {
            let all = Names::of(names.iter().map(String::as_str));
            for name in &names {
                prop_assert!(all.short(name).chars().count() <= encoded(name.clone()).chars().count());
            }
        }
    }
}

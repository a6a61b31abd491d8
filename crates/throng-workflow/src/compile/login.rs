//! The placeholders in the requests after a login: known words, and what earlier requests saved.

use crate::model::{Login, Request};
use crate::problem::Problems;
use crate::template::{Placeholder, is_name};

const KNOWN: [&str; 7] = [
    "user.name",
    "user.display_name",
    "user.email",
    "user.password",
    "target.url",
    "target.origin",
    "directory.url",
];

/// Reports placeholders that nothing fills.
pub(super) fn check(login: &Login, has_directory: bool, problems: &mut Problems) {
    let mut saved: Vec<&str> = Vec::new();
    for named in &login.after {
        for placeholder in placeholders(&named.request) {
            let name = placeholder.name();
            if name == "directory.url" && !has_directory {
                problems.add(
                    placeholder.mark,
                    "`{directory.url}` needs a `directory` in the file",
                );
            }
            let known = KNOWN.iter().chain(&saved).copied();
            if !known.clone().any(|word| word == name) {
                problems.unknown(placeholder.mark, "placeholder", &name, known);
            }
        }
        for (name, path) in &named.request.save.0 {
            if !is_name(name) {
                problems.add(
                    name.mark,
                    format!("`{}` cannot be a variable: it is not a name", name.value),
                );
            }
            if !path.template.is_literal() {
                problems.add(path.template.mark, "a path here has no placeholders");
            }
            saved.push(name);
        }
    }
}

fn placeholders(request: &Request) -> Vec<&Placeholder> {
    let urls = [&request.get, &request.post, &request.put, &request.delete];
    let basic = request.basic.iter().flatten();
    let pairs = request
        .headers
        .0
        .iter()
        .chain(&request.form.0)
        .map(|(_, value)| value);
    let texts = urls.into_iter().flatten().chain(basic).chain(pairs);
    let json = request.json.iter().flat_map(|json| json.placeholders());
    texts
        .flat_map(|template| template.placeholders())
        .chain(json)
        .collect()
}

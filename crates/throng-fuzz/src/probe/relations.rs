//! What belongs together in an API: which operation makes the thing that another one reads, deletes or lists.
//!
//! Nothing goes by the name of a thing. A creation is a POST whose answer holds a value that some path takes: the parameter is
//! called as the property, or it follows the creation's own path and the property is an `id`.

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;

use super::{Role, Step, plain_request::plain_request};
use crate::{
    openapi::{Document, Operation},
    request::{Part, Who},
};

/// Creations that need creations that need creations: no deeper.
pub(super) const DEEPEST: usize = 4;

/// What of an API belongs together.
#[derive(Debug)]
pub(crate) struct Relations {
    /// For each operation and each parameter of its path: the creation that provides it, and where in its answer.
    pub(super) providers: Vec<BTreeMap<String, (usize, String)>>,
    pub(super) logout: Option<usize>,
    pub(super) skip: Vec<bool>,
}

impl Relations {
    /// What the document tells. `logout` is the operation that ends a session, if it's not to be guessed; `skip` are those
    /// that are never sent.
    pub(crate) fn of(document: &Document, logout: Option<&str>, skip: &[String]) -> Self {
        let operations = document.operations();
        let skip: Vec<bool> = operations
            .iter()
            .map(|operation| skip.iter().any(|name| operation.is_called(name)))
            .collect();
        let providers = operations
            .iter()
            .map(|operation| {
                let parameters = operation.path_parameters();
                parameters
                    .filter_map(|name| {
                        let found = provider(document, &skip, operation, name)?;
                        Some((name.to_owned(), found))
                    })
                    .collect()
            })
            .collect();
        Self {
            providers,
            logout: match logout {
                Some(name) => operations.iter().position(|o| o.is_called(name)),
                None => operations.iter().position(looks_like_logout),
            },
            skip,
        }
    }

    /// The operation that ends a session.
    pub(crate) fn logout(&self) -> Option<usize> {
        self.logout
    }

    /// Whether an operation is never sent.
    pub(crate) fn skipped(&self, operation: usize) -> bool {
        self.skip[operation]
    }
}

/// The requests that make what the path of an operation needs, and what its parameters are bound to. `None` where nothing
/// makes it.
pub(crate) fn prelude(
    relations: &Relations,
    document: &Document,
    index: usize,
    steps: &mut Vec<Step>,
    depth: usize,
) -> Option<BTreeMap<String, Part>> {
    let mut values = BTreeMap::new();
    for name in document.operations()[index].path_parameters() {
        let (create, pointer) = relations.providers[index].get(name)?;
        let operation = &document.operations()[*create];
        let made = steps.iter().position(|step| {
            step.role == Role::Setup && step.request.operation.as_deref() == Some(&operation.name)
        });
        let step = match made {
            Some(step) => step,
            None => {
                let own = if depth == 0 {
                    return None;
                } else {
                    prelude(relations, document, *create, steps, depth - 1)?
                };
                let mut request = plain_request(document, operation, Who::Own);
                request.path_values.extend(own);
                steps.push(Step::new(request, Role::Setup));
                steps.len() - 1
            }
        };
        values.insert(
            name.to_owned(),
            Part::Bound {
                step,
                pointer: pointer.clone(),
            },
        );
    }
    Some(values)
}

/// Adds the requests that delete what the others have created.
pub(crate) fn cleared_up(relations: &Relations, document: &Document, steps: &mut Vec<Step>) {
    let created: Vec<(usize, String)> = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.request.method == "POST")
        .filter_map(|(index, step)| Some((index, step.request.operation.clone()?)))
        .collect();
    for (made, name) in created.into_iter().rev() {
        let operations = document.operations().iter().enumerate();
        let deleter = operations
            .filter(|(index, _)| !relations.skip[*index])
            .find_map(|(index, operation)| {
                let last = operation.path_parameters().last()?;
                let (create, pointer) = relations.providers[index].get(last)?;
                let deletes = operation.method == Method::DELETE
                    && operation.path.ends_with('}')
                    && document.operations()[*create].name == name;
                deletes.then(|| (operation, last, pointer.clone()))
            });
        let Some((operation, last, pointer)) = deleter else {
            continue;
        };
        let from = &steps[made].request;
        let mut request = plain_request(document, operation, from.who);
        for (name, value) in &from.path_values {
            if operation.path.contains(&format!("{{{name}}}")) {
                request.path_values.insert(name.clone(), value.clone());
            }
        }
        request.path_values.insert(
            last.to_owned(),
            Part::Bound {
                step: made,
                pointer,
            },
        );
        steps.push(Step::new(request, Role::Cleanup));
    }
}

/// Letters and digits in lower case: `isAdmin` and `is_admin` are the same.
pub(super) fn plain_name(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

fn looks_like_logout(operation: &Operation) -> bool {
    let says = |text: &str| {
        let plain = plain_name(text);
        ["logout", "signout"]
            .iter()
            .any(|word| plain.starts_with(word) || plain.ends_with(word))
    };
    let last = operation.path.trim_end_matches('/').rsplit('/').next();
    !operation.path.ends_with('}')
        && operation.method != Method::GET
        && (last.is_some_and(says) || operation.id.as_deref().is_some_and(says))
}

/// The creation whose answer holds the value of a parameter, and where.
fn provider(
    document: &Document,
    skip: &[bool],
    operation: &Operation,
    name: &str,
) -> Option<(usize, String)> {
    let before = format!("/{{{name}}}");
    let parent = operation
        .path
        .split_once(&before)
        .map(|(parent, _)| parent)?;
    let candidates = document.operations().iter().enumerate();
    candidates
        .filter(|(index, create)| {
            create.method == Method::POST && !skip[*index] && !std::ptr::eq(*create, operation)
        })
        .filter_map(|(index, create)| {
            let follows = create.path.trim_end_matches('/') == parent;
            // What needs the same value cannot provide it.
            if create.path_parameters().any(|other| other == name) {
                return None;
            }
            let pointer = provides(document, create, name, follows)?;
            Some((!follows, create.path.len(), index, pointer))
        })
        .min()
        .map(|(_, _, index, pointer)| (index, pointer))
}

/// Where in the answer of a creation the value of a parameter is.
fn provides(document: &Document, create: &Operation, name: &str, follows: bool) -> Option<String> {
    let Some(schema) = create.answer_schema() else {
        // Nothing is known of the answer, but of where it is made.
        let silent = create
            .successes()
            .any(|response| response.status.covers(201));
        return (follows && silent).then(|| "/id".to_owned());
    };
    let wanted = plain_name(name);
    let search = |properties: &[(&str, &Value)]| -> Option<String> {
        let by_name = properties.iter().find(|(key, _)| plain_name(key) == wanted);
        if let Some((key, _)) = by_name {
            return Some((*key).to_owned());
        }
        if !follows {
            return None;
        }
        let known = ["id", "uuid", "key", "slug"];
        let usual = known.iter().find_map(|usual| {
            let mut keys = properties.iter().map(|(key, _)| *key);
            keys.find(|key| plain_name(key) == *usual)
        });
        let mut ids = properties.iter().map(|(key, _)| *key);
        let usual = usual.or_else(|| ids.find(|key| plain_name(key).ends_with("id")));
        usual.map(str::to_owned)
    };
    let properties = document.properties(schema);
    if let Some(key) = search(&properties) {
        return Some(format!("/{}", escaped(&key)));
    }
    // One level of wrapping, as in `{"data": {...}}`.
    properties.iter().find_map(|(outer, property)| {
        let inner = document.properties(document.not_null(property));
        let key = search(&inner)?;
        Some(format!("/{}/{}", escaped(outer), escaped(&key)))
    })
}

/// A key in a JSON pointer (RFC 6901, section 3).
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

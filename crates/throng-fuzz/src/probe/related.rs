//! The probes that follow from a document: what is to be tried with each operation, and what is judged on it.

use http::Method;
use serde_json::{Map, Value, json};

use super::{
    Kind, Probe, Relations, Role, Step,
    plain_request::plain_request,
    relations::{DEEPEST, cleared_up, plain_name, prelude},
};
use crate::{
    openapi::{Document, Operation},
    request::{Body, Csrf, Request, UNIQUE, UNIQUE_TOO, Who},
};

/// So many of the same at once are a race.
const RACERS: usize = 4;

/// Members that say what somebody may do, or whose something is. A body that sets them where it shouldn't gains something.
const PRIVILEGES: [&str; 24] = [
    "role",
    "roles",
    "admin",
    "isadmin",
    "issuperuser",
    "superuser",
    "isstaff",
    "staff",
    "scope",
    "scopes",
    "permission",
    "permissions",
    "privileges",
    "group",
    "groups",
    "owner",
    "ownerid",
    "isowner",
    "verified",
    "isverified",
    "balance",
    "credits",
    "plan",
    "tier",
];

impl Relations {
    /// All probes that follow from the document, the most telling first. `users` is how many there are, `token` tells
    /// whether a method needs a token against forgery.
    pub(crate) fn probes(
        &self,
        document: &Document,
        users: usize,
        token: &dyn Fn(&str) -> bool,
    ) -> Vec<Probe> {
        let mut probes = Vec::new();
        let maker = Maker {
            relations: self,
            document,
        };
        for (index, operation) in document.operations().iter().enumerate() {
            if self.skip[index] || Some(index) == self.logout {
                continue;
            }
            let kinds = [
                maker.login(index, operation, users),
                maker.csrf(index, operation, users, token),
                maker.foreign(index, operation, users),
                maker.deleted(index, operation),
                maker.refused(index, operation),
                maker.privileged(index, operation),
                maker.race(index, operation),
            ];
            probes.extend(kinds.into_iter().flatten().flatten());
        }
        if users > 0 {
            probes.extend(maker.logout());
        } else {
            for step in probes.iter_mut().flat_map(|probe| &mut probe.steps) {
                step.request.who = Who::Nobody;
            }
        }
        probes
    }
}

/// Makes probes.
struct Maker<'a> {
    relations: &'a Relations,
    document: &'a Document,
}

type Probes = Option<Vec<Probe>>;

impl Maker<'_> {
    fn operation(&self, index: usize) -> &Operation {
        &self.document.operations()[index]
    }

    /// A plain request of an operation, after those that make what its path needs. `None` where the path needs what nothing
    /// makes.
    fn request(&self, index: usize, steps: &mut Vec<Step>) -> Option<Request> {
        let values = prelude(self.relations, self.document, index, steps, DEEPEST)?;
        let mut request = plain_request(self.document, self.operation(index), Who::Own);
        for (name, value) in values {
            request.path_values.insert(name, value);
        }
        Some(request)
    }

    /// A probe, with what it made cleared up.
    fn probe(&self, kind: Kind, mut steps: Vec<Step>) -> Probe {
        cleared_up(self.relations, self.document, &mut steps);
        Probe {
            number: 0,
            watched: Vec::new(),
            kind,
            steps,
        }
    }

    fn login(&self, index: usize, operation: &Operation, users: usize) -> Probes {
        if !operation.secured || users == 0 || operation.is_stream() {
            return None;
        }
        let mut steps = Vec::new();
        let mut request = self.request(index, &mut steps)?;
        request.who = Who::Nobody;
        steps.push(Step::new(request, Role::Act));
        Some(vec![self.probe(Kind::Login, steps)])
    }

    fn csrf(
        &self,
        index: usize,
        operation: &Operation,
        users: usize,
        token: &dyn Fn(&str) -> bool,
    ) -> Probes {
        if users == 0 || !token(operation.method.as_str()) {
            return None;
        }
        let made = [Csrf::Missing, Csrf::Others]
            .into_iter()
            .filter_map(|csrf| {
                if csrf == Csrf::Others && users < 2 {
                    return None;
                }
                let mut steps = Vec::new();
                let request = self.request(index, &mut steps)?;
                if !operation.secured {
                    // Only where a login is needed is there something to be forged.
                    let nobody = Request {
                        who: Who::Nobody,
                        ..request.clone()
                    };
                    steps.push(Step::new(nobody, Role::Control));
                }
                steps.push(Step::new(Request { csrf, ..request }, Role::Act));
                Some(self.probe(Kind::Csrf, steps))
            });
        Some(made.collect())
    }

    /// A thing that the first user made, read by the second. That it should not be is told by the second one's list, in
    /// which it does not stand; or by another way to it that is refused.
    fn foreign(&self, index: usize, operation: &Operation, users: usize) -> Probes {
        if users < 2 || operation.method != Method::GET || operation.is_stream() {
            return None;
        }
        let (create, pointer) =
            self.relations.providers[index].get(operation.path_parameters().last()?)?;
        let (create, pointer) = (*create, pointer.clone());
        let mut made = Vec::new();
        let mut steps = Vec::new();
        let read = self.request(index, &mut steps)?;
        let bound = steps.len() - 1;
        let foreign = Request {
            who: Who::Other(1),
            ..read.clone()
        };
        let mut with_control = |control: Vec<Step>| {
            let mut steps = steps.clone();
            steps.extend(control);
            if !operation.secured {
                // What nobody is refused is public. (Where a login is declared, that is a finding of its own.)
                let nobody = Request {
                    who: Who::Nobody,
                    ..read.clone()
                };
                steps.push(Step::new(nobody, Role::Control));
            }
            steps.push(Step::new(read.clone(), Role::Control));
            steps.push(Step::new(foreign.clone(), Role::Act));
            made.push(self.probe(Kind::Foreign, steps));
        };
        if let Some(list) = self.list_of(create) {
            let mut request = plain_request(self.document, self.operation(list), Who::Own);
            self.take_over(&steps[bound].request, &mut request);
            let others = Request {
                who: Who::Other(1),
                ..request.clone()
            };
            // The second marks by its query what must not be there: it is held against the bound value by the judge.
            with_control(vec![
                Step::new(request, Role::Control),
                Step::new(others, Role::Control),
            ]);
        } else {
            for (other, sibling) in self.document.operations().iter().enumerate() {
                let related = other != index
                    && !self.relations.skip[other]
                    && sibling.method == Method::GET
                    && !sibling.is_stream()
                    && self.relations.providers[other]
                        .values()
                        .any(|(by, at)| (*by, at) == (create, &pointer));
                if !related {
                    continue;
                }
                let mut request = plain_request(self.document, sibling, Who::Other(1));
                for name in sibling.path_parameters() {
                    let value = read.path_values.get(name).cloned();
                    let value = value.or_else(|| read.path_values.values().next_back().cloned());
                    request
                        .path_values
                        .extend(value.map(|value| (name.to_owned(), value)));
                }
                with_control(vec![Step::new(request, Role::Control)]);
            }
        }
        Some(made)
    }

    fn deleted(&self, index: usize, operation: &Operation) -> Probes {
        if operation.method != Method::DELETE || operation.path_parameters().next().is_none() {
            return None;
        }
        let mut made = Vec::new();
        for (other, reader) in self.document.operations().iter().enumerate() {
            let reads = reader.method == Method::GET
                && !self.relations.skip[other]
                && !reader.is_stream()
                && reader.path == operation.path;
            if !reads {
                continue;
            }
            let mut steps = Vec::new();
            let delete = self.request(index, &mut steps)?;
            let mut read = plain_request(self.document, reader, Who::Own);
            read.path_values.clone_from(&delete.path_values);
            steps.push(Step::new(read.clone(), Role::Control));
            steps.push(Step::new(delete, Role::Act));
            steps.push(Step::new(read, Role::Act));
            made.push(Probe {
                number: 0,
                watched: Vec::new(),
                kind: Kind::Deleted,
                steps,
            });
        }
        Some(made)
    }

    /// A creation with one thing wrong, by a name that nothing else has, and the list in which that must not stand.
    fn refused(&self, index: usize, operation: &Operation) -> Probes {
        let list = self.list_of(index)?;
        let content = operation.body().filter(|content| content.is_json())?;
        let schema = content.schema.as_ref()?;
        let mut setup = Vec::new();
        let create = self.request(index, &mut setup)?;
        let Body::Json(Value::Object(body)) = &create.body else {
            return None;
        };
        let mut lists = plain_request(self.document, self.operation(list), Who::Own);
        self.take_over(&create, &mut lists);
        let mut made = Vec::new();
        for wrong in wrong_bodies(self.document, schema, body) {
            let mut steps = setup.clone();
            let refused = Request {
                body: Body::Json(Value::Object(wrong)),
                ..create.clone()
            };
            steps.push(Step::new(refused, Role::Act));
            steps.push(Step::new(lists.clone(), Role::Act));
            made.push(self.probe(Kind::Refused, steps));
        }
        Some(made)
    }

    /// A creation that sets what its answer shows, though its body is not documented to have it, or has it with a privilege
    /// by default left out.
    fn privileged(&self, index: usize, operation: &Operation) -> Probes {
        if operation.method != Method::POST {
            return None;
        }
        let content = operation.body().filter(|content| content.is_json())?;
        let schema = content.schema.as_ref()?;
        let answer = operation.answer_schema()?;
        let known = self.document.properties(schema);
        let mut setup = Vec::new();
        let create = self.request(index, &mut setup)?;
        let Body::Json(Value::Object(body)) = &create.body else {
            return None;
        };
        let mut extended = body.clone();
        let mut watched = Vec::new();
        for (name, property) in self.document.properties(answer) {
            let property = self.document.not_null(property);
            let declared = known.iter().find(|(other, _)| *other == name);
            let privilege = PRIVILEGES.contains(&plain_name(name).as_str());
            let beyond = match declared {
                // What the body may say on purpose, unless it says by whom one is and nobody has logged in.
                Some((_, given)) => {
                    // A default may stand beside a reference.
                    let declared = self.document.resolve(given);
                    let default = given.get("default").or(declared.get("default"));
                    declared["readOnly"] == true
                        || (privilege && default.is_some() && !operation.secured)
                }
                None => privilege || property["readOnly"] == true,
            };
            if !beyond {
                continue;
            }
            if let Some(value) = another_value(property) {
                extended.insert(name.to_owned(), value);
                watched.push(name.to_owned());
            }
        }
        if watched.is_empty() {
            return None;
        }
        let mut steps = setup;
        let mut control = create.clone();
        replace_unique(&mut control.body);
        steps.push(Step::new(control, Role::Control));
        steps.push(Step::new(
            Request {
                body: Body::Json(Value::Object(extended)),
                ..create
            },
            Role::Act,
        ));
        let probe = self.probe(Kind::Privileged, steps);
        Some(vec![Probe { watched, ..probe }])
    }

    /// The same creation several times at once, where it's known that the second of two is refused.
    fn race(&self, index: usize, operation: &Operation) -> Probes {
        if operation.method != Method::POST || !operation.documents(409) {
            return None;
        }
        let mut steps = Vec::new();
        let create = self.request(index, &mut steps)?;
        let body = serde_json::to_string(&create.body).ok()?;
        if !body.contains(UNIQUE) {
            return None;
        }
        let mut first = create.clone();
        replace_unique(&mut first.body);
        steps.push(Step::new(first.clone(), Role::Control));
        steps.push(Step::new(first, Role::Control));
        for racer in 0..RACERS {
            let mut step = Step::new(create.clone(), Role::Act);
            step.together = racer > 0;
            steps.push(step);
        }
        Some(vec![self.probe(Kind::Race, steps)])
    }

    /// Each protected read, before and after the end of its session.
    fn logout(&self) -> Vec<Probe> {
        let Some(logout) = self.relations.logout else {
            return Vec::new();
        };
        if self.relations.skip[logout] {
            return Vec::new();
        }
        let mut ends = plain_request(self.document, self.operation(logout), Who::Fresh);
        ends.csrf = Csrf::Right;
        let operations = self.document.operations().iter().enumerate();
        let reads = operations.filter(|(index, operation)| {
            operation.method == Method::GET
                && !self.relations.skip[*index]
                && !operation.is_stream()
                && operation.path_parameters().next().is_none()
        });
        reads
            .map(|(_, operation)| {
                let read = |who| plain_request(self.document, operation, who);
                let mut steps = vec![
                    Step::new(read(Who::Fresh), Role::Control),
                    Step::new(ends.clone(), Role::Act),
                    Step::new(read(Who::Kept), Role::Act),
                ];
                if !operation.secured {
                    steps.insert(0, Step::new(read(Who::Nobody), Role::Control));
                }
                Probe {
                    number: 0,
                    watched: Vec::new(),
                    kind: Kind::Logout,
                    steps,
                }
            })
            .collect()
    }

    /// The list of what a creation makes: GET on its path.
    fn list_of(&self, create: usize) -> Option<usize> {
        let path = &self.operation(create).path;
        let operations = self.document.operations().iter().enumerate();
        let mut lists = operations.filter(|(index, operation)| {
            operation.method == Method::GET
                && !self.relations.skip[*index]
                && operation.path == *path
                && !operation.is_stream()
        });
        lists.next().map(|(index, _)| index)
    }

    /// Values of the path that two requests have in common.
    fn take_over(&self, from: &Request, to: &mut Request) {
        for (name, value) in &from.path_values {
            if to.path.contains(&format!("{{{name}}}")) {
                to.path_values.insert(name.clone(), value.clone());
            }
        }
    }
}

/// The first unique text replaced by the second, wherever it stands.
fn replace_unique(body: &mut Body) {
    fn replace(value: &mut Value) {
        match value {
            Value::String(text) => *text = text.replace(UNIQUE, UNIQUE_TOO),
            Value::Array(items) => items.iter_mut().for_each(replace),
            Value::Object(members) => members.values_mut().for_each(replace),
            _ => {}
        }
    }
    if let Body::Json(value) = body {
        replace(value);
    }
}

/// A body that has one thing wrong, and still a unique text: a member missing, or of another type.
fn wrong_bodies(
    document: &Document,
    schema: &Value,
    body: &Map<String, Value>,
) -> Vec<Map<String, Value>> {
    let mut made = Vec::new();
    let named = |map: &Map<String, Value>| {
        map.values()
            .any(|value| value.as_str().is_some_and(|text| text.contains(UNIQUE)))
    };
    for name in body.keys() {
        let mut without = body.clone();
        without.shift_remove(name);
        if named(&without) {
            made.push(without);
        }
    }
    for (name, property) in document.properties(schema) {
        let property = document.not_null(property);
        if property["readOnly"] == true {
            continue;
        }
        let mut other = body.clone();
        let wrong = if property["type"] == "array" || property["type"] == "object" {
            json!("a")
        } else {
            json!([])
        };
        other.insert(name.to_owned(), wrong);
        if named(&other) {
            made.push(other);
        }
    }
    made
}

/// A value that the target would not give by itself.
fn another_value(property: &Value) -> Option<Value> {
    if let Some(values) = property["enum"].as_array() {
        // The last is as good as any: the judge holds it against the control's.
        return values.last().cloned();
    }
    match property["type"].as_str()? {
        "boolean" => Some(json!(true)),
        "integer" | "number" => Some(json!(4242)),
        "string" => match property["format"].as_str().unwrap_or_default() {
            "date-time" => Some(json!("2001-02-03T04:05:06Z")),
            "uuid" => Some(json!("01234567-89ab-4cde-8f01-23456789abcd")),
            "" => Some(json!("admin")),
            _ => None,
        },
        _ => None,
    }
}

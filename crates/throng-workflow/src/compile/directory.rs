//! Where the users are made: the keys that each kind of directory needs, and the placeholders of its requests.

use throng_identity::hooks;

use super::login::{Declared, USER, Wants};
use crate::model::{Directory, DirectoryKind, Listing, Registering, Request, Scenario};
use crate::problem::{Mark, Problems};
use crate::roster::needs_password;

/// What a list's address knows.
const LIST: [&str; 4] = ["search", "page", "offset", "start"];

/// Takes a directory of kind `none` out of a scenario: it is as if there were none, and the users are there already.
pub(crate) fn take_none(scenario: &mut Scenario, problems: &mut Problems) {
    let Some(directory) = &scenario.directory else {
        return;
    };
    if directory.kind != DirectoryKind::None || problems.reported_in(directory.mark) {
        return;
    }
    check_keys(directory, problems);
    let users = &scenario.users;
    if users.mark == Mark::default() && needs_password(&scenario.login) {
        problems.add_with_help(
            directory.mark,
            "with a directory of kind `none` the users are there already, and nothing says how they log in",
            "give `users.from`, a file of users and their passwords, or `users.password`",
        );
    }
    scenario.users.create = false;
    scenario.directory = None;
}

/// Reports what is missing, what does not belong there, and placeholders that nothing fills.
pub(super) fn check<'a>(directory: &'a Directory, declared: &mut Declared<'a, '_>) {
    check_keys(directory, declared.problems);
    let admin = [
        ("directory.admin", directory.admin.is_some()),
        ("directory.password", directory.password.is_some()),
        ("directory.token", directory.token.is_some()),
    ];
    let admin = admin.into_iter().filter(|(_, given)| *given);
    let admin: Vec<&str> = admin.map(|(word, _)| word).collect();
    for named in &directory.before {
        declared.check(&named.request, &admin);
    }
    let headers = directory.headers.0.iter();
    let headers = headers.flat_map(|(_, value)| value.placeholders());
    declared.placeholders(headers, &admin);
    let of_user = [&USER[..], &admin].concat();
    match &directory.register {
        Some(Registering::Request(request)) => {
            request.check_shape(request.mark, declared.problems);
            declared.check(request, &USER);
        }
        Some(Registering::Form(form)) => {
            declared.check_form(&form.page, &form.fields, &USER);
            if let Some(status) = directory.exists.0.first() {
                declared.problems.add_with_help(
                    form.mark,
                    format!("`exists: {status}` is for a request: a form answers with a page"),
                    "say `exists: \"already taken\"` beside `page`: a pattern for that page",
                );
            }
        }
        None => {}
    }
    if let Some(create) = &directory.create {
        lone(create, &of_user, declared);
    }
    let list = directory.list.as_ref();
    if let Some(list) = list {
        check_list(list, &admin, declared);
    }
    if let Some(delete) = &directory.delete {
        if directory.kind == DirectoryKind::Register {
            declared.saved.clear();
        }
        let mut known = vec![USER[0]];
        if list.is_some_and(|list| list.id.is_some()) {
            known.push("user.id");
        }
        known.extend(&admin);
        lone(delete, &known, declared);
    }
}

/// A request that saves nothing for others.
fn lone<'a>(request: &'a Request, known: &[&str], declared: &mut Declared<'a, '_>) {
    request.check_shape(request.mark, declared.problems);
    let before = declared.saved.len();
    declared.check(request, known);
    declared.nothing_saved(request);
    declared.saved.truncate(before);
}

fn check_list<'a>(list: &'a Listing, admin: &[&str], declared: &mut Declared<'a, '_>) {
    let known = [&LIST[..], admin].concat();
    declared.placeholders(list.get.placeholders(), &known);
    let headers = list.headers.0.iter();
    declared.placeholders(headers.flat_map(|(_, value)| value.placeholders()), admin);
    for path in [&list.users, &list.name, &list.id].into_iter().flatten() {
        if !hooks::is_path(path) && !declared.problems.reported_in(path.mark) {
            declared.problems.add_with_help(
                path.mark,
                format!("`{}` is no path", path.value),
                "write $ for the whole, or $.a.b",
            );
        }
    }
}

fn check_keys(directory: &Directory, problems: &mut Problems) {
    use DirectoryKind::{Http, Keycloak, Nextcloud, Register, Scim};
    let kind = directory.kind;
    let mut wants = Wants {
        mark: directory.mark,
        what: "directory",
        kind: kind.word(),
        problems,
    };
    let admin = directory.admin.as_ref().map(|at| at.mark);
    let password = directory.password.as_ref().map(|at| at.mark);
    let token = directory.token.as_ref().map(|at| at.mark);
    let client = directory.client.as_ref();
    let before = directory.before.first().map(|named| named.name.mark);
    let headers = directory.headers.0.first().map(|(name, _)| name.mark);
    let declared = before.or(headers);
    let exists = directory.exists.0.first().map(|_| directory.mark);
    let service = client.is_some_and(|client| client.secret.is_some()) && admin.is_none();
    // A key, where it stands, the kinds that have it, and those that need it.
    let login = match (kind, token, declared) {
        (Scim | Http, Some(_), _) | (Scim | Http, _, Some(_)) => &[][..],
        (Keycloak, ..) if service => &[],
        // Whoever asks may be known by nothing but where he asks from.
        (Http, ..) => &[],
        _ => &[Nextcloud, Scim, Keycloak][..],
    };
    let known = &[Nextcloud, Scim, Keycloak, Http][..];
    let url = directory.url.as_ref().map(|at| at.mark);
    let create = directory.create.as_ref().map(|request| request.mark);
    let delete = directory.delete.as_ref().map(|request| request.mark);
    let register = directory.register.as_ref().map(Registering::mark);
    let list = directory.list.as_ref().map(|list| list.mark);
    let realm = directory.realm.as_ref().map(|at| at.mark);
    let admin_realm = directory.admin_realm.as_ref().map(|at| at.mark);
    let keys = [
        ("url", url, known, &[Nextcloud, Scim, Keycloak][..]),
        ("admin", admin, known, login),
        ("password", password, known, login),
        ("token", token, &[Scim, Http], &[]),
        ("realm", realm, &[Keycloak], &[Keycloak]),
        ("admin_realm", admin_realm, &[Keycloak], &[]),
        ("client", client.map(|client| client.mark), &[Keycloak], &[]),
        ("before", before, &[Scim, Http], &[]),
        ("headers", headers, &[Scim, Http], &[]),
        ("register", register, &[Register], &[Register]),
        ("create", create, &[Http], &[Http]),
        ("exists", exists, &[Http, Register], &[]),
        ("delete", delete, &[Http, Register], &[Http]),
        ("list", list, &[Http], &[]),
    ];
    for (key, found, of, needing) in keys {
        if !of.contains(&kind) {
            wants.foreign(key, found);
        } else if needing.contains(&kind) {
            wants.needed(key, found);
        }
    }
    if kind == Scim
        && [admin.or(password), token, declared]
            .iter()
            .flatten()
            .count()
            > 1
    {
        wants.problems.add_with_help(
            directory.mark,
            "a directory of kind `scim` is asked in one way only",
            "give `admin` and `password`, or `token`, or `before` and `headers`",
        );
    }
    if kind == Http && admin.is_some() != password.is_some() {
        wants.needed("admin", admin);
        wants.needed("password", password);
    }
    if kind == Http && token.is_some() && password.is_some() && declared.is_none() {
        wants.problems.add(
            directory.mark,
            "`token` and `password` are two ways to log in: give one of them",
        );
    }
}

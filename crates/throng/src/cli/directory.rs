//! The directory that a scenario describes, ready to be asked: for a run, and for cleaning up after one.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use throng_client::Client;
use throng_identity::directory::Directory;
use throng_identity::directory::declared::{
    About, Authentication, Creating, Declared, Listing, Requests,
};
use throng_identity::directory::keycloak::{
    ADMIN_CLIENT, ADMIN_REALM, KeycloakLogin, Realm, keycloak,
};
use throng_identity::directory::nextcloud::Nextcloud;
use throng_identity::directory::scim::{Scim, ScimLogin};
use throng_identity::hooks::{Hook, HookAuth, Values};
use throng_identity::login::FormRegistration;
use throng_identity::secret::Secret;
use throng_workflow::decode::At;
use throng_workflow::model::{self, DirectoryKind, Scenario};
use url::Url;

use super::run::hooks::Places;
use super::run::setup::REQUEST_LIMIT;

/// The directory of a scenario, and what can be said of it once it was looked at. `client` is nobody's.
///
/// # Errors
/// Where something is missing or no address, which the check of the file has said before.
pub(crate) fn open(
    scenario: &Scenario,
    client: &Client,
) -> anyhow::Result<(Arc<dyn Directory>, String)> {
    let described = scenario
        .directory
        .as_ref()
        .context("the scenario names no `directory`, so there's nowhere to create users")?;
    let may = |who: &str| format!("{who} may create users, and none of ours is there");
    Ok(match described.kind {
        DirectoryKind::Nextcloud => {
            let (admin, password) = administrator(described)?;
            let url = url(described)?;
            let done = may(&format!("'{admin}'"));
            let directory = Nextcloud::new(client.clone(), url, &admin, password, REQUEST_LIMIT);
            (Arc::new(directory), done)
        }
        DirectoryKind::Scim => {
            let login = scim_login(scenario, described)?;
            let directory = Scim::new(client, url(described)?, login, REQUEST_LIMIT);
            (Arc::new(directory), "None of our users is there".to_owned())
        }
        DirectoryKind::Keycloak => {
            let realm = realm(described)?;
            let done = format!("None of our users is in the realm '{}'", realm.name);
            (Arc::new(keycloak(client, &realm, REQUEST_LIMIT)), done)
        }
        DirectoryKind::Http => {
            let directory = declared(scenario, described, client)?;
            let done = match &described.list {
                Some(_) => "None of our users is there",
                None => "Users are made by declared requests; nobody can say who is there already",
            };
            (Arc::new(directory), done.to_owned())
        }
        DirectoryKind::Register => {
            let requests = requests(scenario, described, &Places::of(scenario)?)?;
            let url = Url::parse(&scenario.target.url)?;
            let directory = Declared::register(client, url, requests, REQUEST_LIMIT);
            let done = match described.delete {
                Some(_) => "Users register themselves",
                None => "Users register themselves; nothing deletes them",
            };
            (Arc::new(directory), done.to_owned())
        }
        DirectoryKind::None => {
            return Err(anyhow!("directory: there is none, by `kind: none`"));
        }
    })
}

/// The password that all users have; nothing where each gets its own.
pub(crate) fn password(scenario: &Scenario) -> Option<Secret> {
    let given = scenario.users.password.as_ref()?;
    (!given.0.expose().is_empty()).then(|| given.0.clone())
}

fn missing(key: &str) -> anyhow::Error {
    anyhow!("directory: `{key}` is missing")
}

fn url(described: &model::Directory) -> anyhow::Result<Url> {
    let url = described.url.as_ref().ok_or_else(|| missing("url"))?;
    Ok(Url::parse(url)?)
}

fn administrator(described: &model::Directory) -> anyhow::Result<(String, Secret)> {
    let admin = described.admin.as_ref().ok_or_else(|| missing("admin"))?;
    let password = described.password.as_ref();
    let password = password.ok_or_else(|| missing("password"))?;
    Ok((admin.value.clone(), password.value.0.clone()))
}

fn scim_login(scenario: &Scenario, described: &model::Directory) -> anyhow::Result<ScimLogin> {
    if let Some(token) = &described.token {
        return Ok(ScimLogin::Bearer(token.value.0.clone()));
    }
    let places = Places::of_directory(scenario)?;
    let headers = places.headers(&described.headers)?;
    if !described.before.is_empty() || !headers.is_empty() {
        let authentication = authentication(described, &places, &headers)?;
        return Ok(ScimLogin::Declared {
            authentication,
            headers,
        });
    }
    let (user, password) = administrator(described)?;
    Ok(ScimLogin::Basic { user, password })
}

fn realm(described: &model::Directory) -> anyhow::Result<Realm> {
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone());
    let client = described.client.as_ref();
    let secret = client
        .and_then(|client| client.secret.as_ref())
        .map(|secret| secret.0.clone());
    let id = client.map_or(ADMIN_CLIENT, |client| &client.id).to_owned();
    let login = match (secret, &described.admin) {
        (Some(secret), None) => KeycloakLogin::Client { id, secret },
        (client_secret, _) => {
            let (user, password) = administrator(described)?;
            KeycloakLogin::Password {
                user,
                password,
                client: id,
                client_secret,
            }
        }
    };
    Ok(Realm {
        url: url(described)?,
        name: text(&described.realm).ok_or_else(|| missing("realm"))?,
        admin_realm: text(&described.admin_realm).unwrap_or_else(|| ADMIN_REALM.to_owned()),
        login,
    })
}

/// The requests of an administrator.
fn declared(
    scenario: &Scenario,
    described: &model::Directory,
    client: &Client,
) -> anyhow::Result<Declared> {
    let places = Places::of_directory(scenario)?;
    let headers = places.headers(&described.headers)?;
    let authentication = authentication(described, &places, &headers)?;
    let logs_in = described.before.is_empty();
    let auth = if logs_in && described.token.is_some() {
        HookAuth::Bearer
    } else if logs_in && described.password.is_some() {
        HookAuth::Basic {
            user: "{directory_admin}".to_owned(),
            password: "{directory_password}".to_owned(),
        }
    } else {
        HookAuth::None
    };
    let mut requests = requests(scenario, described, &places)?;
    if let Creating::Request(create) = &mut requests.create {
        as_administrator(create, &headers, &auth);
    }
    if let Some(delete) = &mut requests.delete {
        as_administrator(delete, &headers, &auth);
    }
    if let Some(list) = &mut requests.list {
        as_administrator(&mut list.request, &headers, &auth);
    }
    let address = match &described.url {
        Some(url) => url,
        None => &scenario.target.url,
    };
    let about = About {
        kind: DirectoryKind::Http.word(),
        url: Url::parse(address)?,
        admin: described
            .admin
            .as_ref()
            .map_or_else(String::new, |admin| admin.value.clone()),
        credentials: Some("the directory's admin and password, token or headers"),
    };
    Ok(Declared::new(
        client,
        about,
        requests,
        authentication,
        REQUEST_LIMIT,
    ))
}

/// Gives a request what an administrator's carry, unless it says otherwise itself.
fn as_administrator(hook: &mut Hook, headers: &[(String, String)], auth: &HookAuth) {
    for (name, value) in headers {
        let says = |(own, _): &(String, String)| own.eq_ignore_ascii_case(name);
        if !hook.headers.iter().any(says) {
            hook.headers.push((name.clone(), value.clone()));
        }
    }
    let says = |(own, _): &(String, String)| own.eq_ignore_ascii_case("authorization");
    if matches!(hook.auth, HookAuth::None) && !hook.headers.iter().any(says) {
        hook.auth = auth.clone();
    }
}

/// What an administrator's requests may use, and what no message may show.
fn authentication(
    described: &model::Directory,
    places: &Places<'_>,
    headers: &[(String, String)],
) -> anyhow::Result<Authentication> {
    let mut known = Values::new();
    let mut know = |key: &str, value: Secret| {
        known.insert(key.to_owned(), value);
    };
    if let Some(admin) = &described.admin {
        know("directory_admin", Secret::new(admin.value.clone()));
    }
    if let Some(password) = &described.password {
        know("directory_password", password.value.0.clone());
    }
    if let Some(token) = &described.token {
        know("directory_token", token.value.0.clone());
        // By this name it is what a bearer's header has.
        know("token", token.value.0.clone());
    }
    // No request can use these: only messages are kept from showing them.
    for (name, value) in headers {
        let whole = value
            .split_once(' ')
            .map_or(value.as_str(), |(_, rest)| rest);
        know(&format!("header:{name}"), Secret::new(whole));
    }
    Ok(Authentication {
        known,
        before: places.hooks(&described.before)?,
    })
}

fn requests(
    scenario: &Scenario,
    described: &model::Directory,
    places: &Places<'_>,
) -> anyhow::Result<Requests> {
    let create = match (&described.create, &described.register) {
        (Some(request), _) => Creating::Request(Box::new(places.hook("create", request)?)),
        (None, Some(model::Registering::Request(request))) => {
            Creating::Request(Box::new(places.hook("register", request)?))
        }
        (None, Some(model::Registering::Form(form))) => Creating::Form(FormRegistration {
            form: places.form("register", &form.page, &form.fields)?,
            exists: form.exists.as_ref().map(|exists| exists.0.clone()),
        }),
        (None, None) => {
            return Err(missing(match described.kind {
                DirectoryKind::Http => "create",
                _ => "register",
            }));
        }
    };
    let delete = described.delete.as_ref();
    let path = |path: &Option<At<String>>| {
        path.as_ref()
            .map_or_else(|| "$".to_owned(), |path| path.value.clone())
    };
    let list = described.list.as_ref().map(|list| -> anyhow::Result<_> {
        Ok(Listing {
            request: places.hook("list", &list.request())?,
            exact: None,
            whole: None,
            next: None,
            users: path(&list.users),
            name: path(&list.name),
            id: list.id.as_ref().map(|id| id.value.clone()),
            total: None,
            caseless: list.caseless,
            quoted: false,
        })
    });
    Ok(Requests {
        create,
        exists: described.exists.0.clone(),
        reuse: password(scenario).is_some(),
        delete: delete
            .map(|delete| places.hook("delete", delete))
            .transpose()?,
        list: list.transpose()?,
    })
}

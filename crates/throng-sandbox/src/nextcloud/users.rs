//! The provisioning API: `/ocs/v2.php/cloud/users`, for administrators, and `/cloud/user`, who am I.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use serde_json::{Value, json};

use super::fields::Fields;
use crate::auth::{Administrator, Authenticated};
use crate::ocs::Ocs;
use crate::secret::Secret;
use crate::state::AppState;
use crate::store::{Account, CreateAccount, NewAccount, StoreError};

/// Status codes of the provisioning API beside the HTTP ones.
mod code {
    pub(super) const INVALID: u16 = 101;
    pub(super) const EXISTS: u16 = 102;
    pub(super) const UNKNOWN_KEY: u16 = 103;
    pub(super) const NO_PASSWORD: u16 = 108;
    pub(super) const NOT_FOUND: u16 = 998;
}

pub(super) fn router() -> Router<AppState> {
    let mut router = Router::new();
    for version in ["/ocs/v1.php", "/ocs/v2.php"] {
        router = router
            .route(&format!("{version}/cloud/user"), get(myself))
            .route(&format!("{version}/cloud/users"), get(list).post(create))
            .route(
                &format!("{version}/cloud/users/{{id}}"),
                get(read).put(edit).delete(remove),
            );
    }
    router
}

async fn myself(ocs: Ocs, Authenticated { account, .. }: Authenticated) -> Response {
    let mut data = details(&account);
    // This endpoint alone spells it this way, beside the usual one.
    data["display-name"] = account.display_name.into();
    ocs.ok(data)
}

async fn list(
    ocs: Ocs,
    _: Administrator,
    State(state): State<AppState>,
    fields: Fields,
) -> Result<Response, StoreError> {
    let limit = fields
        .integer("limit")
        .and_then(|limit| u32::try_from(limit).ok());
    let offset = fields
        .integer("offset")
        .and_then(|offset| u32::try_from(offset).ok());
    let search = fields.text("search").unwrap_or_default();
    let found = state
        .store
        .search_accounts(&search, limit, offset.unwrap_or(0))?;
    let users: Vec<_> = found.into_iter().map(|account| account.id).collect();
    Ok(ocs.ok(json!({ "users": users })))
}

async fn create(
    ocs: Ocs,
    _: Administrator,
    State(state): State<AppState>,
    fields: Fields,
) -> Result<Response, StoreError> {
    let refused = |code, message| Ok(ocs.error(StatusCode::BAD_REQUEST, code, message));
    let id = fields.text("userid").unwrap_or_default();
    let email = fields.text("email").unwrap_or_default();
    let password = Secret::new(fields.text("password").unwrap_or_default());
    if state.store.account(&id)?.is_some() {
        return refused(code::EXISTS, "User already exists");
    }
    if password.expose().is_empty() && email.is_empty() {
        let message = "To send a password link to the user an email address is required.";
        return refused(code::NO_PASSWORD, message);
    }
    if let Some(message) = fault_of_id(&id) {
        return refused(code::INVALID, message);
    }
    let display_name = fields.text("displayName").unwrap_or_default();
    let created = state.store.create_account(&NewAccount {
        id: &id,
        display_name: &display_name,
        email: &email,
        password: &password,
        admin: false,
    })?;
    Ok(match created {
        CreateAccount::Created => ocs.ok(json!({ "id": id })),
        CreateAccount::Exists => {
            ocs.error(StatusCode::BAD_REQUEST, code::EXISTS, "User already exists")
        }
    })
}

/// What is wrong with a new user's id.
pub(crate) fn fault_of_id(id: &str) -> Option<&'static str> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || " _.@-'".contains(c);
    if id.trim().is_empty() {
        return Some("A valid username must be provided");
    }
    if id.trim() != id {
        return Some("Username contains whitespace at the beginning or at the end");
    }
    if !id.chars().all(allowed) || id == "." || id == ".." {
        return Some(
            "Only the following characters are allowed in a username: \"a-z\", \"A-Z\", \"0-9\", and \"_.@-'\"",
        );
    }
    None
}

async fn read(
    ocs: Ocs,
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, StoreError> {
    let Some(asked) = state.store.account(&id)? else {
        return Ok(ocs.error(StatusCode::NOT_FOUND, 404, "User does not exist"));
    };
    if !may_see(&account, &asked) {
        return Ok(ocs.error(StatusCode::NOT_FOUND, code::NOT_FOUND, ""));
    }
    Ok(ocs.ok(details(&asked)))
}

async fn edit(
    ocs: Ocs,
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    Path(id): Path<String>,
    fields: Fields,
) -> Result<Response, StoreError> {
    let asked = state.store.account(&id)?;
    if !asked.is_some_and(|asked| may_see(&account, &asked)) {
        return Ok(ocs.error(StatusCode::NOT_FOUND, code::NOT_FOUND, ""));
    }
    let value = fields.text("value").unwrap_or_default();
    let key = fields.text("key").unwrap_or_default();
    let changed = match key.as_str() {
        "displayname" | "display" => state.store.set_display_name(&id, &value)?,
        "email" => state.store.set_email(&id, &value)?,
        "password" => state.store.set_password(&id, &Secret::new(value))?,
        _ => return Ok(ocs.error(StatusCode::BAD_REQUEST, code::UNKNOWN_KEY, "")),
    };
    Ok(if changed {
        ocs.ok(json!([]))
    } else {
        ocs.error(StatusCode::NOT_FOUND, code::NOT_FOUND, "")
    })
}

async fn remove(
    ocs: Ocs,
    Administrator(administrator): Administrator,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, StoreError> {
    if administrator.id.eq_ignore_ascii_case(&id) {
        return Ok(ocs.error(StatusCode::BAD_REQUEST, code::INVALID, ""));
    }
    Ok(if state.store.delete_account(&id)? {
        ocs.ok(json!([]))
    } else {
        ocs.error(StatusCode::NOT_FOUND, code::NOT_FOUND, "")
    })
}

fn may_see(asking: &Account, asked: &Account) -> bool {
    asking.admin || asking.id == asked.id
}

fn details(account: &Account) -> Value {
    let groups: &[&str] = if account.admin { &["admin"] } else { &[] };
    let email = Some(&account.email).filter(|email| !email.is_empty());
    json!({
        "enabled": true,
        "id": account.id,
        "lastLogin": 0,
        "backend": "Database",
        "subadmin": [],
        "quota": { "free": -3, "used": 0, "total": -3, "relative": 0, "quota": "none" },
        "email": email,
        "additional_mail": [],
        "displayname": account.display_name,
        "phone": "",
        "address": "",
        "website": "",
        "twitter": "",
        "groups": groups,
        "language": "en",
        "locale": "",
        "backendCapabilities": { "setDisplayName": true, "setPassword": true },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_may_hold_what_nextcloud_allows() {
        for id in ["loadtest_user_1", "a.b@c-d'e", "Max Power"] {
            assert_eq!(fault_of_id(id), None, "{id}");
        }
        for id in ["", " x", "a/b", "ü", "..", "a:b", "x\n"] {
            assert!(fault_of_id(id).is_some(), "{id:?}");
        }
    }
}

//! The same users by SCIM 2.0 (RFC 7643, RFC 7644): `/scim/v2/Users`, as far as provisioning goes.
//!
//! Written against the RFCs and for nobody's server in particular. What it does not keep (external ids, parts of names, inactive
//! users) it leaves out of its answers, or refuses; attributes cannot be changed, nor asked for one by one.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use crate::auth::{Administrator, bearer};
use crate::nextcloud::fault_of_id;
use crate::secret::{Secret, digest, random_alphanumeric};
use crate::state::AppState;
use crate::store::{Account, CreateAccount, NewAccount, StoreError};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const LIST: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
const ERROR: &str = "urn:ietf:params:scim:api:messages:2.0:Error";
const CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
const MEDIA_TYPE: &str = "application/scim+json";

/// How the SCIM endpoint behaves.
#[derive(Clone, Debug)]
pub struct ScimConfig {
    /// Whether it knows filters; without, it says so in its configuration and refuses them.
    pub filter: bool,
    /// The most users on a page.
    pub page: usize,
    /// A bearer token that is as good as the administrator's password.
    pub token: Option<Secret>,
}

impl Default for ScimConfig {
    fn default() -> Self {
        Self {
            filter: true,
            page: 100,
            token: None,
        }
    }
}

pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .route("/scim/v2/ServiceProviderConfig", get(config))
        .route("/scim/v2/Users", get(list).post(create))
        .route("/scim/v2/Users/{id}", get(read).delete(remove))
        .with_state(state)
}

/// Whoever may manage users: by Basic authentication or by the token.
struct Manager;

impl FromRequestParts<AppState> for Manager {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        if let Some(given) = bearer(&parts.headers) {
            let token = state.config.scim.token.as_ref();
            // By their digests, so that the time it takes tells nothing of how much of it is right.
            if token.is_some_and(|token| digest(token.expose()) == digest(given)) {
                return Ok(Self);
            }
            return Err(unauthorized());
        }
        match Administrator::from_request_parts(parts, state).await {
            Ok(_) => Ok(Self),
            Err(refused) if refused.status() == StatusCode::UNAUTHORIZED => Err(unauthorized()),
            Err(refused) if refused.status() == StatusCode::FORBIDDEN => Err(error(
                StatusCode::FORBIDDEN,
                None,
                "an administrator is needed",
            )),
            Err(other) => Err(other),
        }
    }
}

fn unauthorized() -> Response {
    let mut response = error(StatusCode::UNAUTHORIZED, None, "authentication is needed");
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        http::HeaderValue::from_static("Basic realm=\"SCIM\", Bearer realm=\"SCIM\""),
    );
    response
}

/// RFC 7644 section 3.12.
fn error(status: StatusCode, kind: Option<&str>, detail: &str) -> Response {
    let mut body = json!({
        "schemas": [ERROR],
        "status": status.as_u16().to_string(),
        "detail": detail,
    });
    if let Some(kind) = kind {
        body["scimType"] = kind.into();
    }
    answer(status, &body)
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, MEDIA_TYPE)],
        body.to_string(),
    )
        .into_response()
}

async fn config(State(state): State<AppState>) -> Response {
    let supported = |supported: bool| json!({ "supported": supported });
    let scim = &state.config.scim;
    answer(
        StatusCode::OK,
        &json!({
            "schemas": [CONFIG],
            "patch": supported(false),
            "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
            "filter": { "supported": scim.filter, "maxResults": scim.page },
            "changePassword": supported(false),
            "sort": supported(false),
            "etag": supported(false),
            "authenticationSchemes": [
                { "type": "httpbasic", "name": "HTTP Basic", "description": "The administrator's name and password" },
                { "type": "oauthbearertoken", "name": "Bearer", "description": "The token of the configuration" },
            ],
        }),
    )
}

async fn list(
    _: Manager,
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
) -> Result<Response, StoreError> {
    let query = query.unwrap_or_default();
    let parameter = |name: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    };
    let scim = &state.config.scim;
    let found = match parameter("filter") {
        None => state.store.search_accounts("", None, 0)?,
        Some(_) if !scim.filter => {
            let detail = "filters are not known here";
            return Ok(error(
                StatusCode::BAD_REQUEST,
                Some("invalidFilter"),
                detail,
            ));
        }
        Some(filter) => match Filter::read(&filter) {
            Some(filter) => {
                let accounts = state.store.search_accounts(&filter.value, None, 0)?;
                accounts
                    .into_iter()
                    .filter(|account| filter.takes(&account.id))
                    .collect()
            }
            None => {
                let detail = "a filter here is: userName eq|sw|co \"...\"";
                return Ok(error(
                    StatusCode::BAD_REQUEST,
                    Some("invalidFilter"),
                    detail,
                ));
            }
        },
    };
    let number = |name: &str, otherwise: usize| {
        // RFC 7644 section 3.4.2.4: below 1 is 1, a negative count is 0.
        parameter(name)
            .and_then(|value| value.parse::<i64>().ok())
            .map_or(otherwise, |value| usize::try_from(value).unwrap_or(0))
    };
    let start = number("startIndex", 1).max(1);
    let count = number("count", scim.page).min(scim.page);
    let page: Vec<Value> = found
        .iter()
        .skip(start - 1)
        .take(count)
        .map(|account| resource(&state, account))
        .collect();
    let mut body = json!({
        "schemas": [LIST],
        "totalResults": found.len(),
        "startIndex": start,
        "itemsPerPage": page.len(),
    });
    if !page.is_empty() {
        body["Resources"] = page.into();
    }
    Ok(answer(StatusCode::OK, &body))
}

async fn create(
    _: Manager,
    State(state): State<AppState>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, StoreError> {
    let invalid = |kind, detail: &str| Ok(error(StatusCode::BAD_REQUEST, Some(kind), detail));
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|content_type| {
        content_type.starts_with(MEDIA_TYPE) || content_type.starts_with("application/json")
    }) {
        let detail = "the body must be application/scim+json";
        return Ok(error(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, detail));
    }
    let Ok(new) = serde_json::from_slice::<Value>(&body) else {
        return invalid("invalidSyntax", "the body is no JSON");
    };
    let schemas = new["schemas"].as_array();
    if !schemas.is_some_and(|schemas| schemas.iter().any(|schema| schema == USER)) {
        return invalid("invalidSyntax", "`schemas` lacks that of a user");
    }
    let Some(id) = new["userName"].as_str() else {
        return invalid("invalidValue", "`userName` is missing");
    };
    if let Some(fault) = fault_of_id(id) {
        return invalid("invalidValue", fault);
    }
    if new["active"] == false {
        return invalid("invalidValue", "inactive users are not kept here");
    }
    let display_name = ["/displayName", "/name/formatted"]
        .iter()
        .find_map(|path| new.pointer(path)?.as_str());
    let mails = new["emails"].as_array().map_or(&[][..], Vec::as_slice);
    let primary = mails.iter().find(|mail| mail["primary"] == true);
    let email = primary
        .or(mails.first())
        .and_then(|mail| mail["value"].as_str());
    let password = match new["password"].as_str() {
        Some(password) => Secret::new(password),
        // A user without one cannot log in by it.
        None => Secret::new(random_alphanumeric(24)),
    };
    let created = state.store.create_account(&NewAccount {
        id,
        display_name: display_name.unwrap_or_default(),
        email: email.unwrap_or_default(),
        password: &password,
        admin: false,
    })?;
    let account = state.store.account(id)?;
    let (CreateAccount::Created, Some(account)) = (created, account) else {
        let detail = "there is a user of this name already";
        return Ok(error(StatusCode::CONFLICT, Some("uniqueness"), detail));
    };
    let mut response = answer(StatusCode::CREATED, &resource(&state, &account));
    if let Ok(location) = location(&state, &account).parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn read(
    _: Manager,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, StoreError> {
    Ok(match named(&state, &id)? {
        Some(account) => answer(StatusCode::OK, &resource(&state, &account)),
        None => not_found(),
    })
}

async fn remove(
    _: Manager,
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response, StoreError> {
    let Some(account) = named(&state, &id)? else {
        return Ok(not_found());
    };
    if account.admin {
        let detail = "the administrator stays";
        return Ok(error(StatusCode::FORBIDDEN, None, detail));
    }
    Ok(if state.store.delete_account(&account.id)? {
        StatusCode::NO_CONTENT.into_response()
    } else {
        not_found()
    })
}

fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, None, "there is no such user")
}

fn resource(state: &AppState, account: &Account) -> Value {
    let mut user = json!({
        "schemas": [USER],
        "id": scim_id(&account.id),
        "userName": account.id,
        "displayName": account.display_name,
        "active": true,
        "meta": { "resourceType": "User", "location": location(state, account) },
    });
    if !account.email.is_empty() {
        user["emails"] = json!([{ "value": account.email, "primary": true }]);
    }
    user
}

fn location(state: &AppState, account: &Account) -> String {
    format!("{}/scim/v2/Users/{}", state.url, scim_id(&account.id))
}

/// An id that is not the name, so that nobody gets along by taking one for the other: the bytes of the name in hexadecimal.
fn scim_id(name: &str) -> String {
    name.to_ascii_lowercase()
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The user of such an id.
fn named(state: &AppState, id: &str) -> Result<Option<Account>, StoreError> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = id.as_bytes().chunks(2).map(byte).collect();
    match bytes.and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(name) if scim_id(&name) == id => state.store.account(&name),
        _ => Ok(None),
    }
}

/// `userName eq "..."` and the like (RFC 7644 section 3.4.2.2).
#[derive(Debug, PartialEq, Eq)]
struct Filter {
    operator: Operator,
    value: String,
}

#[derive(Debug, PartialEq, Eq)]
enum Operator {
    Equals,
    StartsWith,
    Contains,
}

impl Filter {
    fn read(text: &str) -> Option<Self> {
        let mut words = text.trim().splitn(3, ' ');
        if !words.next()?.eq_ignore_ascii_case("userName") {
            return None;
        }
        let operator = match words.next()?.to_ascii_lowercase().as_str() {
            "eq" => Operator::Equals,
            "sw" => Operator::StartsWith,
            "co" => Operator::Contains,
            _ => return None,
        };
        let value = serde_json::from_str(words.next()?).ok()?;
        Some(Self { operator, value })
    }

    /// `userName` is compared without regard to case (RFC 7643 section 4.1.1).
    fn takes(&self, name: &str) -> bool {
        let (name, value) = (name.to_lowercase(), self.value.to_lowercase());
        match self.operator {
            Operator::Equals => name == value,
            Operator::StartsWith => name.starts_with(&value),
            Operator::Contains => name.contains(&value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_applied() {
        let of = |text: &str| Filter::read(text);
        let starts = of(r#"userName sw "load\"test""#).expect("a filter");
        assert_eq!(starts.value, "load\"test");
        assert!(starts.takes("LOAD\"test_1") && !starts.takes("xload\"test"));
        let equals = of(r#"USERNAME EQ "a""#).expect("a filter");
        assert!(equals.takes("A") && !equals.takes("ab"));
        for bad in [
            "",
            "userName",
            "userName eq",
            "userName eq a",
            r#"displayName eq "a""#,
            r#"userName eq "a" or userName eq "b""#,
            r#"userName pr "a""#,
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_id_is_no_name_and_leads_to_one() {
        assert_eq!(scim_id("Ab_1"), "61625f31");
        assert_ne!(scim_id("loadtest_user_1"), "loadtest_user_1");
    }
}

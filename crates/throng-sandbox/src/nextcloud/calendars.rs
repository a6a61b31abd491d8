//! The principal and the calendar home of a user, as far as listing calendars needs them. No events.

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::any;

use super::dav::xml::{Multistatus, Property, escape, namespace};
use super::dav::{Depth, multistatus, propfind, sabre_error};
use crate::auth::Authenticated;
use crate::state::AppState;
use http::{Method, StatusCode};

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/remote.php/dav/principals/users/{user}", any(principal))
        .route("/remote.php/dav/principals/users/{user}/", any(principal))
        .route("/remote.php/dav/calendars/{user}", any(home))
        .route("/remote.php/dav/calendars/{user}/", any(home))
        .route("/remote.php/dav/calendars/{user}/{calendar}", any(one))
        .route("/remote.php/dav/calendars/{user}/{calendar}/", any(one))
}

const DISPLAY_NAME: Property = Property::new(namespace::DAV, "displayname");
const RESOURCE_TYPE: Property = Property::new(namespace::DAV, "resourcetype");

/// The calendar that every user has.
const PERSONAL: &str = "personal";

async fn principal(
    Authenticated { account, .. }: Authenticated,
    State(_): State<AppState>,
    Path(user): Path<String>,
    request: Request,
) -> Response {
    let requested = match propfind(request).await {
        Ok((requested, _)) => requested,
        Err(response) => return response,
    };
    if user != account.id {
        return no_such_principal(&user);
    }
    let mut answer = Multistatus::new();
    let href = format!("/remote.php/dav/principals/users/{user}/");
    answer.response(
        &href,
        &requested,
        &[DISPLAY_NAME, RESOURCE_TYPE],
        |property| {
            let inner = match (&*property.namespace, &*property.name) {
                (namespace::DAV, "displayname") => escape(&account.display_name).into_owned(),
                (namespace::DAV, "resourcetype") => "<d:principal/>".to_owned(),
                (namespace::DAV, "principal-URL" | "current-user-principal") => {
                    format!("<d:href>{}</d:href>", escape(&href))
                }
                (namespace::CALDAV, "calendar-home-set") => {
                    format!(
                        "<d:href>/remote.php/dav/calendars/{}/</d:href>",
                        escape(&user)
                    )
                }
                (namespace::CALDAV, "calendar-user-address-set") => {
                    let mail = escape(&account.email);
                    format!(
                        "<d:href>mailto:{mail}</d:href><d:href>{}</d:href>",
                        escape(&href)
                    )
                }
                (namespace::CALDAV, "schedule-inbox-URL") => {
                    format!(
                        "<d:href>/remote.php/dav/calendars/{}/inbox/</d:href>",
                        escape(&user)
                    )
                }
                (namespace::CALDAV, "schedule-outbox-URL") => {
                    format!(
                        "<d:href>/remote.php/dav/calendars/{}/outbox/</d:href>",
                        escape(&user)
                    )
                }
                _ => return None,
            };
            Some(inner)
        },
    );
    multistatus(answer)
}

async fn home(
    Authenticated { account, .. }: Authenticated,
    Path(user): Path<String>,
    request: Request,
) -> Response {
    let (requested, depth) = match propfind(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    if user != account.id {
        return no_such_calendar(&user);
    }
    let mut answer = Multistatus::new();
    let usual = [RESOURCE_TYPE];
    let href = format!("/remote.php/dav/calendars/{user}/");
    answer.response(&href, &requested, &usual, |property| {
        match (&*property.namespace, &*property.name) {
            (namespace::DAV, "resourcetype") => Some("<d:collection/>".to_owned()),
            (namespace::DAV, "current-user-principal" | "owner") => Some(principal_href(&user)),
            _ => None,
        }
    });
    if depth == Depth::One {
        for name in [PERSONAL, "inbox", "outbox"] {
            let href = format!("{href}{name}/");
            answer.response(&href, &requested, &usual, |property| {
                calendar_property(&user, name, property)
            });
        }
    }
    multistatus(answer)
}

async fn one(
    Authenticated { account, .. }: Authenticated,
    Path((user, calendar)): Path<(String, String)>,
    request: Request,
) -> Response {
    let (requested, _) = match propfind(request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    if user != account.id || ![PERSONAL, "inbox", "outbox"].contains(&calendar.as_str()) {
        return no_such_calendar(&calendar);
    }
    let mut answer = Multistatus::new();
    let href = format!("/remote.php/dav/calendars/{user}/{calendar}/");
    answer.response(
        &href,
        &requested,
        &[RESOURCE_TYPE, DISPLAY_NAME],
        |property| calendar_property(&user, &calendar, property),
    );
    multistatus(answer)
}

fn calendar_property(user: &str, calendar: &str, property: &Property) -> Option<String> {
    let personal = calendar == PERSONAL;
    let inner = match (&*property.namespace, &*property.name) {
        (namespace::DAV, "resourcetype") => match calendar {
            "inbox" => "<d:collection/><cal:schedule-inbox/>".to_owned(),
            "outbox" => "<d:collection/><cal:schedule-outbox/>".to_owned(),
            _ => "<d:collection/><cal:calendar/>".to_owned(),
        },
        (namespace::DAV, "current-user-principal" | "owner") => principal_href(user),
        (namespace::DAV, "displayname") if personal => "Personal".to_owned(),
        // No event can be stored, so the calendars never change.
        (namespace::CALENDAR_SERVER, "getctag") if personal => {
            "http://sabre.io/ns/sync/1".to_owned()
        }
        (namespace::APPLE, "calendar-color") if personal => "#0082c9".to_owned(),
        (namespace::CALDAV, "schedule-calendar-transp") if personal => "<cal:opaque/>".to_owned(),
        (namespace::CALDAV, "supported-calendar-component-set") if personal => {
            "<cal:comp name=\"VEVENT\"/><cal:comp name=\"VTODO\"/>".to_owned()
        }
        _ => return None,
    };
    Some(inner)
}

fn principal_href(user: &str) -> String {
    format!(
        "<d:href>/remote.php/dav/principals/users/{}/</d:href>",
        escape(user)
    )
}

fn no_such_principal(user: &str) -> Response {
    let message = format!("Principal with name {user} not found");
    sabre_error(StatusCode::NOT_FOUND, "NotFound", &message)
}

fn no_such_calendar(name: &str) -> Response {
    let message = format!("Calendar with name '{name}' could not be found");
    sabre_error(StatusCode::NOT_FOUND, "NotFound", &message)
}

/// The only method that these collections answer.
pub(super) fn is_propfind(method: &Method) -> bool {
    method.as_str() == "PROPFIND"
}

//! The share API: `/ocs/v2.php/apps/files_sharing/api/v1/shares`. Shares with users only.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::content::files::{self, File, permission};
use super::content::path::FilePath;
use super::content::shares::{self, Share};
use super::fields::Fields;
use crate::auth::Authenticated;
use crate::ocs::Ocs;
use crate::state::AppState;
use crate::store::StoreError;
use crate::timestamp::{unix_millis, unix_seconds};

/// `shareType` of a share with a user.
const WITH_USER: i64 = 0;

pub(super) fn router() -> Router<AppState> {
    let mut router = Router::new();
    for version in ["/ocs/v1.php", "/ocs/v2.php"] {
        let shares = format!("{version}/apps/files_sharing/api/v1/shares");
        router = router.route(&shares, get(list).post(create)).route(
            &format!("{shares}/{{id}}"),
            get(read).put(update).delete(remove),
        );
    }
    router
}

/// Why the share API refuses: an HTTP status and a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShareRefused {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl ShareRefused {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    fn no_file() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Wrong path, file/folder does not exist",
        )
    }

    fn no_share() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Wrong share ID, share does not exist",
        )
    }
}

/// What a user asks to share.
#[derive(Debug, Clone)]
pub(crate) struct NewShare<'a> {
    pub(crate) path: &'a str,
    pub(crate) share_type: i64,
    pub(crate) share_with: &'a str,
    pub(crate) permissions: Option<u32>,
}

type Answer = Result<Result<Value, ShareRefused>, StoreError>;

/// Shares a file with another user; the share as the API shows it.
pub(crate) fn share(state: &AppState, user: &str, new: &NewShare<'_>) -> Answer {
    let bad = |message| Ok(Err(ShareRefused::new(StatusCode::BAD_REQUEST, message)));
    let not_found = |message| Ok(Err(ShareRefused::new(StatusCode::NOT_FOUND, message)));
    if new.path.is_empty() {
        return not_found("Please specify a file or folder path");
    }
    let propagation =
        i64::try_from(state.knobs.share_propagation().as_millis()).unwrap_or(i64::MAX);
    let visible_at = unix_millis().saturating_add(propagation);
    let Ok(path) = FilePath::parse(new.path) else {
        return Ok(Err(ShareRefused::no_file()));
    };
    let Some(seen) = state
        .store
        .with(|db| files::look(db, user, &path, unix_millis()))?
    else {
        return Ok(Err(ShareRefused::no_file()));
    };
    match new.share_type {
        WITH_USER => {}
        1 => return not_found("Please specify a valid group"),
        3 => return not_found("Public link sharing is disabled by the administrator"),
        _ => return bad("Unknown share type"),
    }
    if state.issuer.is_some() {
        // Whoever the outside provider may have, though nobody of that name was seen here yet.
        state.store.ensure_known(new.share_with)?;
    }
    let Some(recipient) = state.store.account(new.share_with)? else {
        return not_found("Please specify a valid user");
    };
    if recipient.id == user || recipient.id == seen.file.owner {
        let message = "Cannot share with yourself";
        return Ok(Err(ShareRefused::new(StatusCode::FORBIDDEN, message)));
    }
    if seen.permissions & permission::SHARE == 0 {
        let message = "You are not allowed to share this file";
        return Ok(Err(ShareRefused::new(StatusCode::FORBIDDEN, message)));
    }
    let permissions = new.permissions.unwrap_or(permission::ALL);
    if let Err(refused) = check_permissions(permissions) {
        return Ok(Err(refused));
    }
    state.store.transaction(|db| {
        let now = (unix_seconds(), visible_at);
        let share = shares::create(db, &seen.file, &recipient.id, permissions, now)?;
        Ok(Ok(as_json(db, &share, &seen.file, user)?))
    })
}

fn check_permissions(permissions: u32) -> Result<(), ShareRefused> {
    if permissions > permission::ALL {
        let message = "Invalid permissions";
        return Err(ShareRefused::new(StatusCode::NOT_FOUND, message));
    }
    if permissions & (permission::READ | permission::CREATE) == 0 {
        let message = "Share must at least have READ or CREATE permissions";
        return Err(ShareRefused::new(StatusCode::BAD_REQUEST, message));
    }
    Ok(())
}

/// The shares that a user made (of one file, if a path is given), or those that others made with the user.
pub(crate) fn list_of(
    state: &AppState,
    user: &str,
    path: Option<&str>,
    shared_with_me: bool,
) -> Answer {
    let now = unix_millis();
    let file = match path.filter(|path| !path.is_empty()) {
        None => None,
        Some(path) => {
            let Ok(path) = FilePath::parse(path) else {
                return Ok(Err(ShareRefused::no_file()));
            };
            match state.store.with(|db| files::look(db, user, &path, now))? {
                Some(seen) => Some(seen.file.id),
                None => return Ok(Err(ShareRefused::no_file())),
            }
        }
    };
    state.store.with(|db| {
        let found = if shared_with_me {
            let mut mounts = shares::mounts(db, user, now)?;
            mounts.retain(|(share, _)| file.is_none_or(|file| share.file == file));
            mounts
        } else {
            shares::by_owner(db, user, file)?
        };
        let shown = found
            .iter()
            .map(|(share, file)| as_json(db, share, file, user))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(Ok(shown.into()))
    })
}

/// One share, for its owner or its recipient.
pub(crate) fn one(state: &AppState, user: &str, id: i64) -> Answer {
    state.store.with(|db| {
        Ok(match visible(db, user, id)? {
            Some((share, file)) => Ok(as_json(db, &share, &file, user)?),
            None => Err(ShareRefused::no_share()),
        })
    })
}

/// Changes the permissions of a share that the user made; the share as it is then.
pub(crate) fn set_permissions(
    state: &AppState,
    user: &str,
    id: i64,
    permissions: Option<u32>,
) -> Answer {
    state.store.transaction(|db| {
        let Some((mut share, file)) = visible(db, user, id)? else {
            return Ok(Err(ShareRefused::no_share()));
        };
        if share.owner != user {
            let message = "You are not allowed to edit incoming shares";
            return Ok(Err(ShareRefused::new(StatusCode::FORBIDDEN, message)));
        }
        let Some(permissions) = permissions else {
            let message = "Wrong or no update parameter given";
            return Ok(Err(ShareRefused::new(StatusCode::BAD_REQUEST, message)));
        };
        if let Err(refused) = check_permissions(permissions) {
            return Ok(Err(refused));
        }
        share.permissions = shares::effective(permissions, file.directory);
        shares::set_permissions(db, share.id, share.permissions)?;
        Ok(Ok(as_json(db, &share, &file, user)?))
    })
}

/// Ends a share: its owner takes it back, or its recipient no longer wants it.
pub(crate) fn end(state: &AppState, user: &str, id: i64) -> Answer {
    state.store.transaction(|db| {
        if visible(db, user, id)?.is_none() {
            return Ok(Err(ShareRefused::no_share()));
        }
        shares::delete(db, id)?;
        Ok(Ok(json!([])))
    })
}

/// A share of which the user is the owner, or the recipient to whom it has propagated.
fn visible(db: &Connection, user: &str, id: i64) -> rusqlite::Result<Option<(Share, File)>> {
    let now = unix_millis();
    Ok(shares::find(db, id)?.filter(|(share, _)| {
        share.owner == user || (share.recipient == user && share.visible_at <= now)
    }))
}

/// A share as the API shows it to `viewer`.
fn as_json(db: &Connection, share: &Share, file: &File, viewer: &str) -> rusqlite::Result<Value> {
    let name_of = |id: &str| {
        db.prepare_cached("SELECT display_name FROM accounts WHERE id = ?1")?
            .query_row([id], |row| row.get::<_, String>(0))
    };
    let (owner_name, recipient_name) = (name_of(&share.owner)?, name_of(&share.recipient)?);
    let incoming = viewer != share.owner;
    let path = if incoming {
        &share.target
    } else {
        file.path.as_str()
    };
    let storage = if incoming {
        format!("shared::{}", share.target)
    } else {
        format!("home::{}", share.owner)
    };
    let parent = files::find_own(db, &file.owner, &file.path.parent_path())?;
    let can_edit = share.permissions & permission::UPDATE != 0;
    Ok(json!({
        "id": share.id.to_string(),
        "share_type": WITH_USER,
        "uid_owner": share.owner,
        "displayname_owner": owner_name,
        "permissions": share.permissions,
        "can_edit": !incoming,
        "can_delete": true,
        "stime": share.created,
        "parent": null,
        "expiration": null,
        "token": null,
        "uid_file_owner": file.owner,
        "note": "",
        "label": "",
        "displayname_file_owner": owner_name,
        "path": path,
        "item_type": if file.directory { "folder" } else { "file" },
        "item_permissions": if incoming || can_edit { share.permissions } else { permission::ALL & !permission::CREATE },
        "mimetype": file.content_type,
        "has_preview": false,
        "storage_id": storage,
        "storage": 1,
        "item_source": file.id,
        "file_source": file.id,
        "file_parent": parent.map(|parent| parent.id),
        "file_target": share.target,
        "item_size": file.size,
        "item_mtime": file.modified,
        "share_with": share.recipient,
        "share_with_displayname": recipient_name,
        "share_with_displayname_unique": share.recipient,
        "status": [],
        "mail_send": 0,
        "hide_download": 0,
        "attributes": null,
    }))
}

fn answered(ocs: Ocs, answer: Answer) -> Result<Response, StoreError> {
    Ok(match answer? {
        Ok(data) => ocs.ok(data),
        Err(ShareRefused { status, message }) => ocs.error(status, status.as_u16(), &message),
    })
}

async fn create(
    ocs: Ocs,
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    fields: Fields,
) -> Result<Response, StoreError> {
    let new = NewShare {
        path: &fields.text("path").unwrap_or_default(),
        share_type: fields.integer("shareType").unwrap_or(-1),
        share_with: &fields.text("shareWith").unwrap_or_default(),
        permissions: permissions(&fields),
    };
    answered(ocs, share(&state, &account.id, &new))
}

fn permissions(fields: &Fields) -> Option<u32> {
    fields
        .integer("permissions")
        .map(|bits| u32::try_from(bits).unwrap_or(u32::MAX))
}

async fn list(
    ocs: Ocs,
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    fields: Fields,
) -> Result<Response, StoreError> {
    let shared_with_me = fields.flag("shared_with_me").unwrap_or(false);
    let path = fields.text("path");
    answered(
        ocs,
        list_of(&state, &account.id, path.as_deref(), shared_with_me),
    )
}

async fn read(
    ocs: Ocs,
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, StoreError> {
    let answer = one(&state, &account.id, id)?;
    // This endpoint alone answers a list of one.
    answered(ocs, Ok(answer.map(|share| json!([share]))))
}

async fn update(
    ocs: Ocs,
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    Path(id): Path<i64>,
    fields: Fields,
) -> Result<Response, StoreError> {
    answered(
        ocs,
        set_permissions(&state, &account.id, id, permissions(&fields)),
    )
}

async fn remove(
    ocs: Ocs,
    Authenticated { account, .. }: Authenticated,
    State(state): State<AppState>,
    Path(id): Path<i64>,
) -> Result<Response, StoreError> {
    answered(ocs, end(&state, &account.id, id))
}

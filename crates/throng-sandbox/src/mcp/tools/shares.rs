//! The tools of the share API. They answer a JSON text, as the real ones do.

use serde_json::{Value, json};

use super::output::Output;
use super::{Answer, Call, Failure, Nature, Tool};
use crate::mcp::arguments::{Kind, Parameter, Presence};
use crate::nextcloud::shares::{self, NewShare, ShareRefused};
use crate::store::StoreError;

const SCOPE: &str = "sharing.write";
const SHARE_ID: Parameter = Parameter::required("share_id", Kind::Integer);
const RESOURCE: &str = "apps/files_sharing/api/v1/shares";

pub(super) const CREATE: Tool = Tool {
    name: "nc_share_create",
    title: "Create Share",
    description: "Share a file or directory with a user; permissions: 1 read, 2 update, 4 create, 8 delete, 16 share",
    scope: SCOPE,
    parameters: &[
        Parameter::required("path", Kind::Text),
        Parameter::optional("share_with", Kind::TextOrNull, Presence::Null),
        Parameter::optional("share_type", Kind::Integer, Presence::Number(0)),
        Parameter::optional("permissions", Kind::Integer, Presence::Number(1)),
    ],
    output: Output::Text,
    nature: Nature::Changes,
    run: create,
};

pub(super) const DELETE: Tool = Tool {
    name: "nc_share_delete",
    title: "Delete Share",
    description: "End a share",
    scope: SCOPE,
    parameters: &[SHARE_ID],
    output: Output::Text,
    nature: Nature::Destroys,
    run: delete,
};

pub(super) const GET: Tool = Tool {
    name: "nc_share_get",
    title: "Get Share Details",
    description: "Look at one share",
    scope: SCOPE,
    parameters: &[SHARE_ID],
    output: Output::Text,
    nature: Nature::Reads,
    run: get,
};

pub(super) const LIST: Tool = Tool {
    name: "nc_share_list",
    title: "List Shares",
    description: "List the shares that you made, or those that others made with you",
    scope: SCOPE,
    parameters: &[
        Parameter::optional("path", Kind::TextOrNull, Presence::Null),
        Parameter::optional("shared_with_me", Kind::Boolean, Presence::Flag(false)),
    ],
    output: Output::Text,
    nature: Nature::Reads,
    run: list,
};

pub(super) const UPDATE: Tool = Tool {
    name: "nc_share_update",
    title: "Update Share",
    description: "Change the permissions of a share that you made",
    scope: SCOPE,
    parameters: &[SHARE_ID, Parameter::required("permissions", Kind::Integer)],
    output: Output::Text,
    nature: Nature::Changes,
    run: update,
};

fn create(call: &Call<'_>) -> Result<Answer, Failure> {
    let share_type = call.arguments.integer("share_type");
    let share_with = call.arguments.text("share_with").trim();
    if share_type == 3 && !share_with.is_empty() {
        let message = "shareType 3 (public link) must not carry shareWith";
        return Err(Failure::executing(call.tool, message));
    }
    if share_type != 3 && share_with.is_empty() {
        let message = format!("shareType {share_type} requires a non-empty shareWith recipient");
        return Err(Failure::executing(call.tool, message));
    }
    let new = NewShare {
        path: call.arguments.text("path"),
        share_type,
        share_with,
        permissions: Some(permissions(call)),
    };
    let share = shares::share(call.state, call.user, &new);
    text(call, None, share)
}

fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = call.arguments.integer("share_id");
    let ended = shares::end(call.state, call.user, id);
    let message = format!("Share {id} deleted");
    let done = json!({ "success": true, "message": message });
    text(call, Some(id), ended.map(|ended| ended.map(|_| done)))
}

fn get(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = call.arguments.integer("share_id");
    text(call, Some(id), shares::one(call.state, call.user, id))
}

fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    let path = call.arguments.text_or_null("path");
    let shared_with_me = call.arguments.flag("shared_with_me");
    let found = shares::list_of(call.state, call.user, path, shared_with_me);
    text(call, None, found)
}

fn update(call: &Call<'_>) -> Result<Answer, Failure> {
    let id = call.arguments.integer("share_id");
    let permissions = Some(permissions(call));
    let updated = shares::set_permissions(call.state, call.user, id, permissions);
    text(call, Some(id), updated)
}

fn permissions(call: &Call<'_>) -> u32 {
    // Out of range is too many bits, which is refused further on.
    u32::try_from(call.arguments.integer("permissions")).unwrap_or(u32::MAX)
}

fn text(
    call: &Call<'_>,
    id: Option<i64>,
    answer: Result<Result<Value, ShareRefused>, StoreError>,
) -> Result<Answer, Failure> {
    match answer? {
        Ok(value) => Ok(Answer::Text(value.to_string())),
        Err(ShareRefused { status, message }) => {
            let resource = id.map_or_else(|| RESOURCE.to_owned(), |id| format!("{RESOURCE}/{id}"));
            Err(Failure::http(call, status, &resource, &message))
        }
    }
}

//! Calendars, which there is one of, and Deck, which is not installed.

use serde_json::json;

use super::output::{Kind as Out, Output, SUCCESS, TIMESTAMP, always, usually};
use super::{Answer, Call, Failure, Nature, Tool};
use crate::timestamp::rfc3339_now;

pub(super) const LIST_CALENDARS: Tool = Tool {
    name: "nc_calendar_list_calendars",
    title: "List Calendars",
    description: "List the calendars",
    scope: "calendar.read",
    parameters: &[],
    output: Output::Object(
        "ListCalendarsResponse",
        &[
            SUCCESS,
            TIMESTAMP,
            always(
                "calendars",
                Out::Objects(&[
                    always("name", Out::Text),
                    always("display_name", Out::Text),
                    usually("description", Out::TextOrNull),
                    usually("color", Out::TextOrNull),
                    usually("href", Out::TextOrNull),
                    usually("timezone", Out::TextOrNull),
                    usually("enabled", Out::Boolean),
                    usually("ctag", Out::TextOrNull),
                    usually("read_only", Out::Boolean),
                    usually("source", Out::TextOrNull),
                    usually("transparent", Out::Boolean),
                ]),
            ),
            always("total_count", Out::Integer),
        ],
    ),
    nature: Nature::Reads,
    run: list_calendars,
};

pub(super) const GET_BOARDS: Tool = Tool {
    name: "deck_get_boards",
    title: "List Deck Boards",
    description: "List the boards of Deck, which is not installed here",
    scope: "deck.read",
    parameters: &[],
    output: Output::None,
    nature: Nature::Reads,
    run: get_boards,
};

fn list_calendars(call: &Call<'_>) -> Result<Answer, Failure> {
    Ok(Answer::Object(json!({
        "success": true,
        "timestamp": rfc3339_now(),
        "calendars": [{
            "name": "personal",
            "display_name": "Personal",
            "description": "",
            "color": "#0082c9",
            "href": format!("/remote.php/dav/calendars/{}/personal/", call.user),
            "timezone": null,
            "enabled": true,
            "ctag": null,
            "read_only": false,
            "source": null,
            "transparent": false,
        }],
        "total_count": 1,
    })))
}

fn get_boards(call: &Call<'_>) -> Result<Answer, Failure> {
    Err(Failure::Tool(format!(
        "Tool {} is unavailable here: the Nextcloud 'deck' app is not installed, or is not enabled for this account.",
        call.tool
    )))
}

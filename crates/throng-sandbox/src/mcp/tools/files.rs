//! The tools that work on files by path, the user's own and those shared with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::{Value, json};

use super::output::{Kind as Out, Output, SUCCESS, TIMESTAMP, always, usually};
use super::{Answer, Call, Failure, Nature, Tool};
use crate::mcp::arguments::{Kind, Parameter, Presence};
use crate::nextcloud::content::files::{self, Precondition, Refused, Seen};
use crate::nextcloud::content::path::FilePath;
use crate::nextcloud::dav::{DIRECTORY_TEXT, content_type_of};
use crate::timestamp::{http_date, rfc3339_now, unix_millis, unix_seconds};

const READ_SCOPE: &str = "files.read";
const WRITE_SCOPE: &str = "files.write";
const PATH: Parameter = Parameter::required("path", Kind::Text);

pub(super) const LIST_DIRECTORY: Tool = Tool {
    name: "nc_webdav_list_directory",
    title: "List Files and Directories",
    description: "List what stands in a directory; an empty path is the root",
    scope: READ_SCOPE,
    parameters: &[Parameter::optional("path", Kind::Text, Presence::Word(""))],
    output: Output::Object(
        "DirectoryListing",
        &[
            SUCCESS,
            TIMESTAMP,
            always("path", Out::Text),
            always(
                "files",
                Out::Objects(&[
                    always("name", Out::Text),
                    always("path", Out::Text),
                    always("is_directory", Out::Boolean),
                    usually("size", Out::IntegerOrNull),
                    usually("content_type", Out::TextOrNull),
                    usually("last_modified", Out::TextOrNull),
                    usually("etag", Out::TextOrNull),
                    usually("file_id", Out::IntegerOrNull),
                    usually("is_favorite", Out::BooleanOrNull),
                    usually("url", Out::TextOrNull),
                ]),
            ),
            always("total_count", Out::Integer),
            always("directories_count", Out::Integer),
            always("files_count", Out::Integer),
            usually("total_size", Out::Integer),
        ],
    ),
    nature: Nature::Reads,
    run: list_directory,
};

pub(super) const READ: Tool = Tool {
    name: "nc_webdav_read_file",
    title: "Read File",
    description: "Read a file: text as it is, anything else in base64. Documents are not parsed here",
    scope: READ_SCOPE,
    parameters: &[
        PATH,
        Parameter::optional(
            "parse_document",
            Kind::Choice(&["auto", "markdown", "raw"]),
            Presence::Word("auto"),
        ),
        Parameter::optional("page_start", Kind::IntegerOrNull, Presence::Null),
        Parameter::optional("page_end", Kind::IntegerOrNull, Presence::Null),
    ],
    output: Output::Object(
        "ReadFileResponse",
        &[
            SUCCESS,
            TIMESTAMP,
            always("path", Out::Text),
            always("content", Out::Text),
            always("content_type", Out::Text),
            always("size", Out::Integer),
            usually("encoding", Out::TextOrNull),
            usually("parsed", Out::Boolean),
            usually("parse_status", Out::Text),
            usually("parse_tier", Out::TextOrNull),
            usually("parse_processor", Out::TextOrNull),
            usually("content_format", Out::Text),
            usually("parse_notes", Out::Texts),
            usually("parsing_metadata", Out::ObjectOrNull),
            usually("page_count", Out::IntegerOrNull),
            usually("page_start", Out::IntegerOrNull),
            usually("page_end", Out::IntegerOrNull),
            usually("etag", Out::TextOrNull),
            usually("last_modified", Out::TextOrNull),
            usually("url", Out::TextOrNull),
        ],
    ),
    nature: Nature::Reads,
    run: read,
};

pub(super) const WRITE: Tool = Tool {
    name: "nc_webdav_write_file",
    title: "Write File",
    description: "Write a file: a new one, or over one whose etag is given as if_match ('*': over whatever there is)",
    scope: WRITE_SCOPE,
    parameters: &[
        PATH,
        Parameter::required("content", Kind::Text),
        Parameter::optional("content_type", Kind::TextOrNull, Presence::Null),
        Parameter::optional("if_match", Kind::TextOrNull, Presence::Null),
    ],
    output: Output::Object(
        "WriteFileResponse",
        &[
            SUCCESS,
            TIMESTAMP,
            usually("status_code", Out::IntegerOrNull),
            usually("message", Out::TextOrNull),
            always("path", Out::Text),
            usually("size", Out::IntegerOrNull),
            always("created", Out::Boolean),
            usually("etag", Out::TextOrNull),
        ],
    ),
    nature: Nature::Changes,
    run: write,
};

pub(super) const CREATE_DIRECTORY: Tool = Tool {
    name: "nc_webdav_create_directory",
    title: "Create Directory",
    description: "Create a directory",
    scope: WRITE_SCOPE,
    parameters: &[PATH],
    output: Output::None,
    nature: Nature::ChangesOnce,
    run: create_directory,
};

pub(super) const DELETE: Tool = Tool {
    name: "nc_webdav_delete_resource",
    title: "Delete File or Directory",
    description: "Delete a file, or a directory with all that is in it",
    scope: WRITE_SCOPE,
    parameters: &[PATH],
    output: Output::None,
    nature: Nature::Destroys,
    run: delete,
};

/// The largest file that is answered inline, in bytes.
const INLINE_LIMIT: u64 = 5 * 1024 * 1024;

fn path(call: &Call<'_>) -> Result<FilePath, Failure> {
    let raw = call.arguments.text("path");
    FilePath::parse(raw).map_err(|error| Failure::Tool(format!("{} failed: {error}", call.tool)))
}

fn not_found(call: &Call<'_>, path: &FilePath, said: &str) -> Failure {
    let resource = path.as_str().trim_start_matches('/');
    Failure::http(call, StatusCode::NOT_FOUND, resource, said)
}

fn url(call: &Call<'_>, id: i64) -> String {
    format!("{}/index.php/f/{id}", call.state.url)
}

fn list_directory(call: &Call<'_>) -> Result<Answer, Failure> {
    let path = path(call)?;
    let now = unix_millis();
    let found = call.state.store.with(|db| {
        Ok(match files::look(db, call.user, &path, now)? {
            Some(seen) if seen.file.directory => Some(files::list(db, call.user, &seen, now)?),
            // A file is listed as a directory that is empty.
            Some(_) => Some(Vec::new()),
            None => None,
        })
    })?;
    let said = Refused::NotFound(path.clone()).to_string();
    let found = found.ok_or_else(|| {
        let resource = format!("{}/", path.as_str().trim_start_matches('/'));
        Failure::http(call, StatusCode::NOT_FOUND, &resource, &said)
    })?;
    let given = call.arguments.text("path");
    let (directories, plain): (Vec<_>, Vec<_>) = found.iter().partition(|seen| seen.file.directory);
    let entries: Vec<_> = found.iter().map(|seen| entry(call, given, seen)).collect();
    let total_size: u64 = plain.iter().map(|seen| seen.file.size).sum();
    Ok(Answer::Object(json!({
        "success": true,
        "timestamp": rfc3339_now(),
        "path": given,
        "files": entries,
        "total_count": entries.len(),
        "directories_count": directories.len(),
        "files_count": plain.len(),
        "total_size": total_size,
    })))
}

fn entry(call: &Call<'_>, directory: &str, seen: &Seen) -> Value {
    let name = seen.path.name();
    let path = match directory.trim_end_matches('/') {
        "" if directory.is_empty() => name.to_owned(),
        directory => format!("{directory}/{name}"),
    };
    let file = &seen.file;
    let plain = !file.directory;
    json!({
        "name": name,
        "path": path,
        "is_directory": file.directory,
        "size": plain.then_some(file.size),
        "content_type": plain.then_some(&file.content_type),
        "last_modified": http_date(file.modified),
        "etag": file.etag,
        "file_id": file.id,
        "is_favorite": null,
        "url": url(call, file.id),
    })
}

fn read(call: &Call<'_>) -> Result<Answer, Failure> {
    let path = path(call)?;
    let found = call.state.store.with(|db| {
        let seen = files::look(db, call.user, &path, unix_millis())?;
        let Some(Seen { mut file, .. }) = seen else {
            return Ok(None);
        };
        if file.directory {
            // What WebDAV answers to a GET of a directory is a file for the tool.
            file.content_type = "text/plain".to_owned();
            file.size = DIRECTORY_TEXT.len() as u64;
            return Ok(Some((file, Some(DIRECTORY_TEXT.into()))));
        }
        let content = if file.size > INLINE_LIMIT {
            None
        } else {
            Some(files::content(db, file.id)?)
        };
        Ok(Some((file, content)))
    })?;
    let (file, content) = found.ok_or_else(|| not_found(call, &path, ""))?;
    let mut notes = Vec::new();
    let is_text = file.content_type.starts_with("text/");
    let (content, encoding) = match content.map(String::from_utf8) {
        Some(Ok(text)) if is_text => (text, None),
        Some(Ok(text)) => (STANDARD.encode(text), Some("base64")),
        Some(Err(error)) => (STANDARD.encode(error.into_bytes()), Some("base64")),
        None => {
            notes.push("The file itself is too large to return inline.");
            (String::new(), None)
        }
    };
    let charset = if is_text { ";charset=UTF-8" } else { "" };
    let raw = call.arguments.text("parse_document") == "raw";
    Ok(Answer::Object(json!({
        "success": true,
        "timestamp": rfc3339_now(),
        "path": call.arguments.text("path"),
        "content": content,
        "content_type": format!("{}{charset}", file.content_type),
        "size": file.size,
        "encoding": encoding,
        "parsed": false,
        "parse_status": if raw { "skipped" } else { "not_applicable" },
        "parse_tier": null,
        "parse_processor": null,
        "content_format": encoding.unwrap_or("text"),
        "parse_notes": notes,
        "parsing_metadata": null,
        "page_count": null,
        "page_start": null,
        "page_end": null,
        "etag": file.etag,
        "last_modified": null,
        "url": url(call, file.id),
    })))
}

fn write(call: &Call<'_>) -> Result<Answer, Failure> {
    let path = path(call)?;
    let content = call.arguments.text("content");
    let in_base64 = call
        .arguments
        .text("content_type")
        .to_lowercase()
        .contains("base64");
    let content = if in_base64 {
        STANDARD
            .decode(content)
            .map_err(|error| Failure::Tool(format!("{} failed: {error}", call.tool)))?
    } else {
        content.as_bytes().to_vec()
    };
    let if_match = call.arguments.text_or_null("if_match");
    let precondition = Precondition {
        if_match: if_match.map(str::to_owned),
        if_none_match: if_match.is_none().then(|| "*".to_owned()),
    };
    let written = call.state.store.transaction(|db| {
        let file = (content.as_slice(), content_type_of(path.name()));
        let now = (unix_seconds(), unix_millis());
        files::write(db, call.user, &path, file, &precondition, now)
    })?;
    let written = written.map_err(|refused| refusal(call, &path, if_match, &refused))?;
    Ok(Answer::Object(json!({
        "success": true,
        "timestamp": rfc3339_now(),
        "status_code": if written.created { 201 } else { 204 },
        "message": null,
        "path": call.arguments.text("path"),
        "size": content.len(),
        "created": written.created,
        "etag": written.etag,
    })))
}

fn refusal(call: &Call<'_>, path: &FilePath, if_match: Option<&str>, refused: &Refused) -> Failure {
    let status = match refused {
        Refused::Precondition(_) => {
            let message = match if_match {
                None => "File already exists",
                Some("*") => "File does not exist",
                Some(_) => "File was modified since the given etag was read",
            };
            let given = call.arguments.text("path");
            return Failure::executing(call.tool, format!("{message} ('{given}')"));
        }
        Refused::ParentMissing => {
            let said = Refused::NotFound(path.parent_path()).to_string();
            return not_found(call, path, &said);
        }
        Refused::NotFound(_) => StatusCode::NOT_FOUND,
        Refused::Exists => StatusCode::CONFLICT,
        Refused::Forbidden(_) => StatusCode::FORBIDDEN,
    };
    let resource = path.as_str().trim_start_matches('/');
    Failure::http(call, status, resource, &refused.to_string())
}

fn create_directory(call: &Call<'_>) -> Result<Answer, Failure> {
    let path = path(call)?;
    let now = (unix_seconds(), unix_millis());
    let made = call
        .state
        .store
        .transaction(|db| files::make_directory(db, call.user, &path, now))?;
    match made {
        Ok(_) => Ok(Answer::Bare(json!({ "status_code": 201 }))),
        Err(Refused::Exists) => Ok(Answer::Bare(json!({
            "status_code": 405,
            "message": "Directory already exists",
        }))),
        Err(Refused::ParentMissing) => {
            let resource = format!("{}/", path.as_str().trim_start_matches('/'));
            let said = Refused::ParentMissing.to_string();
            Err(Failure::http(call, StatusCode::CONFLICT, &resource, &said))
        }
        Err(refused) => Err(refusal(call, &path, None, &refused)),
    }
}

/// A path at which nothing stands is no failure: the answer says 404.
fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let path = path(call)?;
    let removed = call
        .state
        .store
        .transaction(|db| files::remove(db, call.user, &path, unix_millis()))?;
    match removed {
        Ok(()) => Ok(Answer::Bare(json!({ "status_code": 204 }))),
        Err(Refused::NotFound(_)) => Ok(Answer::Bare(json!({ "status_code": 404 }))),
        Err(refused) => Err(refusal(call, &path, None, &refused)),
    }
}

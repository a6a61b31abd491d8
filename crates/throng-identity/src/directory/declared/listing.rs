//! Who is there, page by page: the users whose names begin in some way, and the id of one of them.
//!
//! A search may be fuzzy, may ignore upper and lower case, and may be ignored altogether: whoever asks looks at the names.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Declared;
use crate::directory::DirectoryError;
use crate::hooks::{self, Hook, Values};

/// How long a list of everybody serves to look users up, where a directory cannot be searched: a deletion of many must not fetch
/// it for each.
const FRESH: Duration = Duration::from_secs(2);

/// The request that lists users, and where in its answer they are. Its URL may have `{search}` (what names begin with, or a whole
/// name), and to be asked page by page `{page}` (from 1), `{offset}` (how many users came before, from 0) or `{start}` (that
/// and one): it is made again until a page brings nobody new.
#[derive(Debug, Clone)]
pub struct Listing {
    /// The request.
    pub request: Hook,
    /// The same for one name, where that is another request.
    pub exact: Option<Hook>,
    /// What lists everybody where the directory refuses to search.
    pub whole: Option<Hook>,
    /// What the query of all pages but the first has besides, such as `startIndex={start}`.
    pub next: Option<String>,
    /// Where the list is in the answer, as in [`SaveFrom::Path`](crate::hooks::SaveFrom::Path); `$` is the answer itself.
    pub users: String,
    /// Where a user's name is in its element; `$` is the element itself.
    pub name: String,
    /// Where a user's id is in its element, for deletions by id.
    pub id: Option<String>,
    /// Where the number of all that were found is, of all pages.
    pub total: Option<String>,
    /// Names that differ in upper and lower case only are one.
    pub caseless: bool,
    /// What is searched stands in a JSON text: `"` and `\` are escaped.
    pub quoted: bool,
}

impl Listing {
    /// Whether somebody has this name.
    pub(super) fn is_called(&self, found: &Found, name: &str) -> bool {
        match self.caseless {
            true => found.name.to_lowercase() == name.to_lowercase(),
            false => found.name == name,
        }
    }
}

/// Somebody who is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) id: Option<String>,
}

/// Everybody, as of a moment ago.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Option<(Instant, Arc<Vec<Found>>)>>);

impl Cache {
    pub(super) async fn clear(&self) {
        *self.0.lock().await = None;
    }
}

/// Those whose names may begin with `stem`, and others.
pub(super) async fn beginning_with(
    directory: &Declared,
    listing: &Listing,
    stem: &str,
) -> Result<Vec<Found>, DirectoryError> {
    if !directory.whole.load(Ordering::Relaxed) {
        match pages(directory, listing, &listing.request, stem, None).await? {
            Pages::All(found) => return Ok(found),
            Pages::NoSearch => directory.search_whole(),
        }
    }
    let everybody = everybody(directory, listing, &|_| false).await?;
    Ok((*everybody).clone())
}

/// Those who may be called so, and others.
pub(super) async fn lookup(
    directory: &Declared,
    listing: &Listing,
    name: &str,
) -> Result<Arc<Vec<Found>>, DirectoryError> {
    let hook = listing.exact.as_ref().unwrap_or(&listing.request);
    if hook.url.contains("{search}") && !directory.whole.load(Ordering::Relaxed) {
        match pages(directory, listing, hook, name, Some(name)).await? {
            Pages::All(found) => return Ok(Arc::new(found)),
            Pages::NoSearch => directory.search_whole(),
        }
    }
    let is_there = |found: &[Found]| found.iter().any(|it| listing.is_called(it, name));
    everybody(directory, listing, &is_there).await
}

/// Everybody, of a moment ago where that `serves`: somebody may have been made since, so that a miss takes a look.
async fn everybody(
    directory: &Declared,
    listing: &Listing,
    serves: &(dyn Fn(&[Found]) -> bool + Sync),
) -> Result<Arc<Vec<Found>>, DirectoryError> {
    let asked = Instant::now();
    // Held while asking, so that a crowd asks once.
    let mut cache = directory.cache.0.lock().await;
    if let Some((when, found)) = &*cache
        && (*when >= asked || (when.elapsed() < FRESH && serves(found)))
    {
        return Ok(found.clone());
    }
    // As of when it is asked for, not of when the last page has come.
    let when = Instant::now();
    let hook = listing.whole.as_ref().unwrap_or(&listing.request);
    let Pages::All(found) = pages(directory, listing, hook, "", None).await? else {
        return Err(directory.no_list(listing, "list of users"));
    };
    let found = Arc::new(found);
    *cache = Some((when, found.clone()));
    Ok(found)
}

enum Pages {
    All(Vec<Found>),
    /// The directory refuses to search, and everybody can be listed instead.
    NoSearch,
}

/// All pages, or those up to the one that has `until`.
async fn pages(
    directory: &Declared,
    listing: &Listing,
    hook: &Hook,
    search: &str,
    until: Option<&str>,
) -> Result<Pages, DirectoryError> {
    let paged = ["{page}", "{offset}", "{start}"];
    let paged = listing.next.is_some() || paged.iter().any(|word| hook.url.contains(word));
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    // What came, whoever it was: where the next page begins.
    let mut offset = 0;
    for page in 1_u64.. {
        let hook = at(listing, hook, search, page, offset);
        let (answer, all) = directory.ask(&hook, &Values::new()).await?;
        if !hook.expects(answer.status) {
            let refused = matches!(
                answer.status,
                StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED
            );
            if refused && page == 1 && !search.is_empty() && listing.whole.is_some() {
                return Ok(Pages::NoSearch);
            }
            return Err(hooks::refused(&hook, &answer, &all)?.into());
        }
        let (users, total) =
            read(listing, &answer.body).map_err(|wanted| directory.no_list(listing, &wanted))?;
        offset += users.1;
        let before = seen.len();
        for user in users.0 {
            if seen.insert(user.clone()) {
                found.push(user);
            }
        }
        let there = |name: &str| found.iter().any(|user| listing.is_called(user, name));
        if !paged
            || seen.len() == before
            || total.is_some_and(|total| offset >= total)
            || until.is_some_and(there)
        {
            break;
        }
    }
    Ok(Pages::All(found))
}

/// The request for one page.
fn at(listing: &Listing, hook: &Hook, search: &str, page: u64, offset: u64) -> Hook {
    let mut search = search.to_owned();
    if listing.quoted {
        search = search.replace('\\', r"\\").replace('"', r#"\""#);
    }
    let mut url = hook.url.clone();
    if let Some(next) = listing.next.as_ref().filter(|_| page > 1) {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.push_str(next);
    }
    let url = url
        .replace("{search}", &hooks::percent_encoded(&search))
        .replace("{page}", &page.to_string())
        .replace("{offset}", &offset.to_string())
        .replace("{start}", &(offset + 1).to_string());
    Hook {
        url,
        ..hook.clone()
    }
}

/// The users of a page with how many elements it had, and the number of all; or what it lacks.
#[expect(clippy::type_complexity, reason = "two small pairs")]
fn read(listing: &Listing, body: &[u8]) -> Result<((Vec<Found>, u64), Option<u64>), String> {
    let wanted = || format!("list at {}", listing.users);
    let json: Value = serde_json::from_slice(body).map_err(|_| wanted())?;
    let total = listing.total.as_ref();
    let total = total.and_then(|path| hooks::at(&json, path)?.as_u64());
    let users = match hooks::at(&json, &listing.users) {
        Some(Value::Array(users)) => users.as_slice(),
        // Whoever counts nobody need not list them.
        None | Some(Value::Null) if total == Some(0) => &[],
        _ => return Err(wanted()),
    };
    let text = |user: &Value, path: &str| match hooks::at(user, path)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    // Whoever has no name is none of ours.
    let named = users.iter().filter_map(|user| {
        let id = listing.id.as_ref().and_then(|path| text(user, path));
        Some(Found {
            name: text(user, &listing.name)?,
            id,
        })
    });
    Ok(((named.collect(), users.len() as u64), total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(users: &str, name: &str, id: Option<&str>) -> Listing {
        Listing {
            request: Hook::new(
                "list",
                http::Method::GET,
                "http://h/u?q={search}&o={offset}&s={start}&p={page}".to_owned(),
            ),
            exact: None,
            whole: None,
            next: Some("from={start}".to_owned()),
            users: users.to_owned(),
            name: name.to_owned(),
            id: id.map(str::to_owned),
            total: Some("$.total".to_owned()),
            caseless: false,
            quoted: true,
        }
    }

    fn found(name: &str, id: Option<&str>) -> Found {
        Found {
            name: name.to_owned(),
            id: id.map(str::to_owned),
        }
    }

    #[test]
    fn users_are_found_where_the_paths_say() {
        let of = |listing: &Listing, body: &str| read(listing, body.as_bytes());
        let plain = listing("$", "$", None);
        let both = vec![found("a", None), found("b", None)];
        assert_eq!(of(&plain, r#"["a", "b"]"#), Ok(((both, 2), None)));
        let nested = listing("$.data.items", "$.user.name", Some("$.id"));
        let body =
            r#"{"data": {"items": [{"id": 7, "user": {"name": "a"}}, {"id": 8}]}, "total": 9}"#;
        let seven = vec![found("a", Some("7"))];
        assert_eq!(of(&nested, body), Ok(((seven, 2), Some(9))));
        assert_eq!(
            of(&nested, r#"{"total": 0}"#),
            Ok(((Vec::new(), 0), Some(0)))
        );
        for lacking in [
            r#"{"total": 1}"#,
            r#"{"data": {"items": "none"}}"#,
            "<html>",
        ] {
            let wanted = Err("list at $.data.items".to_owned());
            assert_eq!(of(&nested, lacking), wanted, "{lacking}");
        }
    }

    #[test]
    fn what_is_searched_is_escaped_where_it_goes() {
        let listing = listing("$", "$", None);
        let url = at(&listing, &listing.request, r#"a" b\{x}"#, 3, 20).url;
        assert_eq!(
            url,
            "http://h/u?q=a%5C%22%20b%5C%5C%7Bx%7D&o=20&s=21&p=3&from=21"
        );
        let first = at(&listing, &listing.request, "a", 1, 0).url;
        assert_eq!(first, "http://h/u?q=a&o=0&s=1&p=1");
    }
}

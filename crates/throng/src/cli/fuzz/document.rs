//! The OpenAPI document that a scenario or a flag names.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{Request, header};
use throng_client::{Client, content};
use throng_fuzz::{Accounts, Document};
use throng_workflow::Scenario;
use url::Url;

/// Time allowed for fetching it.
const LIMIT: Duration = Duration::from_secs(30);

/// A document, and where it was found.
pub(crate) struct Found {
    pub(crate) document: Arc<Document>,
    /// The URL or the file.
    pub(crate) source: String,
}

/// Reads the document that `given` (a flag) or the scenario names: a URL, a path of the target, or a file; one of the
/// scenario's is relative to the directory of its file. A document that isn't given to nobody is asked for as the first user.
///
/// # Errors
/// If none is named, or it can't be read, or it's no OpenAPI 3 document.
pub(crate) async fn load(
    given: Option<&str>,
    scenario: &Scenario,
    scenario_file: &str,
    users: &dyn Accounts,
) -> anyhow::Result<Found> {
    let of_file = scenario.target.openapi.as_ref();
    let place = match (given, of_file) {
        (Some(given), _) => given.to_owned(),
        (None, Some(of_file)) => of_file.value.clone(),
        (None, None) => bail!(
            "{scenario_file}: no OpenAPI document is named: say where it is with --openapi URL|FILE, or `openapi` in `target`"
        ),
    };
    let target = Url::parse(&scenario.target.url)?;
    let place = match (given, Path::new(scenario_file).parent()) {
        // A path of the target, or a file beside the scenario's.
        (None, Some(directory)) if !is_url(&place) && !place.starts_with('/') => {
            directory.join(&place).display().to_string()
        }
        _ => place,
    };
    read_document(&place, &target, &prefix(scenario), users).await
}

fn is_url(place: &str) -> bool {
    place.starts_with("http://") || place.starts_with("https://")
}

/// Reads a document from a URL, a file, or a path of the target that starts with `/` (where there is no such file). `prefix`
/// is what stands before all paths and is not to be in the operations' names.
///
/// # Errors
/// If it can't be read, or it's no OpenAPI 3 document.
pub(crate) async fn read_document(
    place: &str,
    target: &Url,
    prefix: &str,
    users: &dyn Accounts,
) -> anyhow::Result<Found> {
    let of_target = place.starts_with('/') && !Path::new(place).exists();
    let (source, bytes) = if is_url(place) || of_target {
        let url = target
            .join(place)
            .with_context(|| format!("the OpenAPI document's address `{place}`"))?;
        let bytes = fetch(&url, target, users)
            .await
            .with_context(|| format!("fetching the OpenAPI document from {url}"))?;
        (url.to_string(), bytes)
    } else {
        let bytes = std::fs::read(place)
            .with_context(|| format!("reading the OpenAPI document {place}"))?;
        (place.to_owned(), bytes.into())
    };
    let document = Document::load(&bytes, prefix).with_context(|| source.clone())?;
    Ok(Found {
        document: Arc::new(document),
        source,
    })
}

/// What the scenario puts before all its paths: the path of the target's URL, and the prefix.
fn prefix(scenario: &Scenario) -> String {
    let base = scenario.target.base();
    match Url::parse(&base) {
        Ok(url) => url.path().trim_end_matches('/').to_owned(),
        Err(_) => String::new(),
    }
}

async fn fetch(url: &Url, target: &Url, users: &dyn Accounts) -> anyhow::Result<Bytes> {
    let nobody = users.nobody();
    let answer = get(&nobody, url, None).await?;
    // A token of the target's goes nowhere else.
    let refused = matches!(answer.status.as_u16(), 401 | 403) && !users.is_empty();
    let answer = if refused && url.origin() == target.origin() {
        let account = users.account(0);
        get(&account.client, url, account.authorization.as_ref()).await?
    } else {
        answer
    };
    if !answer.status.is_success() {
        bail!("the answer is {}", answer.status);
    }
    let limit = nobody.connector().options().max_body;
    Ok(content::decode(&answer.headers, &answer.body, limit)?)
}

async fn get(
    client: &Client,
    url: &Url,
    authorization: Option<&http::HeaderValue>,
) -> anyhow::Result<throng_client::Exchange> {
    let mut request = Request::get(url.as_str())
        .header(
            header::ACCEPT,
            "application/json, application/yaml;q=0.9, */*;q=0.5",
        )
        .body(Bytes::new())?;
    if let Some(authorization) = authorization {
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, authorization.clone());
    }
    Ok(client.send(request, LIMIT).await?)
}

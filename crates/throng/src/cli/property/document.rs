//! The target's OpenAPI document, where a property needs it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use throng_fuzz::Document;
use throng_fuzz::property::needs_document;
use throng_workflow::program::Properties;
use url::Url;

use crate::cli::run::prepare::Prepared;
use crate::cli::run::setup::Made;

/// How long the target may take to send it.
const LIMIT: Duration = Duration::from_secs(30);

/// Reads the document that `target.openapi` names; none where no property needs one, or the file names none.
pub(super) async fn document(
    prepared: &Prepared<'_>,
    made: &Made,
    properties: &Properties,
    chosen: &[usize],
) -> anyhow::Result<Option<Document>> {
    let given = chosen
        .iter()
        .flat_map(|index| &properties.all[*index].given);
    let needed = given.into_iter().any(|(_, _, given)| needs_document(given));
    let target = &prepared.file.scenario.target;
    let (true, Some(place)) = (needed, &target.openapi) else {
        return Ok(None);
    };
    let place = place.value.as_str();
    let bytes = if place.starts_with('/') {
        fetch(made, Url::parse(&target.url)?.join(place)?).await?
    } else if place.contains("://") {
        fetch(made, Url::parse(place)?).await?
    } else {
        let beside = Path::new(&prepared.file.origin)
            .parent()
            .unwrap_or(Path::new(""));
        let path = beside.join(place);
        Bytes::from(std::fs::read(&path).with_context(|| path.display().to_string())?)
    };
    let prefix = target
        .prefix
        .as_ref()
        .map_or("", |prefix| prefix.value.as_str());
    let document =
        Document::load(&bytes, prefix).with_context(|| format!("the OpenAPI document {place}"))?;
    Ok(Some(document))
}

async fn fetch(made: &Made, url: Url) -> anyhow::Result<Bytes> {
    let request = http::Request::get(url.as_str()).body(Bytes::new())?;
    let answer = made
        .client
        .send(request, LIMIT)
        .await
        .with_context(|| format!("fetching the OpenAPI document {url}"))?;
    if !answer.status.is_success() {
        bail!(
            "the OpenAPI document {url}: HTTP {}",
            answer.status.as_u16()
        );
    }
    Ok(answer.body)
}

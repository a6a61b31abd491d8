//! What a page of a login wants: read from its markup, without running its scripts and without any request.
//!
//! Pages we know by name (Nextcloud's, which scripts render) are recognised by a few markers in the raw text, which costs
//! microseconds even on half a megabyte; only other pages are parsed as HTML, for ordinary forms.

pub(crate) mod document;
pub(crate) mod form;
pub(crate) mod markers;
pub(crate) mod nextcloud;
mod purpose;
pub(crate) mod registration;
pub(crate) mod trouble;

pub(crate) use document::Document;
pub(crate) use form::{Form, FormMethod};

use url::Url;

/// What to do with a page.
#[derive(Debug)]
pub(crate) enum Page {
    /// Nextcloud's script-rendered login page.
    NextcloudLogin(nextcloud::LoginPage),
    /// Nextcloud's page whose script goes back to the authorization endpoint.
    NextcloudRedirect(nextcloud::RedirectPage),
    /// Nextcloud's script-rendered consent page.
    NextcloudConsent(nextcloud::ConsentPage),
    /// A form with a password field, perhaps with a user field too.
    Login(Document, form::Login),
    /// A form that asks for the user name only (the first of two pages).
    Identifier(Document, form::Login),
    /// A form that only needs a button pressed: the consent.
    Consent(form::Consent),
    /// A form that the page's script submits by itself (`response_mode=form_post`, SAML bindings).
    AutoSubmit(Form),
    /// `<meta http-equiv="refresh">`.
    Refresh(Url),
    /// Nothing that a plain client can act on.
    Unknown(Document),
}

/// Reads a page found at `url`.
pub(crate) fn read(url: &Url, html: &str) -> Page {
    if let Some(page) = nextcloud::LoginPage::find(html) {
        return Page::NextcloudLogin(page);
    }
    if let Some(page) = nextcloud::RedirectPage::find(html) {
        return Page::NextcloudRedirect(page);
    }
    if let Some(page) = nextcloud::ConsentPage::find(html) {
        return Page::NextcloudConsent(page);
    }
    let document = Document::parse(url, html);
    if let Some(login) = form::find_login(&document.forms, &[]) {
        return Page::Login(document, login);
    }
    if let Some(login) = form::find_identifier(&document.forms) {
        return Page::Identifier(document, login);
    }
    if let Some(consent) = form::find_consent(&document.forms) {
        return Page::Consent(consent);
    }
    // After the consent: pages of choices have scripts too, and a choice is not to be skipped.
    if let Some(form) = document
        .forms
        .iter()
        .find(|form| document.submits_itself && form.only_hidden())
    {
        return Page::AutoSubmit(form.clone());
    }
    match document.refresh.clone() {
        Some(target) => Page::Refresh(target),
        None => Page::Unknown(document),
    }
}

#[cfg(test)]
mod tests;

//! One parsed HTML page: its forms, its refresh, and what it says to a person.

use scraper::{ElementRef, Html, Node};
use url::Url;

use super::form::{Field, FieldKind, Form, FormMethod};
use super::trouble;

/// A page's title, messages and forms. Holds no tree: cheap to keep beside an error.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// `<title>`, on one line.
    pub title: String,
    /// Texts of elements that are marked as errors or alerts.
    pub errors: Vec<String>,
    /// The start of the visible text.
    pub text: String,
    /// Forms in document order, hidden ones included and marked.
    pub forms: Vec<Form>,
    /// Target of a `<meta http-equiv="refresh">` with a URL.
    pub refresh: Option<Url>,
    /// A script on the page calls `submit()`.
    pub submits_itself: bool,
    /// The page has scripts and no ordinary form that is shown.
    pub needs_script: bool,
    /// The page asks its visitor to prove that he is a person, by this.
    pub captcha: Option<&'static str>,
}

/// How much visible text is kept, in bytes; the excerpt in an error is shorter still.
const TEXT_KEPT: usize = 600;

impl Document {
    /// Parses the page at `url`. Never fails: broken markup is read as a browser would.
    pub(crate) fn parse(url: &Url, html: &str) -> Self {
        let tree = Html::parse_document(html);
        let mut document = Self::default();
        let mut scripts = 0;
        let mut base = url.clone();
        let mut base_seen = false;
        let mut refresh = None;
        let mut outside: Vec<(String, Field)> = Vec::new();
        let mut ids: Vec<String> = Vec::new();
        for element in tree.root_element().descendent_elements() {
            match element.value().name() {
                "title" if document.title.is_empty() => document.title = one_line(element.text()),
                "base" if !base_seen => {
                    if let Some(href) = element.attr("href").and_then(|href| url.join(href).ok()) {
                        base = href;
                        base_seen = true;
                    }
                }
                "meta"
                    if element
                        .attr("http-equiv")
                        .is_some_and(|v| v.eq_ignore_ascii_case("refresh")) =>
                {
                    refresh = refresh.or(element.attr("content").and_then(refresh_target));
                }
                "script" => {
                    scripts += 1;
                    document.submits_itself |= element.text().any(|text| text.contains("submit()"));
                }
                "body" => {
                    document.submits_itself |= element
                        .attr("onload")
                        .is_some_and(|js| js.contains("submit()"))
                }
                "form" => {
                    ids.push(element.attr("id").unwrap_or_default().to_owned());
                    document.forms.push(read_form(element));
                }
                "input" | "button" | "select" | "textarea" => {
                    // `form="id"` ties a control to a form elsewhere on the page.
                    if let (Some(owner), Some(field)) = (element.attr("form"), Field::read(element))
                    {
                        outside.push((owner.to_owned(), field));
                    }
                }
                _ => {}
            }
            if document.captcha.is_none() && !hidden_somewhere(element) {
                document.captcha = captcha(element);
            }
            if marks_error(element) && !hidden_somewhere(element) {
                let text = visible_text(element, 200);
                if !text.is_empty() && !document.errors.contains(&text) && document.errors.len() < 5
                {
                    document.errors.push(text);
                }
            }
        }
        for (owner, field) in outside {
            if let Some(at) = ids.iter().position(|id| *id == owner) {
                document.forms[at].fields.push(field);
            }
        }
        for form in &mut document.forms {
            form.resolve(url, &base);
        }
        document.refresh = refresh.and_then(|target| base.join(&target).ok());
        document.text = visible_text(tree.root_element(), TEXT_KEPT);
        document.needs_script = scripts > 0
            && document
                .forms
                .iter()
                .all(|form| form.hidden || form.scripted);
        document
    }
    /// What the page says to a person: its title and its errors, or else the start of its text. Not cleaned of secrets.
    pub(crate) fn says(&self) -> String {
        let body = if self.errors.is_empty() {
            self.text.clone()
        } else {
            self.errors.join("; ")
        };
        match (self.title.is_empty(), body.is_empty()) {
            (true, _) => body,
            (false, true) => self.title.clone(),
            (false, false) => format!("{}: {body}", self.title),
        }
    }
}

/// The captcha that an element is, or is the place for.
fn captcha(element: ElementRef<'_>) -> Option<&'static str> {
    let value = element.value();
    let attribute = |name: &str| value.attr(name).unwrap_or_default();
    match value.name() {
        "iframe" => trouble::captcha_of_address(attribute("src")),
        "img" | "input" if attribute("type") != "hidden" => {
            let names = ["name", "id", "alt", "src", "class"];
            let named = names
                .iter()
                .any(|name| trouble::is_captcha_name(attribute(name)));
            named.then_some("a captcha")
        }
        "div" | "span" if attribute("data-size") != "invisible" => {
            value.classes().find_map(trouble::captcha_of_class)
        }
        _ => None,
    }
}

fn read_form(element: ElementRef<'_>) -> Form {
    let fields = element
        .descendent_elements()
        .filter(|field| {
            matches!(
                field.value().name(),
                "input" | "button" | "select" | "textarea"
            )
        })
        .filter(|field| field.attr("form").is_none())
        .filter_map(Field::read)
        .collect();
    Form {
        action: element
            .attr("action")
            .map(|action| action.trim().to_owned())
            .unwrap_or_default(),
        target: None,
        method: FormMethod::parse(element.attr("method").unwrap_or_default()),
        multipart: element
            .attr("enctype")
            .is_some_and(|e| e.eq_ignore_ascii_case("multipart/form-data")),
        hidden: hidden_somewhere(element),
        scripted: false,
        fields,
    }
}

impl Field {
    /// Reads a control; nothing for one that is never sent (disabled, a plain button, a reset).
    fn read(element: ElementRef<'_>) -> Option<Self> {
        if element.attr("disabled").is_some() {
            return None;
        }
        let attr = |name: &str| element.attr(name).unwrap_or_default().to_owned();
        let kind_text = attr("type").to_ascii_lowercase();
        let mut value = attr("value");
        let mut label = value.clone();
        let kind = match (element.value().name(), &*kind_text) {
            ("button", "button" | "reset") | ("input", "button" | "reset" | "file") => return None,
            ("button", _) => {
                label = one_line(element.text());
                FieldKind::Submit
            }
            ("input", "submit" | "image") => FieldKind::Submit,
            ("input", "hidden") => FieldKind::Hidden,
            ("input", "password") => FieldKind::Password,
            ("input", "checkbox" | "radio") => {
                if element.attr("value").is_none() {
                    value = "on".to_owned();
                }
                let on = element.attr("checked").is_some();
                if kind_text == "radio" {
                    FieldKind::Radio { on }
                } else {
                    FieldKind::Checkbox { on }
                }
            }
            ("select", _) => {
                value = selected(element)?;
                FieldKind::Select
            }
            ("textarea", _) => {
                value = element.text().collect();
                FieldKind::Text
            }
            // Unknown types are text fields (HTML standard, 4.10.5).
            _ => FieldKind::Text,
        };
        Some(Self {
            name: attr("name"),
            id: attr("id"),
            value,
            kind,
            label,
            input_type: kind_text,
            autocomplete: attr("autocomplete").to_ascii_lowercase(),
            required: element.attr("required").is_some(),
            form_action: element.attr("formaction").map(str::to_owned),
            form_method: element.attr("formmethod").map(FormMethod::parse),
        })
    }
}

/// The chosen option's value: the selected one, else the first.
fn selected(select: ElementRef<'_>) -> Option<String> {
    let options = || {
        select
            .descendent_elements()
            .filter(|e| e.value().name() == "option")
    };
    let option = options()
        .find(|o| o.attr("selected").is_some())
        .or_else(|| options().next())?;
    Some(
        option
            .attr("value")
            .map_or_else(|| one_line(option.text()), str::to_owned),
    )
}

/// `5; url=/next` -> `/next`. A refresh without URL only reloads, which leads nowhere; and one after a long time is for whoever has
/// stayed on the page for so long, and may well log him out.
fn refresh_target(content: &str) -> Option<String> {
    const LONGEST: f64 = 10.0;
    let (seconds, rest) = content.split_once([';', ','])?;
    if seconds
        .trim()
        .parse()
        .is_ok_and(|seconds: f64| seconds > LONGEST)
    {
        return None;
    }
    let rest = rest.trim_start();
    let url = match rest.get(..3) {
        Some(head) if head.eq_ignore_ascii_case("url") => {
            rest[3..].trim_start().strip_prefix('=')?.trim()
        }
        _ => rest,
    };
    let url = url.trim_matches(['"', '\'']).trim();
    (!url.is_empty()).then(|| url.to_owned())
}

/// Hidden by attribute, inline style or the customary class names, itself or through what is around it.
fn hidden_somewhere(element: ElementRef<'_>) -> bool {
    let hides = |element: ElementRef<'_>| {
        let value = element.value();
        value.attr("hidden").is_some()
            || value
                .classes()
                .any(|class| matches!(class, "hidden" | "d-none" | "hide"))
            || value.attr("style").is_some_and(|style| {
                let style: String = style.chars().filter(|c| !c.is_whitespace()).collect();
                style.contains("display:none") || style.contains("visibility:hidden")
            })
            || matches!(value.name(), "template" | "noscript")
    };
    hides(element) || element.ancestors().filter_map(ElementRef::wrap).any(hides)
}

fn marks_error(element: ElementRef<'_>) -> bool {
    let value = element.value();
    if matches!(
        value.name(),
        "html" | "body" | "form" | "input" | "script" | "style" | "link"
    ) {
        return false;
    }
    value.attr("role") == Some("alert")
        || value.id().is_some_and(says_error)
        || value.classes().any(says_error)
}

fn says_error(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["error", "alert", "danger", "invalid", "warning", "negative"]
        .iter()
        .any(|word| name.contains(word))
}

/// The text that a person sees, on one line, about `limit` bytes of it.
fn visible_text(element: ElementRef<'_>, limit: usize) -> String {
    let mut out = String::new();
    collect_text(element, limit, 0, &mut out);
    out
}

/// Deeper than this, markup is an attack or a mistake; html5ever itself puts no limit.
const DEPTH: usize = 256;

fn collect_text(element: ElementRef<'_>, limit: usize, depth: usize, out: &mut String) {
    if depth > DEPTH
        || matches!(
            element.value().name(),
            "head" | "script" | "style" | "noscript" | "template"
        )
    {
        return;
    }
    if element.value().attr("hidden").is_some() {
        return;
    }
    for child in element.children() {
        if out.len() >= limit {
            return;
        }
        match child.value() {
            Node::Text(text) => {
                for word in text.split_whitespace() {
                    if !out.is_empty() {
                        out.push(' ');
                    }
                    out.push_str(word);
                }
            }
            Node::Element(_) => {
                if let Some(child) = ElementRef::wrap(child) {
                    collect_text(child, limit, depth + 1, out);
                }
            }
            _ => {}
        }
    }
}

fn one_line<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let text: String = texts.collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

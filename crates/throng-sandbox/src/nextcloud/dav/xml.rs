//! The little XML that WebDAV needs: which properties a PROPFIND asks for, and the multi-status answer.
//!
//! It reads names and namespaces and nothing else; it does not validate and knows no entities, which no property name has.

use std::borrow::Cow;
use std::fmt::Write as _;

/// XML namespaces that properties live in.
pub(crate) mod namespace {
    pub(crate) const DAV: &str = "DAV:";
    pub(crate) const SABRE: &str = "http://sabredav.org/ns";
    pub(crate) const OWNCLOUD: &str = "http://owncloud.org/ns";
    pub(crate) const NEXTCLOUD: &str = "http://nextcloud.org/ns";
    pub(crate) const CALDAV: &str = "urn:ietf:params:xml:ns:caldav";
    pub(crate) const CALENDAR_SERVER: &str = "http://calendarserver.org/ns/";
    pub(crate) const APPLE: &str = "http://apple.com/ns/ical/";
}

/// The prefixes that a multi-status document declares at its root.
const PREFIXES: [(&str, &str); 7] = [
    ("d", namespace::DAV),
    ("s", namespace::SABRE),
    ("oc", namespace::OWNCLOUD),
    ("nc", namespace::NEXTCLOUD),
    ("cal", namespace::CALDAV),
    ("cs", namespace::CALENDAR_SERVER),
    ("x1", namespace::APPLE),
];

/// A property: its namespace and its local name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) namespace: Cow<'static, str>,
    pub(crate) name: Cow<'static, str>,
}

impl Property {
    pub(crate) const fn new(namespace: &'static str, name: &'static str) -> Self {
        Self {
            namespace: Cow::Borrowed(namespace),
            name: Cow::Borrowed(name),
        }
    }
}

/// What a PROPFIND body asks for (RFC 4918, section 9.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Requested {
    /// No body, `allprop` or `propname`: the properties that live on every resource.
    Usual,
    /// These.
    Named(Vec<Property>),
}

/// The request's body is no XML document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadXml(&'static str);

/// Reads the body of a PROPFIND.
pub(crate) fn requested(body: &str) -> Result<Requested, BadXml> {
    if body.trim().is_empty() {
        return Ok(Requested::Usual);
    }
    let mut wanted = Vec::new();
    let mut inside_prop = None;
    // What is open: the element, and the namespace declarations that it makes.
    let mut open: Vec<Vec<(String, String)>> = Vec::new();
    let mut rest = body;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = after(comment, "-->")?;
            continue;
        }
        if rest.starts_with('?') || rest.starts_with('!') {
            rest = after(rest, ">")?;
            continue;
        }
        let end = rest.find('>').ok_or(BadXml("a tag is not closed"))?;
        let (tag, tail) = (&rest[..end], &rest[end + 1..]);
        rest = tail;
        if tag.starts_with('/') {
            if open.pop().is_none() {
                return Err(BadXml("an element is closed that was not open"));
            }
            if inside_prop == Some(open.len()) {
                inside_prop = None;
            }
            continue;
        }
        let (tag, empty) = tag
            .strip_suffix('/')
            .map_or((tag, false), |tag| (tag, true));
        let (name, declared) = element(tag);
        open.push(declared);
        let property = resolve(name, &open);
        let depth = open.len() - 1;
        match inside_prop {
            Some(prop) if depth == prop + 1 => wanted.push(property),
            None if property == Property::new(namespace::DAV, "prop") && !empty => {
                inside_prop = Some(depth);
            }
            _ => {}
        }
        if empty {
            open.pop();
        }
    }
    if !open.is_empty() {
        return Err(BadXml("the document ends inside an element"));
    }
    Ok(if wanted.is_empty() {
        Requested::Usual
    } else {
        Requested::Named(wanted)
    })
}

fn after<'a>(text: &'a str, what: &str) -> Result<&'a str, BadXml> {
    text.find(what)
        .map(|at| &text[at + what.len()..])
        .ok_or(BadXml("a comment or declaration is not closed"))
}

/// The qualified name of a start tag, and the namespaces it declares by prefix (`""`: the default one).
fn element(tag: &str) -> (&str, Vec<(String, String)>) {
    let tag = tag.trim();
    let end = tag.find(char::is_whitespace).unwrap_or(tag.len());
    let mut declared = Vec::new();
    let mut rest = &tag[end..];
    while let Some(equals) = rest.find('=') {
        let name = rest[..equals].trim();
        let value = rest[equals + 1..].trim_start();
        let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            break;
        };
        let Some(length) = value[1..].find(quote) else {
            break;
        };
        if let Some(prefix) = name.strip_prefix("xmlns") {
            declared.push((
                prefix.trim_start_matches(':').to_owned(),
                value[1..=length].to_owned(),
            ));
        }
        rest = &value[length + 2..];
    }
    (&tag[..end], declared)
}

fn resolve(name: &str, open: &[Vec<(String, String)>]) -> Property {
    let (prefix, local) = name.split_once(':').unwrap_or(("", name));
    let namespace = open
        .iter()
        .rev()
        .flatten()
        .find(|(declared, _)| declared == prefix)
        .map_or("", |(_, namespace)| namespace);
    Property {
        namespace: namespace.to_owned().into(),
        name: local.to_owned().into(),
    }
}

/// Text made safe for element content and attribute values.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '>', '&', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#039;"),
            other => escaped.push(other),
        }
    }
    Cow::Owned(escaped)
}

/// A path made safe for an `href`: everything but unreserved characters and `/` is percent-encoded.
pub(crate) fn encode_path(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/@()!*,'$+:;=".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// A 207 answer in the making.
pub(crate) struct Multistatus {
    document: String,
}

impl Multistatus {
    pub(crate) fn new() -> Self {
        let mut document = String::from("<?xml version=\"1.0\"?>\n<d:multistatus");
        for (prefix, namespace) in PREFIXES {
            let _ = write!(document, " xmlns:{prefix}=\"{namespace}\"");
        }
        document.push('>');
        Self { document }
    }

    /// Adds a resource. `value` gives a property's inner XML, or nothing if the resource does not have it; `usual` are the
    /// properties of a request that names none.
    pub(crate) fn response(
        &mut self,
        href: &str,
        requested: &Requested,
        usual: &[Property],
        value: impl Fn(&Property) -> Option<String>,
    ) {
        let (mut found, mut missing) = (String::new(), String::new());
        let (wanted, named) = match requested {
            Requested::Usual => (usual, false),
            Requested::Named(wanted) => (wanted.as_slice(), true),
        };
        for property in wanted {
            match value(property) {
                Some(inner) => push_element(&mut found, property, &inner),
                None if named => push_element(&mut missing, property, ""),
                None => {}
            }
        }
        let _ = write!(
            self.document,
            "<d:response><d:href>{}</d:href>",
            escape(&encode_path(href))
        );
        // An answer without any propstat is not allowed: an empty one that was found stands in for it.
        if !found.is_empty() || missing.is_empty() {
            push_propstat(&mut self.document, &found, "HTTP/1.1 200 OK");
        }
        if !missing.is_empty() {
            push_propstat(&mut self.document, &missing, "HTTP/1.1 404 Not Found");
        }
        self.document.push_str("</d:response>");
    }

    pub(crate) fn finish(mut self) -> String {
        self.document.push_str("</d:multistatus>");
        self.document
    }
}

fn push_propstat(document: &mut String, properties: &str, status: &str) {
    let _ = write!(
        document,
        "<d:propstat><d:prop>{properties}</d:prop><d:status>{status}</d:status></d:propstat>"
    );
}

fn push_element(document: &mut String, property: &Property, inner: &str) {
    let name = escape(&property.name);
    let known = PREFIXES
        .iter()
        .find(|(_, namespace)| *namespace == property.namespace);
    let (open, close) = match known {
        Some((prefix, _)) => (format!("{prefix}:{name}"), format!("{prefix}:{name}")),
        None => (
            format!("x2:{name} xmlns:x2=\"{}\"", escape(&property.namespace)),
            format!("x2:{name}"),
        ),
    };
    let _ = if inner.is_empty() {
        write!(document, "<{open}/>")
    } else {
        write!(document, "<{open}>{inner}</{close}>")
    };
}

/// The body of a refusal, as Sabre/DAV writes it. `exception` is the class behind `Sabre\DAV\Exception\`.
pub(crate) fn error_document(exception: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<d:error xmlns:d=\"DAV:\" xmlns:s=\"http://sabredav.org/ns\">\n  \
         <s:exception>Sabre\\DAV\\Exception\\{exception}</s:exception>\n  <s:message>{}</s:message>\n</d:error>\n",
        escape(message)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[(&'static str, &'static str)]) -> Requested {
        Requested::Named(
            names
                .iter()
                .map(|(namespace, name)| Property::new(namespace, name))
                .collect(),
        )
    }

    #[test]
    fn property_names_are_read_with_their_namespaces() {
        let cases = [
            ("", Requested::Usual),
            (
                "<d:propfind xmlns:d=\"DAV:\"><d:allprop/></d:propfind>",
                Requested::Usual,
            ),
            (
                "<?xml version=\"1.0\"?>\n<!-- x --><d:propfind xmlns:d=\"DAV:\" xmlns:oc='http://owncloud.org/ns'>\n\
                 <d:prop><d:getetag/><oc:fileid></oc:fileid></d:prop></d:propfind>",
                named(&[(namespace::DAV, "getetag"), (namespace::OWNCLOUD, "fileid")]),
            ),
            (
                "<propfind xmlns=\"DAV:\"><prop><current-user-principal/><C:calendar-home-set \
                 xmlns:C=\"urn:ietf:params:xml:ns:caldav\"/></prop></propfind>",
                named(&[
                    (namespace::DAV, "current-user-principal"),
                    (namespace::CALDAV, "calendar-home-set"),
                ]),
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(requested(body).unwrap(), expected, "{body}");
        }
        for body in ["<d:propfind", "<a><b></a>", "</a>", "<!-- x"] {
            assert!(requested(body).is_err(), "{body}");
        }
    }

    #[test]
    fn found_and_missing_properties_have_their_own_propstat() {
        let mut answer = Multistatus::new();
        let wanted = named(&[
            (namespace::DAV, "displayname"),
            (namespace::APPLE, "calendar-color"),
            ("urn:x", "odd"),
        ]);
        answer.response("/a b/ü", &wanted, &[], |property| {
            (property.name == "displayname").then(|| escape("a & b").into_owned())
        });
        let document = answer.finish();
        assert!(
            document.contains("<d:href>/a%20b/%C3%BC</d:href>"),
            "{document}"
        );
        assert!(document.contains(
            "<d:propstat><d:prop><d:displayname>a &amp; b</d:displayname></d:prop><d:status>HTTP/1.1 200 OK</d:status>"
        ));
        assert!(document.contains(
            "<d:prop><x1:calendar-color/><x2:odd xmlns:x2=\"urn:x\"/></d:prop><d:status>HTTP/1.1 404 Not Found"
        ));
    }
}

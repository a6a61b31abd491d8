//! Words of bash, and the functions that scripts share: for whoever wants to see a finding with his own eyes.
//!
//! What a script does is its maker's; this only knows how bash and curl must be told. A script has a directory of its own in
//! `$dir`, with a cookie jar `NAME.jar` for each session and the answer `answerN` of each request.

use std::fmt::Write as _;

/// A single argument may not be longer than this on Linux (128 KiB); what is goes through a pipe.
const LONGEST_ARGUMENT: usize = 60_000;
/// A run of one character that is longer than this is written as a loop.
const LONGEST_RUN: usize = 100;

/// A part of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// What stands there.
    Text(String),
    /// What bash puts there, such as `${unique}` or `$(value 0 id)`.
    Expansion(String),
}

impl Piece {
    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Something of bash.
    pub fn expansion(expansion: impl Into<String>) -> Self {
        Self::Expansion(expansion.into())
    }
}

/// By what a script is run.
pub const FIRST_LINE: &str = "#!/usr/bin/env bash\n";

/// The line that says where the target is: at this origin, unless `$THRONG_URL` names another.
pub fn target(origin: &str) -> String {
    format!("set -u; URL=${{THRONG_URL:-{origin}}}\n")
}

/// The line that makes `$dir`, and removes it at the end.
pub const DIRECTORY: &str = "dir=$(mktemp -d); trap 'rm -rf \"$dir\"' EXIT\n";

/// The line that sets `$unique`.
pub const UNIQUE: &str = "unique=u$(date +%s | tail -c 7)$(printf '%04d' $((RANDOM % 10000)))\n";

/// curl, which takes any certificate and sends a path as it is.
pub const CURL: &str = "curl -sk --path-as-is --globoff";

/// The option of curl that says the method.
pub fn method(method: &str) -> String {
    match method {
        "HEAD" => "-I".to_owned(),
        method => format!("-X {}", word(method)),
    }
}

/// The function `send N ARGUMENTS...`: curl with these arguments, the answer into `$dir/answerN`, its status printed (`000` where
/// there was none). An answer may take `seconds`.
pub fn send(seconds: u64) -> String {
    format!(
        "send() {{ {CURL} --max-time {seconds} -w '%{{http_code}}\\n' -o \"$dir/answer$1\" \"${{@:2}}\"; }}\n"
    )
}

/// The function `token SESSION`: the token against forgery, as the session has it in this cookie.
pub fn token(cookie: &str) -> String {
    format!("token() {{ cookie \"$1\" {}; }}\n{COOKIE}", quoted(cookie))
}

/// The function `cookie SESSION NAME`: the value of a cookie.
pub const COOKIE: &str = "cookie() { awk -F'\\t' -v name=\"$2\" '$6 == name { value = $7 } END { print value }' \"$dir/$1.jar\"; }\n";

/// The function `value N NAME`: the text or number that the first member of that name in an answer has.
pub const VALUE: &str = "value() { grep -oE \"\\\"$2\\\" *: *(\\\"[^\\\"]*\\\"|-?[0-9.]+)\" \"$dir/answer$1\" | head -n 1 | sed -E 's/^\"[^\"]*\" *: *\"?//; s/\"$//'; }\n";

/// What a session goes by besides its cookies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its jar is `$dir/NAME.jar`.
    pub name: String,
    /// Whether it goes by a token, which is in the variable `NAME_authorization`.
    pub token: bool,
}

/// The lines that open a session of the user with this number (from 1), by the script of
/// [`crate::Accounts::login_script`]. Without one, the person who runs it logs in by himself, and names the jar.
///
/// What the script puts into the variables `authorization` and `saved_...` is this session's in `NAME_authorization` and
/// `NAME_saved_...`.
pub fn log_in(out: &mut String, name: &str, number: usize, script: Option<&str>) -> Session {
    let _ = writeln!(out, "jar=$dir/{name}.jar; : > \"$jar\"");
    let mut session = Session {
        name: name.to_owned(),
        token: false,
    };
    let Some(script) = script else {
        let _ = writeln!(
            out,
            "cp \"${{THRONG_JAR_{number}:?log user {number} in with curl -c JAR, and name the jar here}}\" \"$jar\""
        );
        return session;
    };
    out.extend(script.trim_end().lines().flat_map(|line| [line, "\n"]));
    for line in script.lines() {
        let set = line.split_once('=').map_or("", |(variable, _)| variable);
        if set == "authorization" || is_saved(set) {
            session.token |= set == "authorization";
            let _ = writeln!(out, "{name}_{set}=${set}");
        }
    }
    session
}

/// The line that ends a script whose user has not set the password, where one of its logins needs it.
pub fn password<'a>(logins: impl IntoIterator<Item = &'a str>) -> &'static str {
    // `THRONG_PASSWORD_2` is the second user's alone; a login script asks for it itself.
    let common = |login: &str| {
        let mut after = login.split("THRONG_PASSWORD").skip(1);
        after.any(|rest| !rest.starts_with('_'))
    };
    match logins.into_iter().any(common) {
        true => ": \"${THRONG_PASSWORD:?the password of the users}\"\n",
        false => "",
    }
}

fn is_saved(variable: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    variable.starts_with("saved_") && variable.chars().all(plain)
}

/// The variable that the value of a header is taken from, which a script must not hold.
pub fn variable(header: &str) -> String {
    let header = header.to_ascii_uppercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("THRONG_{}", header.chars().map(plain).collect::<String>())
}

/// A line that ends a script whose user has not set such a variable.
pub fn wanted(header: &str) -> String {
    format!(
        ": \"${{{}?the value of the header {header}}}\"\n",
        variable(header)
    )
}

/// A word that needs no quotes as it is, any other in quotes.
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.@-/:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A text in quotes: what a terminal would not show is written as an escape, a long run of one character as a loop.
pub fn quoted(text: &str) -> String {
    joined(&[Piece::text(text)])
}

/// Texts in single quotes and expansions in double ones, as one word.
pub fn joined(pieces: &[Piece]) -> String {
    let mut word = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => put_text(text, &mut word),
            Piece::Expansion(expansion) => {
                let _ = write!(word, "\"{expansion}\"");
            }
        }
    }
    match word.is_empty() {
        true => "''".to_owned(),
        false => word,
    }
}

fn put_text(text: &str, word: &mut String) {
    let characters: Vec<char> = text.chars().collect();
    let mut plain = String::new();
    for run in characters.chunk_by(PartialEq::eq) {
        let character = run[0];
        if run.len() > LONGEST_RUN && character.is_ascii_alphanumeric() {
            word.push_str(&part(&std::mem::take(&mut plain)));
            let _ = write!(word, "\"$(printf '{character}%.0s' {{1..{}}})\"", run.len());
        } else {
            plain.extend(run);
        }
    }
    word.push_str(&part(&plain));
}

fn part(text: &str) -> String {
    let plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{80}'..='\u{a0}' | '\u{300}'..='\u{36f}' | '\u{590}'..='\u{8ff}' | '\u{2000}'..='\u{206f}' | '\u{e000}'..)
    };
    if text.is_empty() {
        return String::new();
    }
    if text.chars().all(plain) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut shown = "$'".to_owned();
    for character in text.chars() {
        match character {
            '\'' | '\\' => shown.extend(['\\', character]),
            character if plain(character) => shown.push(character),
            // Bytes and not code points: those depend on the shell's locale. Octal, since it ends after three digits.
            character => {
                let mut bytes = [0; 4];
                for byte in character.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(shown, "\\{byte:03o}");
                }
            }
        }
    }
    shown.push('\'');
    shown
}

/// Texts and expansions in one pair of double quotes: for addresses, which are read more easily so.
pub fn in_double_quotes(pieces: &[Piece]) -> String {
    let mut word = "\"".to_owned();
    for piece in pieces {
        match piece {
            Piece::Text(text) => {
                for c in text.chars() {
                    if matches!(c, '"' | '\\' | '$' | '`') {
                        word.push('\\');
                    }
                    word.push(c);
                }
            }
            Piece::Expansion(expansion) => word.push_str(expansion),
        }
    }
    word.push('"');
    word
}

/// A header as an option of curl.
pub fn header(name: &str, value: &[Piece]) -> String {
    let blank = |piece: &Piece| matches!(piece, Piece::Text(text) if text.trim().is_empty());
    if value.iter().all(blank) {
        // Curl sends no header that is empty, unless it ends like this.
        return format!("-H {}", quoted(&format!("{name};")));
    }
    let mut pieces = vec![Piece::text(format!("{name}: "))];
    for piece in value {
        match (pieces.last_mut(), piece) {
            (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(text),
            _ => pieces.push(piece.clone()),
        }
    }
    match pieces.as_slice() {
        [Piece::Text(_)] => format!("-H {}", joined(&pieces)),
        _ => format!("-H {}", in_double_quotes(&pieces)),
    }
}

/// What brings a body: a command to pipe from, where it takes one, and the options of curl. An empty `content_type` sends none.
pub fn data(content_type: &str, body: &[Piece]) -> (Option<String>, String) {
    let kind = kind(content_type);
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Expansion(_) => String::new(),
    };
    let text: String = body.iter().map(text).collect();
    if text.contains('\0') {
        return (Some(octal(body)), format!("{kind} --data-binary @-"));
    }
    let word = joined(body);
    if text.len() > LONGEST_ARGUMENT || text.starts_with('@') {
        let pipe = format!("printf %s {word}");
        return (Some(pipe), format!("{kind} --data-binary @-"));
    }
    (None, format!("{kind} --data-binary {word}"))
}

/// The same of bytes.
pub fn data_of_bytes(content_type: &str, bytes: &[u8]) -> (Option<String>, String) {
    let mut pipe = "printf '".to_owned();
    put_octal(bytes, &mut pipe);
    pipe.push('\'');
    (
        Some(pipe),
        format!("{} --data-binary @-", kind(content_type)),
    )
}

fn kind(content_type: &str) -> String {
    match content_type {
        "" => "-H 'Content-Type:'".to_owned(),
        kind => format!("-H {}", quoted(&format!("Content-Type: {kind}"))),
    }
}

/// A body as printf makes it.
fn octal(body: &[Piece]) -> String {
    let mut command = "printf '".to_owned();
    let mut arguments = String::new();
    for piece in body {
        match piece {
            Piece::Text(text) => put_octal(text.as_bytes(), &mut command),
            Piece::Expansion(expansion) => {
                command.push_str("%s");
                let _ = write!(arguments, " \"{expansion}\"");
            }
        }
    }
    command.push('\'');
    command + &arguments
}

fn put_octal(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        match byte {
            b'%' => out.push_str("%%"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'{' | b'}' | b'"' | b':' | b',' => {
                out.push(char::from(*byte));
            }
            byte => {
                let _ = write!(out, "\\{byte:03o}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (text, expected) in [
            ("", "''"),
            ("plain {\"a\":1}", "'plain {\"a\":1}'"),
            ("it's", r"'it'\''s'"),
            ("a\u{1f600}'\\\n1", r"$'a\360\237\230\200\'\\\0121'"),
            ("ü", "'ü'"),
        ] {
            assert_eq!(quoted(text), expected, "{text:?}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(5_000));
        assert_eq!(
            quoted(&long),
            r#"'{"a":"'"$(printf 'x%.0s' {1..5000})"'"}'"#
        );
        for (text, expected) in [("a-1@x/y:z", "a-1@x/y:z"), ("a b", "'a b'"), ("", "''")] {
            assert_eq!(word(text), expected);
        }
    }

    #[test]
    fn what_bash_puts_in_stands_in_double_quotes() {
        let pieces = [
            Piece::text("a'$"),
            Piece::expansion("${unique}"),
            Piece::text("b"),
        ];
        assert_eq!(joined(&pieces), r#"'a'\''$'"${unique}"'b'"#);
        assert_eq!(in_double_quotes(&pieces), r#""a'\$${unique}b""#);
        assert_eq!(header("X-A", &[Piece::text(" ")]), "-H 'X-A;'");
        assert_eq!(
            header("X-A", &[Piece::expansion("$(value 0 id)")]),
            r#"-H "X-A: $(value 0 id)""#
        );
    }

    #[test]
    fn bodies_reach_curl_as_they_are() {
        let pieces = [Piece::text("\0%ü"), Piece::expansion("$unique")];
        let (pipe, options) = data("text/plain", &pieces);
        assert_eq!(
            pipe.as_deref(),
            Some("printf '\\000%%\\303\\274%s' \"$unique\"")
        );
        assert_eq!(options, "-H 'Content-Type: text/plain' --data-binary @-");
        let (pipe, _) = data_of_bytes("", b"\xff a");
        assert_eq!(pipe.as_deref(), Some("printf '\\377 a'"));
        assert_eq!(
            data("", &[Piece::text("@x")]).0.as_deref(),
            Some("printf %s '@x'")
        );
    }

    #[test]
    fn a_password_is_asked_for_where_a_login_needs_it() {
        assert!(!password(["curl \"password=$THRONG_PASSWORD\""]).is_empty());
        assert_eq!(password(["curl ${THRONG_PASSWORD_2:?x}", ""]), "");
    }

    #[test]
    fn what_a_login_saves_is_its_sessions() {
        let mut out = String::new();
        let script = "curl x > \"$jar.answer\"\nsaved_token=$(grep x)\nauthorization=\"Bearer $saved_token\"\n";
        let session = log_in(&mut out, "own", 1, Some(script));
        assert!(session.token);
        assert!(
            out.ends_with("own_saved_token=$saved_token\nown_authorization=$authorization\n"),
            "{out}"
        );
    }
}

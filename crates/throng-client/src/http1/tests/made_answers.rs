//! Nearly responses: every part of one in the forms it may have, and now and then in one that it may not.

use proptest::{collection::vec, prelude::*, sample::select};

fn lines(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    select(of).prop_map(str::to_owned)
}

fn status_line() -> impl Strategy<Value = String> {
    let before = prop_oneof![24 => Just(""), 1 => lines_of(&["\r\n", "\n", "\r\n\r\n", " ", "x"])];
    let version = prop_oneof![
        16 => Just("HTTP/1.1"),
        4 => Just("HTTP/1.0"),
        1 => lines_of(&["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "http/1.1", "HTTP/1.", "ICY", ""]),
    ];
    let status = prop_oneof![
        16 => Just(" 200"),
        6 => lines_of(&[" 204", " 304", " 404", " 500", " 999", " 206", " 401"]),
        2 => lines_of(&[" 100", " 101", " 103", " 199"]),
        1 => lines_of(&[" 20", " 2000", " 099", " -20", " 2 0", "200", "\t200", "  200"]),
    ];
    let reason = prop_oneof![
        16 => Just(" OK"),
        3 => lines_of(&["", " ", " Not quite OK", "  OK ", " \u{e9}", " a\tb"]),
        1 => lines_of(&[" a\0", " \u{1}", "\t", " a\rb"]),
    ];
    (before, version, status, reason, newline())
        .prop_map(|(a, b, c, d, e)| [a, b, c, d, e].concat())
}

fn lines_of(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    select(of)
}

fn newline() -> impl Strategy<Value = &'static str> {
    prop_oneof![80 => Just("\r\n"), 1 => lines_of(&["\n", "\r", "\r\r\n", "\n\r"])]
}

/// A header; `{}` is where the length of the body goes.
fn field() -> impl Strategy<Value = String> {
    let plain = lines(&[
        "x: y",
        "X-Mixed-CASE: y",
        "x:y",
        "x:\ty \t",
        "x:",
        "x: \u{e9}\u{fc}",
        "set-cookie: a=1",
        "Set-Cookie: b=2; Path=/",
        "content-type: text/plain",
        "trailer: t",
        "keep-alive: timeout=5",
    ]);
    let length = lines(&[
        "content-length: {}",
        "Content-Length:{}",
        "CONTENT-LENGTH: \t{} ",
        "content-length: {}, {}",
        "content-length: {},{}",
        "content-length: 0{}",
        "content-length: 0",
    ]);
    let odd_length = lines(&[
        "content-length: +{}",
        "content-length: -{}",
        "content-length: 0x{}",
        "content-length: {}, 7",
        "content-length: {},",
        "content-length: ,{}",
        "content-length:",
        "content-length: {}.0",
        "content-length: {} {}",
        "content-length: \u{b2}",
        "content-length: 18446744073709551616",
        "content-length: \"{}\"",
        "content-length: {};q=1",
        "content-length: 1",
    ]);
    let coding = lines(&[
        "transfer-encoding: chunked",
        "Transfer-Encoding: Chunked",
        "transfer-encoding:chunked ",
        "transfer-encoding: gzip, chunked",
        "transfer-encoding: gzip,chunked",
        "transfer-encoding: gzip",
    ]);
    let odd_coding = lines(&[
        "transfer-encoding: chunked, gzip",
        "transfer-encoding: identity",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding:",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding: chunked,",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: \u{fc}, chunked",
        "transfer-encoding: chun\tked",
        "transfer-encoding: \u{b}chunked",
    ]);
    let connection = lines(&[
        "connection: close",
        "Connection: Close",
        "connection: keep-alive",
        "Connection: Keep-Alive",
        "connection: x, close",
        "connection: close, keep-alive",
        "connection: keep-alive,close ",
        "connection: closed",
        "connection: upgrade",
        "connection:",
        "connection: \u{fc}",
        "connection: \u{fc}, close",
        "proxy-connection: close",
        "upgrade: h2c",
    ]);
    let no_header = lines(&[
        "folded: a\r\n b",
        "folded: a\r\n\tb",
        " x: y",
        "space : x",
        "no colon",
        ": y",
        "x",
        "nul: a\0b",
        "x: a\u{7f}b",
        "x: a\rb",
        "x y: z",
        "\u{e9}: x",
        "x(y): z",
        "",
    ]);
    prop_oneof![6 => plain, 5 => length, 2 => odd_length, 4 => coding, 1 => odd_coding, 4 => connection, 1 => no_header]
}

/// A body in chunks, of which some are odd.
fn chunks() -> impl Strategy<Value = Vec<u8>> {
    let after_size = prop_oneof![
        12 => Just(""),
        4 => lines_of(&[";x", ";x=y", ";x=\"a;b\"", " ", "\t ", " ;x", "; x = y", ";", ";\u{e9}", ";x;y=z"]),
        1 => lines_of(&["x", " 1", "\0", ";a\nb", ";a\rb", "h", ",", "+"]),
    ];
    let before_size = prop_oneof![
        12 => Just(""),
        2 => lines_of(&["0", "000", "0000000000000000"]),
        1 => lines_of(&["-", "+", "0x", " ", "\r\n", "\n", "x", "1", "ffffffffffffffff", "\u{b2}"]),
    ];
    let size = any::<bool>();
    let chunk = (
        before_size,
        vec(any::<u8>(), 1..20),
        size,
        after_size,
        newline(),
        newline(),
    );
    let trailer = prop_oneof![
        6 => Just(""),
        4 => lines_of(&["t: u\r\n", "T: u\r\nv:\r\n", "content-length: 3\r\n", "t: \u{e9}\r\n"]),
        3 => lines_of(&["no colon\r\n", "t : u\r\n", "t: u\n", "t: a\r\n b\r\n", "\0: u\r\n", ":\r\n", "\n", "t\r"]),
    ];
    let end =
        prop_oneof![12 => Just("0"), 1 => lines_of(&["00", "0;x", "0 ", "", "0x0", "-0", "f"])];
    (vec(chunk, 0..5), end, newline(), trailer, newline()).prop_map(
        |(chunks, end, a, trailer, b)| {
            let mut bytes = Vec::new();
            for (before, data, upper, after, one, two) in chunks {
                let length = data.len();
                let size = if upper {
                    format!("{length:X}")
                } else {
                    format!("{length:x}")
                };
                for part in [before, &size, after, one] {
                    bytes.extend(latin1(part));
                }
                bytes.extend(data);
                bytes.extend(two.bytes());
            }
            for part in [end, a, trailer, b] {
                bytes.extend(latin1(part));
            }
            bytes
        },
    )
}

/// One byte for each character, as a server that knows no better sends them.
fn latin1(text: &str) -> impl Iterator<Item = u8> {
    text.chars()
        .map(|c| u8::try_from(u32::from(c)).expect("a character of Latin-1"))
}

/// Which bytes there are for a body.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => vec(any::<u8>(), 0..60),
        3 => chunks(),
        1 => Just(Vec::new()),
    ]
}

/// Nearly a response. Most are one.
pub(super) fn answer() -> impl Strategy<Value = Vec<u8>> {
    let interim = prop_oneof![
        6 => Just(""),
        2 => lines_of(&[
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 102 Processing\r\ncontent-length: 5\r\n\r\n",
            "HTTP/1.0 199 X\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n",
            "\r\nHTTP/1.1 100\n\n",
        ]),
    ];
    let after = prop_oneof![
        6 => Just(""),
        2 => lines_of(&["\r\n", "x", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "\0", "HTTP/1.1 408 Request Timeout\r\n\r\n"]),
    ];
    let head = (
        interim,
        status_line(),
        vec((field(), newline()), 0..5),
        newline(),
    );
    (head, body(), after).prop_map(|((interim, status, fields, end), body, after)| {
        let mut head = interim.to_owned() + &status;
        for (field, newline) in fields {
            head += &field.replace("{}", &body.len().to_string());
            head += newline;
        }
        head += end;
        latin1(&head).chain(body).chain(latin1(after)).collect()
    })
}

//! A display of the test's own (Xvfb), and which windows are to be seen on it, asked by X11's own protocol: that takes no program
//! but the server.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Requests by their numbers ("X Window System Protocol", version 11, appendix B).
const GET_WINDOW_ATTRIBUTES: u8 = 3;
const GET_GEOMETRY: u8 = 14;
const QUERY_TREE: u8 = 15;
const GET_PROPERTY: u8 = 20;
/// The predefined atoms `STRING` and `WM_CLASS`.
const STRING: u32 = 31;
const WM_CLASS: u32 = 67;
/// A window that is mapped, and all around it.
const VIEWABLE: u8 = 2;

/// A running Xvfb; ends when it is dropped.
pub(super) struct Display {
    pub(super) name: String,
    _server: Child,
}

/// Something to be seen.
#[derive(Debug)]
pub(super) struct Window {
    /// Its program, in the program's own words (`WM_CLASS`).
    pub(super) class: String,
    pub(super) width: u16,
    pub(super) height: u16,
}

impl Display {
    /// Starts it on a display that is free.
    pub(super) async fn start() -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1280x1024x24"])
            .args(["-nolisten", "tcp", "-noreset"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Xvfb, which `cargo xtask setup` installs");
        let said = server.stdout.take().expect("its output");
        let number = BufReader::new(said).lines().next_line().await;
        let number = number.expect("an output").expect("a display's number");
        Self {
            name: format!(":{}", number.trim()),
            _server: server,
        }
    }

    /// All windows on the screen itself, without those in them, that are to be seen.
    pub(super) fn windows(&self) -> Vec<Window> {
        let number = &self.name[1..];
        let stream = UnixStream::connect(format!("/tmp/.X11-unix/X{number}"));
        let mut client = Client(stream.expect("the display's socket"));
        let root = client.greet();
        let mut windows = Vec::new();
        for window in client.children(root) {
            windows.extend(client.look(window));
        }
        windows
    }
}

/// A connection, each request on which is answered at once.
struct Client(UnixStream);

impl Client {
    /// Opens the connection; gives the first screen's root.
    fn greet(&mut self) -> u32 {
        // Little-endian, version 11.0, no authorization.
        self.0
            .write_all(&[b'l', 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0])
            .expect("a greeting");
        let head = self.take(8);
        assert_eq!(head[0], 1, "the display lets nobody in");
        let rest = self.take(4 * usize::from(half(&head, 6)));
        let vendor = usize::from(half(&rest, 16)).next_multiple_of(4);
        let formats = usize::from(rest[21]);
        word(&rest, 32 + vendor + 8 * formats)
    }

    /// Sends a request and gives its answer; none where it was refused, as when a window has gone.
    fn ask(&mut self, request: u8, detail: u8, words: &[u32]) -> Option<Vec<u8>> {
        let length = u16::try_from(1 + words.len()).expect("a short request");
        let mut bytes = vec![request, detail];
        bytes.extend(length.to_le_bytes());
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        self.0.write_all(&bytes).expect("a request");
        let mut answer = self.take(32);
        match answer[0] {
            0 => None,
            1 => {
                let more = word(&answer, 4);
                answer.extend(self.take(4 * more as usize));
                Some(answer)
            }
            event => panic!("an event that nobody asked for: {event}"),
        }
    }

    fn children(&mut self, window: u32) -> Vec<u32> {
        let answer = self.ask(QUERY_TREE, 0, &[window]);
        let answer = answer.unwrap_or_default();
        answer.chunks(4).skip(8).map(|one| word(one, 0)).collect()
    }

    /// A window, unless it can't be seen or has gone.
    fn look(&mut self, window: u32) -> Option<Window> {
        let attributes = self.ask(GET_WINDOW_ATTRIBUTES, 0, &[window])?;
        if attributes[26] != VIEWABLE {
            return None;
        }
        let geometry = self.ask(GET_GEOMETRY, 0, &[window])?;
        let class = self.ask(GET_PROPERTY, 0, &[window, WM_CLASS, STRING, 0, 64])?;
        let length = word(&class, 16) as usize;
        Some(Window {
            class: String::from_utf8_lossy(&class[32..32 + length]).replace('\0', " "),
            width: half(&geometry, 16),
            height: half(&geometry, 18),
        })
    }

    fn take(&mut self, bytes: usize) -> Vec<u8> {
        let mut taken = vec![0; bytes];
        self.0.read_exact(&mut taken).expect("an answer");
        taken
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

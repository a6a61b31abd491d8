//! What was found: grouped, confirmed, shrunk, and kept so that it can be sent again.

mod curl;
mod group;
mod replay;
mod report;
mod settle;
mod shrink;

use std::{fmt, fs, io, path::Path, path::PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use group::Groups;
pub use replay::{Replayed, replay};
pub use report::Found;

use crate::{
    check::Check,
    probe::{Probe, Role},
    request::{Body, Csrf, Part, Request, Who},
};

/// Something that is wrong with a target, with the smallest requests that show it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finding {
    /// A name that stays the same from run to run, of letters, digits and dashes: its file's name.
    pub id: String,
    /// The check.
    pub check: Check,
    /// What the check says, in a line.
    pub about: String,
    /// The fault code of the Web Fuzzing Commons, where there is one.
    pub wfc: Option<u16>,
    /// The operation, `METHOD template`; where no operation is meant, method and path.
    pub operation: String,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// What was seen, without what varies.
    pub message: String,
    /// The start of the answer that shows it, without secrets.
    pub answer: String,
    /// How often it was seen under load.
    pub count: u64,
    /// How long after the swarm's start it was seen first, in seconds.
    #[serde(default)]
    pub first_seen: f64,
    /// How often the requests below showed it again.
    pub repeated: u32,
    /// Of so many tries.
    pub tried: u32,
    /// The swarm's seed.
    pub seed: u64,
    /// The smallest requests that show it; its `number` is that of the probe that first did.
    pub probe: Probe,
    /// The requests in words, in order.
    pub requests: Vec<String>,
    /// A script for bash and curl that shows it. Passwords are not in it: it reads `$THRONG_PASSWORD`.
    pub curl: String,
    /// Why it is accepted, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// The origin of the target that it was seen on.
    pub target: String,
    /// The scenario by which its users can be set up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenario: Option<String>,
    /// Where the OpenAPI document was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openapi: Option<String>,
    /// The file in the corpus, where it was written.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

/// A file of the corpus that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub struct FindingError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl Finding {
    /// Reads a finding from the corpus.
    ///
    /// # Errors
    /// If there is no such file, or it's not one.
    pub fn load(path: &Path) -> Result<Self, FindingError> {
        let failed = |reason: String| FindingError {
            path: path.to_owned(),
            reason,
        };
        let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
        let mut finding: Self =
            serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
        finding.file = Some(path.to_owned());
        Ok(finding)
    }

    /// Writes it to a directory: `ID.json`, and `ID.sh` with the script. Gives back the first.
    ///
    /// # Errors
    /// If that can't be written.
    pub fn save(&self, directory: &Path) -> io::Result<PathBuf> {
        fs::create_dir_all(directory)?;
        let file = directory.join(format!("{}.json", self.id));
        let mut text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        text.push('\n');
        fs::write(&file, text)?;
        fs::write(directory.join(format!("{}.sh", self.id)), &self.curl)?;
        Ok(file)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.check)?;
        if let Some(code) = self.wfc {
            write!(f, " (WFC {code})")?;
        }
        write!(f, "  {}", self.operation)?;
        if let Some(status) = self.status {
            write!(f, " -> {status}")?;
        }
        writeln!(f)?;
        writeln!(f, "  {}: {}", self.about, self.message)?;
        for (index, request) in self.requests.iter().enumerate() {
            writeln!(f, "  {}. {request}", index + 1)?;
        }
        if !self.answer.is_empty() {
            writeln!(f, "  answered: {}", self.answer)?;
        }
        write!(
            f,
            "  repeats {} of {}; seen {} times; seed {}, probe {}",
            self.repeated, self.tried, self.count, self.seed, self.probe.number
        )?;
        if let Some(line) = curl::line(&self.probe, &self.target) {
            write!(f, "\n  {line}")?;
        }
        if let Some(file) = &self.file {
            let script = file.with_extension("sh");
            write!(
                f,
                "\n  throng replay {}\n  bash {}",
                file.display(),
                script.display()
            )?;
        }
        Ok(())
    }
}

/// The requests of a probe in words.
pub(crate) fn in_words(probe: &Probe) -> Vec<String> {
    probe
        .steps
        .iter()
        .filter(|step| step.role != Role::Cleanup)
        .map(|step| {
            let mut text = request_in_words(&step.request);
            if step.together {
                text.push_str(", at the same time");
            }
            text
        })
        .collect()
}

fn request_in_words(request: &Request) -> String {
    const LONGEST: usize = 300;
    let mut text = format!("{} {}", request.method, request.path);
    for (name, part) in &request.path_values {
        text = text.replace(&format!("{{{name}}}"), &part_in_words(part));
    }
    for (index, (name, part)) in request.query.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(&format!("{name}={}", part_in_words(part)));
    }
    for (name, part) in &request.headers {
        text.push_str(&format!(", {name}: {}", part_in_words(part)));
    }
    match &request.body {
        Body::None => {}
        Body::Json(value) => text.push_str(&format!(" {value}")),
        Body::Form(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
            text.push_str(&format!(" form {}", pairs.join("&")));
        }
        Body::Raw {
            content_type,
            bytes,
        } => {
            let shown: String = bytes
                .0
                .iter()
                .take(LONGEST)
                .flat_map(|byte| std::ascii::escape_default(*byte))
                .map(char::from)
                .collect();
            text.push_str(&format!(" {content_type} \"{shown}\""));
        }
    }
    if text.chars().count() > LONGEST {
        text = text.chars().take(LONGEST).collect();
        text.push('…');
    }
    let who = match request.who {
        Who::Nobody => "as nobody".to_owned(),
        Who::Own => "as the first user".to_owned(),
        Who::Other(n) => match n {
            1 => "as the second user".to_owned(),
            n => format!("as user {}", u32::from(n) + 1),
        },
        Who::Fresh => "as the first user in a new session".to_owned(),
        Who::Kept => "with what that session was known by".to_owned(),
    };
    let csrf = match request.csrf {
        Csrf::Right => "",
        Csrf::Missing => ", without the token against forgery",
        Csrf::Others => ", with another session's token against forgery",
    };
    format!("{text} {who}{csrf}")
}

fn part_in_words(part: &Part) -> String {
    match part {
        Part::Text(text) => text.escape_debug().to_string(),
        Part::Encoded(text) => text.clone(),
        Part::Bound { step, pointer } => format!("<{pointer} of answer {}>", step + 1),
    }
}

//! `cargo xtask documents`: every `throng` command that the documentation shows must be one that the program accepts.
//! Each is given to the program with `--help` behind it, so that its flags and values are read and nothing is done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process;
use crate::workspace::Workspace;

/// Try every command of the Markdown files in the root and in docs/.
pub(crate) fn run(workspace: &Workspace, program: &Path) -> Result<()> {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for file in markdown_files(&workspace.root)? {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for (line, command) in commands(&text) {
            tried += 1;
            let output = process::capture(Command::new(program).args(&command).arg("--help"))?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr)
                    .trim()
                    .replace('\n', "\n    ");
                wrong.push(format!(
                    "{}:{line}: throng {}\n    {said}",
                    file.display(),
                    command.join(" ")
                ));
            }
        }
    }
    println!("{tried} commands tried");
    ensure!(tried > 0, "the documentation shows no command");
    if !wrong.is_empty() {
        bail!(
            "the program refuses what the documentation shows:\n  {}",
            wrong.join("\n  ")
        );
    }
    Ok(())
}

fn markdown_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for directory in [root.to_owned(), root.join("docs")] {
        for entry in fs::read_dir(&directory)
            .with_context(|| format!("cannot list {}", directory.display()))?
        {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The arguments of each `throng` command in the text's fenced shell blocks, with its line number.
fn commands(text: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut in_shell = false;
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        if let Some(language) = line.strip_prefix("```") {
            in_shell = !in_shell && ["sh", "bash", "console", "shell"].contains(&language);
            continue;
        }
        if !in_shell {
            continue;
        }
        let mut command = line.to_owned();
        while command.ends_with('\\') {
            command.pop();
            command += lines.next().map_or("", |(_, next)| next.trim());
        }
        if let Some(arguments) = arguments(&command) {
            found.push((number + 1, arguments));
        }
    }
    found
}

/// What follows `throng` or `cargo run ... --` in one command line, up to a comment or a pipe. Variables set before
/// the command are skipped; a command with a placeholder in capitals or `...` is not one to type.
fn arguments(line: &str) -> Option<Vec<String>> {
    let words = words(line.strip_prefix("$ ").unwrap_or(line));
    let words: Vec<_> = words
        .into_iter()
        .take_while(|word| !matches!(word.as_str(), "|" | "&&" | "||" | ";" | "&" | ">"))
        .collect();
    let mut rest = words.as_slice();
    while let [first, after @ ..] = rest {
        let variable = first.split_once('=').is_some_and(|(name, _)| {
            name.bytes()
                .all(|byte| byte == b'_' || byte.is_ascii_uppercase() || byte.is_ascii_digit())
        });
        if !variable {
            break;
        }
        rest = after;
    }
    let arguments = match rest {
        [program, arguments @ ..] if program == "throng" || program.ends_with("/throng") => {
            arguments
        }
        [cargo, run, flags @ ..] if cargo == "cargo" && run == "run" => {
            let split = flags.iter().position(|flag| flag == "--")?;
            if flags[..split]
                .iter()
                .any(|flag| flag == "--example" || flag == "--package" || flag == "-p")
            {
                return None;
            }
            &flags[split + 1..]
        }
        _ => return None,
    };
    (!arguments.iter().any(|word| word == "...")).then(|| arguments.to_vec())
}

/// Split like a shell does, knowing quotes and comments but no expansion.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for character in line.chars() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, ' ' | '\t') => words.extend(word.take()),
            (None, '#') if word.is_none() => break,
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::{arguments, commands};

    #[test]
    fn arguments_of_a_line() {
        for (line, expected) in [
            ("throng run -u 5", Some(vec!["run", "-u", "5"])),
            (
                "$ throng run --threshold 'a.p95 < 500ms' # why",
                Some(vec!["run", "--threshold", "a.p95 < 500ms"]),
            ),
            ("cargo run --release -- run", Some(vec!["run"])),
            (
                "NEXTCLOUD_HOST=http://h throng cleanup | less",
                Some(vec!["cleanup"]),
            ),
            ("./target/release/throng run", Some(vec!["run"])),
            ("cargo run --example x -- run", None),
            ("cargo build --release", None),
            ("throng run ... -u 5", None),
            ("# throng run", None),
            ("", None),
        ] {
            let expected =
                expected.map(|words| words.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(arguments(line), expected, "{line}");
        }
    }

    #[test]
    fn commands_are_taken_from_shell_blocks_only() {
        let text = "throng no\n```sh\nthrong run \\\n  -u 5\n```\n```yaml\nthrong: no\n```\n```console\n$ throng check f\n```\n";
        let found: Vec<_> = commands(text)
            .into_iter()
            .map(|(line, words)| (line, words.join(" ")))
            .collect();
        assert_eq!(
            found,
            [(3, "run -u 5".to_owned()), (10, "check f".to_owned())]
        );
    }
}

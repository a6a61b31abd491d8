//! The documentation against the program: flags, keys of the report, the scenario file and the knobs, thresholds, exit codes,
//! whole scenarios, and links. What a page says must be there, and what is there must be said.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use throng_metrics::Verdict;
use throng_metrics::threshold::Threshold;
use throng_metrics::{LagReport, PhaseReport};
use throng_sandbox::{Bug, EndpointKnob, ErrorKind, Jitter, Knobs, Latency, Stall, StallFrom};
use throng_workflow::{Environment, Overrides, ScenarioFile};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(crate) fn page(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The program with a place of its own for the ledger, and nothing of the caller's settings.
pub(crate) fn throng(home: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_throng"))
        .args(arguments)
        .env("XDG_STATE_HOME", home)
        .env_remove("NEXTCLOUD_HOST")
        .env_remove("NEXTCLOUD_USERNAME")
        .env_remove("NEXTCLOUD_PASSWORD")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The text from a heading to the next one of its level.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let level = heading.split(' ').next().expect("a heading has a level");
    let start = page
        .find(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading:?}"))
        + heading.len()
        + 2;
    let rest = &page[start..];
    let end = rest.find(&format!("\n{level} ")).unwrap_or(rest.len());
    &rest[..end]
}

/// The rows of tables that do not lie in fenced blocks: their cells.
fn tables(page: &str) -> Vec<Vec<Vec<String>>> {
    let mut tables: Vec<Vec<Vec<String>>> = Vec::new();
    let (mut fenced, mut inside) = (false, false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let is_row = !fenced && line.starts_with('|');
        if is_row && !inside {
            tables.push(Vec::new());
        }
        inside = is_row;
        if is_row {
            let line = line.replace("\\|", "\u{1}");
            let cells = line.trim_matches('|').split('|');
            let cells = cells
                .map(|cell| cell.trim().replace('\u{1}', "|"))
                .collect();
            tables.last_mut().expect("one was just begun").push(cells);
        }
    }
    tables
}

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// What the first column of all tables with this heading names.
fn column(page: &str, heading: &str) -> BTreeSet<String> {
    tables(page)
        .iter()
        .filter(|table| table[0][0] == heading)
        .flat_map(|table| &table[2..])
        .flat_map(|row| {
            quoted(&row[0])
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect()
}

pub(crate) fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    page.split(&fence)
        .skip(1)
        .map(|rest| {
            let end = rest.find("```").expect("a block ends");
            rest[..end].to_owned()
        })
        .collect()
}

/// The long flags in a text, such as `--users`.
fn long_flags(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .filter(|word| word.len() > 2 && word.starts_with("--"))
        .map(str::to_owned)
        .collect()
}

/// The flags that a help text lists, not those that it mentions.
fn flags_of(help: &str) -> BTreeSet<String> {
    let aliases = help.split("[alias").skip(1);
    let aliases = aliases.filter_map(|rest| rest.split_once(']'));
    let aliases = aliases.flat_map(|(names, _)| long_flags(names));
    help.lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'))
        .filter_map(|line| {
            let flag = line.split([' ', ',']).find(|word| word.starts_with("--"))?;
            Some(flag.trim_end_matches('.').to_owned())
        })
        .chain(aliases)
        .collect()
}

#[test]
fn every_flag_is_in_the_reference_and_the_reference_has_no_other() {
    let home = tempfile::tempdir().expect("a directory");
    let text = page("docs/flags.md");
    let common = &text[..text.find("\n## ").expect("sections")];
    for command in [
        &["run"][..],
        &["cleanup"],
        &["init"],
        &["check"],
        &["tools"],
        &["login"],
        &["monkey"],
        &["property"],
        &["schema"],
        &["sandbox", "nextcloud"],
        &["sandbox", "integr8scode"],
    ] {
        let help = throng(home.path(), &[command, &["--help"]].concat());
        let listed = flags_of(&String::from_utf8_lossy(&help.stdout));
        assert!(listed.contains("--help"), "{}", said(&help));
        let section = section(&text, &format!("## throng {}", command.join(" ")));
        let documented = long_flags(&format!("{common}{section}"));
        let missing: Vec<_> = listed.difference(&documented).collect();
        assert!(
            missing.is_empty(),
            "{command:?}: not in docs/flags.md: {missing:?}"
        );
        let described: BTreeSet<String> = column(section, "flag")
            .iter()
            .flat_map(|cell| long_flags(cell))
            .collect();
        let gone: Vec<_> = described.difference(&listed).collect();
        assert!(
            gone.is_empty(),
            "{command:?}: docs/flags.md describes {gone:?}"
        );
    }
}

/// Maps whose keys are names of the user's choice.
const NAMED: [&str; 16] = [
    "remarks",
    "failures_by_kind",
    "workflows",
    "users",
    "setup",
    "steps",
    "endpoints",
    "propagation",
    "statuses",
    "streams",
    "counters",
    "versions",
    "step_latencies",
    "operations_breakdown",
    "errors_breakdown",
    "where",
];

fn keys(value: &Value, named: bool, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                if !named {
                    found.insert(key.clone());
                }
                keys(inner, !named && NAMED.contains(&key.as_str()), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, false, found)),
        _ => {}
    }
}

#[test]
fn every_key_of_a_report_is_in_the_reference_and_the_reference_has_no_other() {
    let home = tempfile::tempdir().expect("a directory");
    let file = |name: &str| {
        home.path()
            .join(name)
            .to_str()
            .expect("a plain path")
            .to_owned()
    };
    // With planted errors, so that the lists of errors and reasons are not empty.
    fs::write(
        file("knobs.yaml"),
        // And with tokens that end, so that somebody waits for one.
        "endpoints: [{ match: nc_*, error_rate: 0.3, error: tool_error }]\ntoken_lifetime_s: 1",
    )
    .expect("written");
    let output = throng(
        home.path(),
        &[
            "run",
            "-d",
            "3",
            "-w",
            "0",
            "-q",
            "--sandbox-knobs",
            &file("knobs.yaml"),
            "--output",
            &file("report.json"),
        ],
    );
    assert_eq!(output.status.code(), Some(99), "{}", said(&output));
    let report = fs::read_to_string(file("report.json")).expect("a report");
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let mut found = BTreeSet::new();
    keys(&report, false, &mut found);
    // What only an HTTP target's report has.
    keys(&crate::http::report(home.path()), false, &mut found);
    // What only monkeys' reports have.
    keys(&crate::modes::report(home.path()), false, &mut found);
    // What only logins by a browser bring.
    let phase = PhaseReport {
        count: 0,
        failures: 0,
        wall_seconds: 0.0,
        latency: throng_metrics::Latency::default(),
        queue_wait: Some(LagReport::default()),
        first_errors: Vec::new(),
    };
    let phase = serde_json::to_value(phase).expect("JSON");
    keys(&phase, false, &mut found);

    let text = page("docs/report.md");
    let documented: BTreeSet<String> = column(&text, "key");
    let missing: Vec<_> = found.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/report.md: {missing:?}");
    let gone: Vec<_> = documented.difference(&found).collect();
    assert!(gone.is_empty(), "docs/report.md describes {gone:?}");
    for (described, there) in [("counter", &report["counters"])] {
        for name in column(&text, described) {
            assert!(
                there.get(&name).is_some(),
                "docs/report.md describes {name}"
            );
        }
    }
}

fn properties(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            // One of the keys is called `properties` itself: what it says of it is no list of keys.
            if let Some(Value::Object(keys)) = map.get("properties") {
                found.extend(keys.keys().cloned());
                keys.values().for_each(|inner| properties(inner, found));
            }
            map.iter()
                .filter(|(key, _)| *key != "properties")
                .for_each(|(_, inner)| properties(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|item| properties(item, found)),
        _ => {}
    }
}

#[test]
fn every_key_of_the_scenario_file_is_in_the_reference_and_the_reference_has_no_other() {
    let home = tempfile::tempdir().expect("a directory");
    let schema = throng(home.path(), &["schema"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).expect("a schema");
    let mut known = BTreeSet::new();
    properties(&schema, &mut known);
    assert!(
        known.contains("workflows") && known.contains("append_to"),
        "{known:?}"
    );

    let text = page("docs/scenario-file.md");
    let last = |key: String| key.rsplit('.').next().unwrap_or_default().to_owned();
    let described: BTreeSet<String> = column(&text, "key").into_iter().map(last).collect();
    let gone: Vec<_> = described.difference(&known).collect();
    assert!(gone.is_empty(), "docs/scenario-file.md describes {gone:?}");
    // The keys of blocks stand in a table of another form.
    let blocks = tables(&text)
        .into_iter()
        .find(|table| table[0][0] == "block")
        .expect("the table of blocks");
    let of_blocks = blocks.iter().flatten().flat_map(|cell| {
        cell.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    let documented: BTreeSet<String> = described.into_iter().chain(of_blocks).collect();
    let missing: Vec<_> = known.difference(&documented).collect();
    assert!(
        missing.is_empty(),
        "not in docs/scenario-file.md: {missing:?}"
    );
}

#[test]
fn every_knob_is_in_the_reference() {
    let knob = |jitter| EndpointKnob {
        pattern: "*".to_owned(),
        latency: Some(Latency {
            fixed_ms: 1.0,
            jitter: Some(jitter),
        }),
        error_rate: Some(0.5),
        error: ErrorKind::Http(503),
        stall: Some(Stall {
            start_ms: 1,
            duration_ms: 1,
            from: StallFrom::FirstMatch,
        }),
    };
    let knobs = Knobs {
        endpoints: vec![
            knob(Jitter::Uniform { max_ms: 1.0 }),
            knob(Jitter::Normal { deviation_ms: 1.0 }),
            knob(Jitter::Exponential { mean_ms: 1.0 }),
        ],
        token_lifetime_told_s: Some(1),
        token_expiry_grid_s: Some(1),
        revocation_lag: Some(Latency::default()),
        ..Knobs::default()
    };
    let mut found = BTreeSet::new();
    keys(
        &serde_json::to_value(knobs).expect("JSON"),
        false,
        &mut found,
    );
    let text = page("docs/sandbox.md");
    let section = section(&text, "## The knobs file");
    let words: BTreeSet<&str> = section
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .collect();
    let missing: Vec<_> = found
        .iter()
        .filter(|key| !words.contains(key.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in docs/sandbox.md: {missing:?}");
}

#[test]
fn every_planted_bug_is_in_the_reference_and_the_reference_has_no_other() {
    let text = page("docs/sandbox.md");
    let documented = column(section(&text, "### Planted bugs"), "name");
    let known: BTreeSet<String> = Bug::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(documented, known);
}

#[test]
fn the_knobs_that_are_shown_are_accepted() {
    let home = tempfile::tempdir().expect("a directory");
    let shown = blocks(&page("docs/sandbox.md"), "yaml knobs");
    assert!(!shown.is_empty());
    for text in shown {
        let file = home.path().join("knobs.yaml");
        fs::write(&file, &text).expect("written");
        let file = file.to_str().expect("a plain path");
        // Its standard input is at its end, so that it stops as soon as it is up.
        let output = throng(
            home.path(),
            &[
                "sandbox",
                "nextcloud",
                "--port",
                "0",
                "--mcp-port",
                "0",
                "--json",
                "--stop-at-eof",
                "--knobs",
                file,
            ],
        );
        assert!(output.status.success(), "{text}\n{}", said(&output));
    }
}

/// The tools in the guide's table and on the sandbox's page are those that there are, with the arguments that they take.
#[test]
fn the_tools_that_are_described_are_those_of_the_sandbox() {
    let home = tempfile::tempdir().expect("a directory");
    let listed = throng(home.path(), &["tools", "--json"]);
    assert!(listed.status.success(), "{}", said(&listed));
    let tools: Vec<Value> = serde_json::from_slice(&listed.stdout).expect("JSON");
    let name = |tool: &Value| tool["name"].as_str().expect("a name").to_owned();
    let there: BTreeSet<String> = tools.iter().map(name).collect();
    assert!(there.len() > 10, "{there:?}");

    let sandbox = page("docs/sandbox.md");
    let from = sandbox.find("Tools of the MCP server:").expect("the list");
    let list = &sandbox[from..from + sandbox[from..].find("Resource:").expect("its end")];
    let named: BTreeSet<String> = quoted(list).into_iter().map(str::to_owned).collect();
    assert_eq!(named, there, "docs/sandbox.md");

    let guide = page("docs/own-workflow.md");
    let mut described = column(&guide, "tool");
    described.remove("nc://capabilities");
    assert_eq!(described, there, "docs/own-workflow.md");
    let rows = tables(&guide)
        .into_iter()
        .find(|table| table[0][0] == "tool");
    for row in &rows.expect("the table")[2..] {
        let Some(tool) = tools.iter().find(|tool| quoted(&row[0]) == [name(tool)]) else {
            continue;
        };
        let takes = tool["inputSchema"]["properties"].as_object();
        let takes: BTreeSet<&str> = takes
            .into_iter()
            .flatten()
            .map(|(name, _)| &**name)
            .collect();
        let said: BTreeSet<&str> = quoted(&row[1])
            .into_iter()
            .filter_map(|words| words.split(' ').next())
            .collect();
        assert_eq!(said, takes, "{}", row[0]);
        let required = tool["inputSchema"]["required"].as_array();
        let required: BTreeSet<&str> = required
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let must: BTreeSet<&str> = row[1]
            .split(", ")
            .filter(|argument| argument.starts_with('`'))
            .map(|argument| argument.trim_matches('`'))
            .collect();
        assert_eq!(must, required, "{}", row[0]);
    }
}

#[test]
fn every_threshold_that_is_shown_can_be_used() {
    let nothing = |_: &str| None;
    let file = ScenarioFile::load(
        "nextcloud",
        &Overrides::default(),
        &Environment::tolerant(&nothing),
    )
    .expect("the built-in scenario is sound");
    let text = page("docs/thresholds.md");
    let shown = column(section(&text, "## Examples"), "threshold");
    assert!(shown.len() > 5, "{shown:?}");
    for threshold in shown {
        let parsed: Threshold = threshold.parse().unwrap_or_else(|error| panic!("{error}"));
        parsed
            .check(&file.program.catalog)
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_exit_code_is_in_both_tables() {
    let verdicts = page("docs/verdicts.md");
    let flags = page("docs/flags.md");
    let flags = section(&flags, "## Exit codes");
    for verdict in Verdict::ALL {
        let code = verdict.exit_code().to_string();
        let has = |page: &str, column: usize| {
            tables(page)
                .iter()
                .flatten()
                .any(|row| row[column].split([',', ' ']).any(|number| number == code))
        };
        assert!(
            has(&verdicts, 1),
            "docs/verdicts.md lacks {code} ({verdict:?})"
        );
        assert!(has(flags, 0), "docs/flags.md lacks {code} ({verdict:?})");
    }
}

fn markdown() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for directory in [root(), root().join("docs")] {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 10, "{files:?}");
    files
}

#[test]
fn whole_scenarios_in_the_documentation_are_sound() {
    let home = tempfile::tempdir().expect("a directory");
    let mut checked = 0;
    for path in markdown() {
        let text = fs::read_to_string(&path).expect("a page");
        for block in blocks(&text, "yaml scenario") {
            let file = home.path().join("scenario.yaml");
            fs::write(&file, &block).expect("written");
            let output = throng(
                home.path(),
                &["check", file.to_str().expect("a plain path")],
            );
            assert!(
                output.status.success(),
                "{}: {}",
                path.display(),
                said(&output)
            );
            checked += 1;
        }
    }
    assert!(checked >= 2, "only {checked} whole scenarios are shown");
}

/// The names that headings have as link targets, by GitHub's rule.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut fenced = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if let Some(heading) = line.strip_prefix('#').filter(|_| !fenced) {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    found
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut followed = 0;
    for path in markdown() {
        let text = fs::read_to_string(&path).expect("a page");
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let to = if file.is_empty() {
                path.clone()
            } else {
                path.parent().expect("a directory").join(file)
            };
            assert!(to.exists(), "{}: {target} leads nowhere", path.display());
            if !anchor.is_empty() {
                let there = fs::read_to_string(&to).expect("a page");
                assert!(
                    anchors(&there).contains(anchor),
                    "{}: {target}: no such heading",
                    path.display()
                );
            }
            followed += 1;
        }
    }
    assert!(followed > 20, "only {followed} links");
}

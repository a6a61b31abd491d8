//! The results as JUnit XML, as CI systems read it: a test case for each property.

use throng_fuzz::property::Verdict as Worth;

use super::show::{details, share, worth};
use super::{Tested, Trial};

/// The document.
pub(super) fn document(trial: &Trial) -> String {
    let count =
        |such: fn(&Tested) -> bool| trial.tested.iter().filter(|tested| such(tested)).count();
    let failures = count(|tested| matches!(tested.outcome.verdict, Worth::Failed(_)));
    let errors = count(|tested| {
        matches!(
            tested.outcome.verdict,
            Worth::Vacuous | Worth::NoExamples(_)
        )
    });
    let skipped = count(|tested| matches!(tested.outcome.verdict, Worth::Stopped));
    let seconds: f64 = trial
        .tested
        .iter()
        .map(|tested| tested.outcome.took.as_secs_f64())
        .sum();
    let totals = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" time=\"{seconds:.3}\"",
        trial.tested.len()
    );
    let scenario = escaped(&trial.scenario);
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites name=\"throng property\" {totals}>\n  \
         <testsuite name=\"{scenario}\" {totals}>\n    \
         <properties>\n      <property name=\"seed\" value=\"{}\"/>\n    </properties>\n",
        trial.seed
    );
    for tested in &trial.tested {
        text.push_str(&case(tested, trial, &scenario));
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn case(tested: &Tested, trial: &Trial, scenario: &str) -> String {
    let outcome = &tested.outcome;
    let mut text = format!(
        "    <testcase classname=\"{scenario}\" name=\"{}\" time=\"{:.3}\">\n",
        escaped(&tested.name),
        outcome.took.as_secs_f64()
    );
    let mut properties = String::new();
    for (name, value) in [
        ("examples", outcome.tried.to_string()),
        ("accepted", outcome.accepted.to_string()),
        ("min_accepted", tested.min_accepted.to_string()),
        ("result", worth(&outcome.verdict).to_owned()),
    ] {
        properties.push_str(&format!(
            "        <property name=\"{name}\" value=\"{value}\"/>\n"
        ));
    }
    text.push_str(&format!(
        "      <properties>\n{properties}      </properties>\n"
    ));
    let mut element = |name: &str, kind: &str, message: &str, body: &str| {
        text.push_str(&format!(
            "      <{name} type=\"{kind}\" message=\"{}\">{}</{name}>\n",
            escaped(message),
            escaped(body)
        ));
    };
    match &outcome.verdict {
        Worth::Passed => {}
        Worth::Failed(all) => {
            // One for all: not every reader takes several.
            let messages: Vec<String> = all.iter().map(|found| found.failure.to_string()).collect();
            let bodies: Vec<String> = all
                .iter()
                .map(|found| {
                    let (failure, details) = (&found.failure, details(found, trial.seed, None));
                    format!("{failure}\n{details}\n{}", failure.curl)
                })
                .collect();
            element(
                "failure",
                "property",
                &messages.join("; "),
                &bodies.join("\n"),
            );
        }
        Worth::Vacuous => element("error", "vacuous", &share(tested), ""),
        Worth::NoExamples(why) => element("error", "no_examples", why, ""),
        Worth::Stopped => text.push_str("      <skipped message=\"stopped by a signal\"/>\n"),
    }
    text.push_str("    </testcase>\n");
    text
}

/// Text in XML 1.0. Characters that it can't have at all are shown as escapes.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\n' => shown.push_str("&#10;"),
            '\t' => shown.push_str("&#9;"),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                shown.push_str(&format!("\\u{:04x}", character as u32));
            }
            character => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_xml_cannot_hold_is_escaped() {
        for (text, expected) in [
            ("plain \u{1f600} ü", "plain \u{1f600} ü"),
            ("<a b=\"c\">&'", "&lt;a b=&quot;c&quot;&gt;&amp;'"),
            ("\0\u{b}\u{1b}\u{ffff}", "\\u0000\\u000b\\u001b\\uffff"),
            ("a\n\tb", "a&#10;&#9;b"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }
}

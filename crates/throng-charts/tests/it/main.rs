//! Pictures of made-up runs: what is on them, that nothing overlaps, and that both formats can be read.

mod sample;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use roxmltree::Document;
use throng_charts::{Drawing, Label, Picture, draw, write_all};
use throng_metrics::{Report, clean};

struct Drawn {
    name: String,
    report: Report,
    picture: Picture,
    drawing: Drawing,
}

/// Every picture of every made-up run, drawn once for all tests.
static PICTURES: LazyLock<Vec<Drawn>> = LazyLock::new(|| {
    let mut pictures = Vec::new();
    for (name, report) in sample::reports() {
        for picture in Picture::ALL {
            pictures.push(Drawn {
                name: format!("{name} {}", picture.name()),
                drawing: draw(&report, picture).expect("every report can be drawn"),
                report: report.clone(),
                picture,
            });
        }
    }
    pictures
});

fn overlap(one: &Label, other: &Label) -> bool {
    one.left < other.right
        && other.left < one.right
        && one.top < other.bottom
        && other.top < one.bottom
}

#[test]
fn no_text_overlaps_another_or_leaves_the_picture() {
    for Drawn { name, drawing, .. } in PICTURES.iter() {
        let labels = drawing.labels();
        assert!(labels.len() >= 3, "{name}: {labels:?}");
        for (index, label) in labels.iter().enumerate() {
            assert!(
                label.left >= 0.0
                    && label.top >= 0.0
                    && label.right <= drawing.width()
                    && label.bottom <= drawing.height(),
                "{name}: {label:?} is not within the picture"
            );
            for other in &labels[index + 1..] {
                assert!(!overlap(label, other), "{name}: {label:?} and {other:?}");
            }
        }
    }
}

/// The labels in a font that's wider than the embedded one, as DejaVu Sans is.
fn wider(drawing: &Drawing) -> Vec<Label> {
    let svg = drawing.to_svg();
    let document = Document::parse(&svg).expect("it is well formed");
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name("text"));
    texts
        .zip(drawing.labels())
        .map(|(text, label)| {
            let bold = text.attribute("font-weight") == Some("bold");
            let more = (label.right - label.left) * if bold { 0.17 } else { 0.12 };
            let (left, right) = match text.attribute("text-anchor") {
                None => (0.0, more),
                Some("end") => (more, 0.0),
                _ => (more / 2.0, more / 2.0),
            };
            Label {
                left: label.left - left,
                right: label.right + right,
                ..label
            }
        })
        .collect()
}

#[test]
fn nothing_overlaps_where_the_viewer_has_a_wider_font() {
    for Drawn { name, drawing, .. } in PICTURES.iter() {
        let labels = wider(drawing);
        for (index, label) in labels.iter().enumerate() {
            let fits = label.left >= 0.0 && label.right <= drawing.width();
            assert!(fits, "{name}: {label:?} is not within the picture");
            for other in &labels[index + 1..] {
                assert!(!overlap(label, other), "{name}: {label:?} and {other:?}");
            }
        }
    }
}

#[test]
fn every_endpoint_is_named() {
    for Drawn {
        name,
        report,
        picture,
        drawing,
    } in PICTURES.iter()
    {
        if *picture == Picture::Timeline {
            continue;
        }
        let names: BTreeSet<_> = drawing
            .labels()
            .into_iter()
            .map(|label| label.full)
            .collect();
        for (endpoint, calls) in report.endpoints.iter() {
            let is_there = names.contains(&clean(endpoint));
            assert_eq!(is_there, calls.count > 0, "{name}: {endpoint}");
        }
    }
}

#[test]
fn the_svg_is_well_formed_and_holds_every_text_and_full_name() {
    for Drawn { name, drawing, .. } in PICTURES.iter() {
        let svg = drawing.to_svg();
        let document = Document::parse(&svg).unwrap_or_else(|error| panic!("{name}: {error}"));
        let root = document.root_element();
        let expected = format!("0 0 {} {}", drawing.width(), drawing.height());
        assert_eq!(root.attribute("viewBox"), Some(expected.as_str()), "{name}");
        let texts: Vec<_> = document
            .descendants()
            .filter(|node| node.has_tag_name("text"))
            .collect();
        let labels = drawing.labels();
        assert_eq!(texts.len(), labels.len(), "{name}");
        for (text, label) in texts.iter().zip(&labels) {
            let shown: String = text
                .children()
                .filter(|node| node.is_text())
                .filter_map(|node| node.text())
                .collect();
            let title = text.children().find(|node| node.has_tag_name("title"));
            let full = title.and_then(|title| title.text());
            assert_eq!(shown, label.text.replace('\u{ffff}', "\u{fffd}"), "{name}");
            assert_eq!(
                full.unwrap_or(&shown),
                label.full.replace('\u{ffff}', "\u{fffd}"),
                "{name}"
            );
        }
    }
}

/// Every shape's numbers.
fn coordinates(document: &Document<'_>, across: bool) -> Vec<f64> {
    let mut found = Vec::new();
    for node in document.descendants() {
        if let Some(points) = node.attribute("points") {
            let pairs = points.split(' ').filter_map(|pair| pair.split_once(','));
            found.extend(pairs.map(|(x, y)| number(if across { x } else { y })));
        }
        let (from, length, centre) = if across {
            ("x", "width", "cx")
        } else {
            ("y", "height", "cy")
        };
        let start = node.attribute(from).map(number);
        found.extend(start);
        if let (Some(start), Some(length)) = (start, node.attribute(length)) {
            found.push(start + number(length));
        }
        if let (Some(centre), Some(radius)) = (node.attribute(centre), node.attribute("r")) {
            found.extend([
                number(centre) - number(radius),
                number(centre) + number(radius),
            ]);
        }
    }
    found
}

fn number(text: &str) -> f64 {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is no number"))
}

#[test]
fn every_shape_is_within_the_picture() {
    for Drawn { name, drawing, .. } in PICTURES.iter() {
        let svg = drawing.to_svg();
        let document = Document::parse(&svg).expect("it is well formed");
        for (across, size) in [(true, drawing.width()), (false, drawing.height())] {
            for value in coordinates(&document, across) {
                assert!((0.0..=size).contains(&value), "{name}: {value} of {size}");
            }
        }
    }
}

#[test]
fn the_png_has_the_right_size_and_something_on_it() {
    for Drawn { name, drawing, .. } in PICTURES.iter() {
        let png = drawing.to_png(1.0).expect("it can be drawn");
        let pixels = tiny_skia::Pixmap::decode_png(&png).expect("it can be read");
        let size = (f64::from(pixels.width()), f64::from(pixels.height()));
        assert_eq!(size, (drawing.width(), drawing.height()), "{name}");
        let is_paper = |pixel: &tiny_skia::PremultipliedColorU8| {
            let colour = (pixel.red(), pixel.green(), pixel.blue(), pixel.alpha());
            colour == (255, 255, 255, 255)
        };
        let inked = pixels.pixels().iter().filter(|pixel| !is_paper(pixel));
        let share = inked.count() as f64 / pixels.pixels().len() as f64;
        assert!(
            (0.002..0.5).contains(&share),
            "{name}: {share} of it is inked"
        );
        assert!(
            is_paper(&pixels.pixels()[0]),
            "{name}: the background is light"
        );
    }
}

#[test]
fn a_png_is_as_large_as_asked() {
    let drawing = &PICTURES[0].drawing;
    let png = drawing.to_png(2.5).expect("it can be drawn");
    let pixels = tiny_skia::Pixmap::decode_png(&png).expect("it can be read");
    let size = (f64::from(pixels.width()), f64::from(pixels.height()));
    let expected = (
        (drawing.width() * 2.5).round(),
        (drawing.height() * 2.5).round(),
    );
    assert_eq!(size, expected);
}

#[test]
fn pictures_grow_with_the_endpoints() {
    let height = |count: u64| {
        let endpoints = (0..count).map(|n| (format!("GET /things/{n}"), 1, 1_000));
        let run = sample::Run {
            per_second: 3_000,
            ..sample::Run::of(endpoints, 3.0)
        };
        let report = run.report();
        let drawing = draw(&report, Picture::EndpointLatency).expect("it can be drawn");
        let last = drawing.labels().last().map(|label| label.text.clone());
        (drawing.height(), last)
    };
    let (one, forty, hundreds) = (height(1).0, height(40).0, height(300));
    assert!(one < 300.0 && forty > one + 39.0 * 20.0, "{one} {forty}");
    assert!(hundreds.0 < 3_000.0, "{hundreds:?}");
    assert_eq!(
        hundreds.1.as_deref(),
        Some("200 more endpoints, all faster: see the report")
    );
}

fn texts(report: &Report, picture: Picture) -> Vec<String> {
    let drawing = draw(report, picture).expect("it can be drawn");
    drawing
        .labels()
        .into_iter()
        .map(|label| label.text)
        .collect()
}

fn has(texts: &[String], text: &str) -> bool {
    texts.iter().any(|found| found.contains(text))
}

#[test]
fn the_subtitle_says_who_worked() {
    for (mode, expected) in [
        ("user", "integr8scode · workload mixed · constant-vus"),
        (
            "both",
            "integr8scode · workload mixed, and monkeys · constant-vus",
        ),
        ("monkey", "integr8scode · monkeys · constant-vus"),
    ] {
        let mut report = sample::Run::http_api(3.0).report();
        report.run.mode = mode.to_owned();
        let texts = texts(&report, Picture::Timeline);
        assert!(has(&texts, expected), "{texts:?}");
    }
}

#[test]
fn steps_of_long_runs_are_merged_and_said_so() {
    let short = texts(&sample::Run::http_api(20.0).report(), Picture::Timeline);
    assert!(has(&short, "in seconds; each step is 1 s"), "{short:?}");
    let run = sample::Run {
        per_second: 2,
        ..sample::Run::http_api(7_200.0)
    };
    let long = texts(&run.report(), Picture::Timeline);
    assert!(has(&long, "in minutes; each step is 30 s"), "{long:?}");
    assert!(has(&long, "p99, the worst second"), "{long:?}");
}

#[test]
fn errors_and_expected_refusals_are_told_apart() {
    let run = sample::Run {
        errors: 2,
        refused: 5,
        ..sample::Run::http_api(10.0)
    };
    let report = run.report();
    let total = |count: fn(&throng_metrics::EndpointReport) -> u64| -> u64 {
        report
            .endpoints
            .iter()
            .map(|(_, endpoint)| count(endpoint))
            .sum()
    };
    let (errors, refused) = (total(|e| e.errors), total(|e| e.refused));
    assert!(errors > 0 && refused > errors);
    let found = texts(&report, Picture::EndpointThroughput);
    assert!(has(&found, &format!("errors: {errors}")), "{found:?}");
    assert!(
        has(&found, &format!("refused as expected: {refused}")),
        "{found:?}"
    );
    let clean = texts(
        &sample::Run::http_api(10.0).report(),
        Picture::EndpointThroughput,
    );
    assert!(
        has(&clean, "errors: none") && !has(&clean, "refused as expected"),
        "{clean:?}"
    );
}

#[test]
fn where_nothing_succeeded_the_picture_says_so() {
    let run = sample::Run {
        errors: 100,
        ..sample::Run::http_api(5.0)
    };
    let report = run.report();
    assert!(has(
        &texts(&report, Picture::Timeline),
        "No request succeeded."
    ));
    let latency = texts(&report, Picture::EndpointLatency);
    assert_eq!(
        latency
            .iter()
            .filter(|text| *text == "no successes")
            .count(),
        13
    );
    let nothing = sample::Run::of([], 0.0).report();
    let silent = sample::Run {
        quiet: 0..100,
        ..sample::Run::http_api(10.0)
    };
    for report in [nothing, silent.report()] {
        for picture in Picture::ALL {
            assert!(has(&texts(&report, picture), "No requests were measured."));
        }
    }
}

#[test]
fn a_report_read_back_from_json_gives_the_same_picture() {
    let report = sample::Run::http_api(5.0).report();
    let json = serde_json::to_string(&report).expect("it can be written");
    let read: Report = serde_json::from_str(&json).expect("it can be read");
    for picture in Picture::ALL {
        let of = |report| draw(report, picture).expect("it can be drawn").to_svg();
        assert_eq!(of(&report), of(&read));
    }
}

#[test]
fn all_pictures_are_written_beside_each_other() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let inner = directory.path().join("out/plots");
    let report = sample::Run::http_api(5.0).report();
    let written = write_all(&report, &inner, "report_user").expect("they can be written");
    let names: Vec<_> = written
        .iter()
        .filter_map(|path| path.file_name()?.to_str())
        .collect();
    assert_eq!(
        names,
        [
            "report_user_timeline.svg",
            "report_user_timeline.png",
            "report_user_endpoint_latency.svg",
            "report_user_endpoint_latency.png",
            "report_user_endpoint_throughput.svg",
            "report_user_endpoint_throughput.png",
        ]
    );
    assert!(written.iter().all(|path| path.is_file()));
    let file = directory.path().join("file");
    std::fs::write(&file, "").expect("it can be written");
    let error = write_all(&report, &file, "x").expect_err("a file is no directory");
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn no_picture_is_larger_than_memory() {
    let drawing = draw(&sample::Run::http_api(5.0).report(), Picture::Timeline).expect("drawn");
    for scale in [0.0, -1.0, f32::NAN, 1e6] {
        let error = drawing.to_png(scale).expect_err("it cannot be drawn");
        assert!(
            error.to_string().starts_with("cannot draw a picture of"),
            "{error}"
        );
    }
}

/// With few samples the 90th and the 99th percentile are the same, and often the median, too.
#[test]
fn dots_of_equal_percentiles_are_seen_around_each_other() {
    let report = sample::Run::http_api(5.0).report();
    let mut report = serde_json::to_value(&report).expect("it can be written");
    let endpoints = report["endpoints"].as_object_mut().expect("endpoints");
    for endpoint in endpoints.values_mut() {
        let times = endpoint["response"].as_object_mut().expect("times");
        times["p90"] = times["p99"].clone();
        times["p50"] = times["p99"].clone();
    }
    let report: Report = serde_json::from_value(report).expect("it can be read");
    let drawing = draw(&report, Picture::EndpointLatency).expect("it can be drawn");
    let svg = drawing.to_svg();
    let document = Document::parse(&svg).expect("it is well formed");
    let mut dots: Vec<(&str, &str, f64, &str)> = document
        .descendants()
        .filter(|node| node.has_tag_name("circle"))
        .map(|node| {
            let value = |name: &str| node.attribute(name).unwrap_or_default();
            let [x, y, r, colour] = ["cx", "cy", "r", "fill"].map(value);
            (x, y, number(r), colour)
        })
        .collect();
    // Those of the key stand alone.
    let alone = |dot: &(&str, &str, f64, &str), all: &[(&str, &str, f64, &str)]| {
        all.iter()
            .filter(|it| (it.0, it.1) == (dot.0, dot.1))
            .count()
            < 6
    };
    let all = dots.clone();
    dots.retain(|dot| !alone(dot, &all));
    assert_eq!(dots.len(), 13 * 6, "{svg}");
    for row in dots.chunks(6) {
        let colours: BTreeSet<_> = row.iter().map(|dot| dot.3).collect();
        assert_eq!(colours.len(), 4, "{row:?}");
        // What is drawn later lies above, so that each must be smaller.
        assert!(row.windows(2).all(|two| two[1].2 < two[0].2), "{row:?}");
    }
}

//! Reports hold what they are given, whatever it is: complete, well-formed, escaped, the same each time.

use std::path::Path;
use std::process::{Command, Output};

use mailrace_bench::report::{
    Axis, BarGroup, BarSeries, Bars, Cell, Chart, Figure, LineSeries, Lines, Page, Point, Scale, Section,
    Table, Verdict, html, markdown,
};
use roxmltree::{Document, Node, ParsingOptions};

const HOSTILE: &str = "</style><script>alert(1)</script>\"'&|`\u{0}\u{7}]]>&lt;!--\u{202e}\n# h";

fn figure(value: f64) -> Figure {
    Figure { value, min: Some(value * 0.75), max: Some(value * 1.25) }
}

fn lines(title: &str, x: Axis, y: Axis) -> Chart {
    let points = |factor: f64| {
        let point = |x: f64| Point { x, y: figure(x * factor) };
        [1.0, 10.0, 100.0, 64_000.0].map(point).to_vec()
    };
    let series =
        |index: u32| LineSeries { name: format!("{title} {index}"), points: points(f64::from(index)) };
    Chart::Lines(Lines { title: title.into(), x, y, series: (1..=9).map(series).collect() })
}

/// A page with a chart of each kind, in which every text is `text`.
fn page(text: &str) -> Page {
    let mut table = Table::new(&[text, "rate (1/s)", "verdict"]);
    table.row(vec![text.into(), Cell::Figure(figure(44_999.0)), Cell::Verdict { verdict: Verdict::Pass }]);
    table.row(vec!["x".into(), Cell::Figure(0.0123.into()), Cell::Verdict { verdict: Verdict::NotMeasured }]);
    let axis = |scale| Axis { label: text.into(), unit: text.into(), scale };
    let bars = Chart::Bars(Bars {
        title: text.into(),
        axis: axis(Scale::Logarithmic),
        categories: vec![text.into(), "aiosmtpd".into()],
        series: vec![
            BarSeries { name: text.into(), values: vec![Some(figure(12.0)), None] },
            BarSeries { name: "other".into(), values: vec![Some(0.0.into()), Some(figure(3456.0))] },
        ],
        groups: vec![BarGroup { heading: text.into(), first: 1 }],
    });
    let charts = vec![
        bars,
        lines(text, axis(Scale::Logarithmic), axis(Scale::Linear)),
        lines(text, axis(Scale::Linear), axis(Scale::Logarithmic)),
    ];
    let section = Section { heading: text.into(), words: text.into(), table: Some(table), charts };
    Page {
        title: text.into(),
        host: text.into(),
        date: text.into(),
        command: text.into(),
        notes: vec![text.into()],
        sections: vec![section, Section::default()],
    }
}

fn parse(html: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(html, options).unwrap_or_else(|error| panic!("{error}\n{html}"))
}

fn named<'a, 'i>(document: &'a Document<'i>, name: &str) -> Vec<Node<'a, 'i>> {
    document.descendants().filter(|node| node.tag_name().name() == name).collect()
}

#[test]
fn a_page_is_well_formed_and_asks_for_nothing_else() {
    for pages in [vec![page("plain")], vec![page(HOSTILE), page(HOSTILE)], vec![]] {
        let written = html("a title", &pages);
        let document = parse(&written);
        for forbidden in ["script", "link", "img", "iframe", "object", "image", "use"] {
            assert!(named(&document, forbidden).is_empty(), "{forbidden}");
        }
        for node in document.descendants() {
            for attribute in node.attributes() {
                let is_local = attribute.name() != "href" || attribute.value().starts_with('#');
                assert!(is_local && !attribute.name().starts_with("on"), "{attribute:?}");
            }
        }
        assert!(!written.contains("url(") && !written.contains("@import"));
    }
}

#[test]
fn every_value_of_a_table_is_in_the_page() {
    let page = page("plain words");
    let written = html("a title", std::slice::from_ref(&page));
    let document = parse(&written);
    let cells: Vec<String> = named(&document, "td").into_iter().map(text_of).collect();
    let markdown = markdown(&page);
    for section in &page.sections {
        let tables = section.table.iter().cloned().chain(section.charts.iter().map(Chart::table));
        for cell in tables.flat_map(|table| table.rows).flatten() {
            assert!(cells.contains(&cell.words()), "{cell:?} is not in {cells:?}");
        }
        for cell in section.table.iter().flat_map(|table| table.rows.iter().flatten()) {
            assert!(markdown.contains(&cell.words()), "{cell:?} is not in {markdown}");
        }
    }
}

fn text_of(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect()
}

#[test]
fn hostile_words_are_shown_and_not_obeyed() {
    let page = page(HOSTILE);
    let written = html(HOSTILE, std::slice::from_ref(&page));
    let document = parse(&written);
    let heading = text_of(named(&document, "h1")[0]);
    assert_eq!(heading, HOSTILE.replace(['\u{0}', '\u{7}', '\u{202e}'], "\u{fffd}"));
    let written = markdown(&page);
    let is_markup = |line: &&str| line.contains("<script") && !line.starts_with("- command: ``");
    assert_eq!(written.lines().find(is_markup), None);
    assert!(!written.contains('\u{202e}'));
    assert!(!written.lines().any(|line| line == "# h"), "{written}");
}

#[test]
fn charts_name_what_they_show_and_stay_within_their_frame() {
    let written = html("a title", &[page("plain")]);
    let document = parse(&written);
    let charts: Vec<Node<'_, '_>> =
        named(&document, "svg").into_iter().filter(|svg| svg.attribute("role") == Some("img")).collect();
    assert_eq!(charts.len(), 6, "three charts, each for two widths");
    for chart in charts {
        assert_eq!(chart.attribute("aria-label"), Some("plain"));
        let frame: Vec<f64> = numbers(chart.attribute("viewBox").expect("a viewBox"));
        for node in chart.descendants() {
            let of = |names: &[&str]| {
                let values = names.iter().filter_map(|name| node.attribute(*name));
                values.flat_map(numbers).collect::<Vec<f64>>()
            };
            let points = node.attribute("points").map(numbers).unwrap_or_default();
            let (xs, ys): (Vec<_>, Vec<_>) = points.chunks(2).map(|pair| (pair[0], pair[1])).unzip();
            for x in of(&["x", "x1", "x2", "cx"]).into_iter().chain(xs) {
                assert!((0.0..=frame[2]).contains(&x), "{x} in {node:?}");
            }
            for y in of(&["y", "y1", "y2", "cy"]).into_iter().chain(ys) {
                assert!((0.0..=frame[3]).contains(&y), "{y} in {node:?}");
            }
        }
    }
    assert!(written.contains("1 figures have no place on this axis"), "the 0 on an axis of factors");
}

fn numbers(text: &str) -> Vec<f64> {
    text.split([' ', ',']).filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn a_page_outlives_json_and_is_the_same_each_time() {
    let page = page("plain");
    let json = serde_json::to_string(&page).expect("JSON");
    let again: Page = serde_json::from_str(&json).expect("a page");
    assert_eq!(again, page);
    assert_eq!(html("t", std::slice::from_ref(&again)), html("t", std::slice::from_ref(&page)));
    assert_eq!(markdown(&again), markdown(&page));
}

#[test]
fn bars_told_apart_by_colour_only_share_a_column_and_a_missing_one_says_so() {
    let series = |name: &str, values: [Option<f64>; 3]| BarSeries {
        name: name.into(),
        values: values.map(|value| value.map(Figure::from)).to_vec(),
    };
    let bars = |second| Bars {
        title: "rate".into(),
        axis: Axis::logarithmic("throughput", "messages/s"),
        categories: ["ours", "theirs", "none"].map(String::from).to_vec(),
        series: vec![series("mailrace", [Some(3.0), None, None]), series("other", second)],
        groups: vec![BarGroup { heading: "synced".into(), first: 0 }],
    };
    let apart = Chart::Bars(bars([None, Some(0.0), None]));
    let rows: Vec<Vec<String>> =
        apart.table().rows.iter().map(|row| row.iter().map(Cell::words).collect()).collect();
    assert_eq!(rows, [["ours", "3.00"], ["theirs", "0"], ["none", "not measured"]]);
    assert_eq!(apart.table().columns, ["", "throughput (messages/s)"]);
    let both = Chart::Bars(bars([Some(1.0), None, None]));
    assert_eq!(
        both.table().columns,
        ["", "mailrace: throughput (messages/s)", "other: throughput (messages/s)"]
    );
    let section = |charts| Section { charts, ..Section::default() };
    let of = |chart| Page { sections: vec![section(vec![chart])], ..page("p") };
    let written = html("t", &[of(apart)]);
    let document = parse(&written);
    let texts: Vec<String> = named(&document, "text").into_iter().map(text_of).collect();
    for (words, count) in [("synced", 2), ("not measured", 2), ("0", 2)] {
        assert_eq!(texts.iter().filter(|text| *text == words).count(), count, "{words} in {texts:?}");
    }
    let behind = vec![BarGroup { heading: "synced".into(), first: 3 }];
    let odd = of(Chart::Bars(Bars { groups: behind, ..bars([None; 3]) }));
    assert_eq!(odd.check(), Err("rate: synced begins behind the last of 3 bars".into()));
}

#[test]
fn a_long_table_is_folded_and_whole() {
    let folds = |count: usize| {
        let mut table = Table::new(&["number"]);
        (0..count).for_each(|number| table.row(vec![number.to_string().into()]));
        let section = Section { table: Some(table), ..Section::default() };
        let written = html("t", &[Page { sections: vec![section], ..page("p") }]);
        let document = parse(&written);
        assert_eq!(named(&document, "td").len(), count);
        named(&document, "summary").into_iter().map(text_of).collect::<Vec<_>>()
    };
    assert_eq!(folds(24), Vec::<String>::new());
    assert_eq!(folds(25), ["The whole table, 25 rows"]);
}

fn bench(arguments: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailrace-bench"));
    command.args(arguments).current_dir(directory).output().expect("the command")
}

#[test]
fn saved_results_are_joined_in_one_page() {
    let directory = tempfile::tempdir().expect("a directory");
    let save = |name: &str, json: &serde_json::Value| {
        std::fs::write(directory.path().join(name), json.to_string()).expect("written");
    };
    save("page.json", &serde_json::to_value(page("first")).expect("JSON"));
    save("result.json", &serde_json::json!({ "cells": [], "page": page("second") }));
    let output = bench(&["report", "page.json", "result.json", "--html", "all.html"], directory.path());
    assert!(output.status.success(), "{output:?}");
    let written = std::fs::read_to_string(directory.path().join("all.html")).expect("the page");
    let document = parse(&written);
    let titles: Vec<String> = named(&document, "h2").into_iter().map(text_of).collect();
    assert_eq!(titles, ["first", "second"]);
}

#[test]
fn a_file_without_a_page_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut short = page("short");
    short.sections[0].table.as_mut().expect("a table").rows[0].pop();
    let cases = [
        ("{}".to_owned(), "missing field"),
        ("no JSON".to_owned(), "expected"),
        (serde_json::to_string(&short).expect("JSON"), "row 1 has 2 cells under 3 headings"),
    ];
    for (text, reason) in cases {
        std::fs::write(directory.path().join("odd.json"), text).expect("written");
        let output = bench(&["report", "odd.json", "--html", "all.html"], directory.path());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains("cannot read a page from odd.json") && said.contains(reason), "{said}");
    }
}

#[test]
fn a_mailrace_that_does_not_serve_has_missed_its_targets_and_no_record_is_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = ["targets", "--mailrace", "/bin/sh", "--server-cores", "0", "--load-cores", "0"];
    for _ in 0..2 {
        let output =
            bench(&[&arguments[..], &["--rounds", "1", "--duration", "4ms"]].concat(), directory.path());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("/bin/sh: it ended instead of serving") && said.contains("0 passed"), "{said}");
    }
    let entries = |path: &Path| -> Vec<std::path::PathBuf> {
        std::fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
    };
    let hosts = entries(&directory.path().join("bench/record"));
    let days = entries(&hosts[0]);
    assert_eq!((hosts.len(), days.len()), (1, 2));
    for day in days {
        let page = Page::read(&day.join("targets.json")).expect("a page");
        let kept = std::fs::read_to_string(day.join("targets.md")).expect("Markdown");
        assert_eq!(kept, markdown(&page));
        let json = std::fs::read(day.join("targets.json")).expect("the record");
        let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        for outcome in json["outcomes"].as_array().expect("rows") {
            let words = outcome["parts"][0]["words"].as_str().expect("words");
            // What is not mailrace's doing are the peers that are not here, and what this machine lacks.
            let is_its_own = words.contains("/bin/sh: it ended instead of serving");
            let expected = if is_its_own { "miss" } else { "not-measured" };
            assert_eq!(outcome["verdict"], expected, "{outcome}");
        }
        for row in [0, 9, 10, 19] {
            assert_eq!(json["outcomes"][row]["verdict"], "miss", "row {}", row + 1);
        }
    }
}

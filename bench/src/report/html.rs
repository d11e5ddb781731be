//! Pages as one HTML file: its style and its charts are in it, and it needs no script.

use super::element::{Element, element};
use super::svg::Width;
use super::{Cell, Chart, Page, Section, Table, Verdict};

const STYLE: &str = include_str!("style.css");

/// The pages one after another under `title`; a page by itself is the whole of it.
pub fn html(title: &str, pages: &[Page]) -> String {
    let head = element("head").children([
        element("meta").attribute("charset", "utf-8"),
        element("meta")
            .attribute("name", "viewport")
            .attribute("content", "width=device-width, initial-scale=1"),
        element("meta").attribute("name", "color-scheme").attribute("content", "light dark"),
        element("title").text(title),
        element("style").raw(STYLE),
    ]);
    let main = match pages {
        [page] => element("main").child(article(page, 0, Level::One)),
        _ => element("main")
            .child(element("h1").text(title))
            .child(contents(pages))
            .children(pages.iter().enumerate().map(|(index, page)| article(page, index, Level::Two))),
    };
    let page = element("html")
        .attribute("xmlns", "http://www.w3.org/1999/xhtml")
        .attribute("lang", "en")
        .children([head, element("body").child(main)]);
    format!("<!DOCTYPE html>\n{page}")
}

/// Where the headings of a page begin.
#[derive(Clone, Copy)]
enum Level {
    One,
    Two,
}

fn contents(pages: &[Page]) -> Element {
    let entry = |(index, page): (usize, &Page)| {
        let link = element("a").attribute("href", format_args!("#page-{index}")).text(&page.title);
        element("li").child(link)
    };
    let list = element("ul").children(pages.iter().enumerate().map(entry));
    element("nav").attribute("aria-label", "Contents").child(list)
}

fn article(page: &Page, index: usize, level: Level) -> Element {
    let (top, below, caption) = match level {
        Level::One => ("h1", "h2", "h3"),
        Level::Two => ("h2", "h3", "h4"),
    };
    let mut facts = element("dl").class("facts");
    for (name, value) in [("Host", &page.host), ("Date", &page.date)] {
        facts = facts.child(element("dt").text(name)).child(element("dd").text(value));
    }
    let command = element("dd").child(element("code").text(&page.command));
    facts = facts.child(element("dt").text("Command")).child(command);
    element("article")
        .attribute("id", format_args!("page-{index}"))
        .child(element(top).text(&page.title))
        .child(facts)
        .children(page.notes.iter().map(|note| element("p").class("note").text(note)))
        .children(page.sections.iter().map(|section| of_section(section, below, caption)))
}

fn of_section(section: &Section, heading: &'static str, caption: &'static str) -> Element {
    let mut written = element("section").child(element(heading).text(&section.heading));
    if !section.words.is_empty() {
        written = written.child(element("p").text(&section.words));
    }
    if !section.charts.is_empty() {
        let charts = section.charts.iter().map(|chart| of_chart(chart, caption));
        written = written.child(element("div").class("charts").children(charts));
    }
    written.children(
        section.table.iter().map(|table| folded(of_table(table, &section.heading), table.rows.len())),
    )
}

/// A table of many rows behind a line to click on, for what comes after it would be out of sight.
fn folded(table: Element, row_count: usize) -> Element {
    const ROWS_MAX: usize = 24;
    if row_count <= ROWS_MAX {
        return table;
    }
    let summary = element("summary").text(format!("The whole table, {row_count} rows"));
    element("details").class("rows").child(summary).child(table)
}

fn of_chart(chart: &Chart, caption: &'static str) -> Element {
    let (legend, left_out) = match chart {
        Chart::Bars(bars) => (bars.legend(), bars.left_out()),
        Chart::Lines(lines) => (lines.legend(), lines.left_out()),
    };
    let drawing = |width| match chart {
        Chart::Bars(bars) => bars.svg(width),
        Chart::Lines(lines) => lines.svg(width),
    };
    let mut figure = element("figure").child(element(caption).text(chart.title())).children(legend);
    figure = figure.child(drawing(Width::Wide)).child(drawing(Width::Narrow));
    if left_out > 0 {
        let words = format!("{left_out} figures have no place on this axis; they stand in the table.");
        figure = figure.child(element("p").class("note").text(words));
    }
    let figures = element("details").child(element("summary").text("The figures"));
    figure.child(figures.child(of_table(&chart.table(), chart.title())))
}

fn of_table(table: &Table, label: &str) -> Element {
    let heading = table.columns.iter().map(|column| element("th").attribute("scope", "col").text(column));
    let head = element("thead").child(element("tr").children(heading));
    let rows = table.rows.iter().map(|row| element("tr").children(row.iter().map(of_cell)));
    let table = element("table").child(head).child(element("tbody").children(rows));
    // Whoever has no pointer scrolls with the keyboard: the box must be able to take the focus.
    element("div")
        .class("scroll")
        .attribute("tabindex", "0")
        .attribute("role", "region")
        .attribute("aria-label", label)
        .child(table)
}

/// Letters from which on a cell may not be squeezed to a few letters a line.
const LONG: usize = 40;

fn of_cell(cell: &Cell) -> Element {
    let written = element("td");
    match cell {
        Cell::Figure(figure) => {
            let words = figure.words();
            let (value, range) = words.split_at(words.find(" (").unwrap_or(words.len()));
            let written = written.class("figure").text(value);
            if range.is_empty() { written } else { written.child(element("span").class("ends").text(range)) }
        }
        Cell::Verdict { verdict } => {
            let class = match verdict {
                Verdict::Pass => "verdict pass",
                Verdict::Miss => "verdict miss",
                Verdict::NotMeasured => "verdict open",
            };
            written.child(element("span").class(class).text(verdict.words()))
        }
        Cell::Text(text) if text.chars().count() >= LONG => written.class("long").text(text),
        Cell::Text(text) => written.text(text),
    }
}

//! Charts from the record, and the tables into the documents.

use crate::figures::limits::Model;
use crate::figures::{Row, filled, peers, rows, spread, values};
use crate::note;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Documents that have tables.
const DOCUMENTS: [&str; 3] = ["README.md", "docs/performance.md", "docs/limits.md"];
const PIXELS: (u32, u32) = (860, 520);
/// Colours that are told apart by most eyes (Okabe and Ito), and black for nabar.
const COLOURS: [RGBColor; 9] = [
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(148, 103, 189),
    RGBColor(120, 120, 120),
    RGBColor(176, 160, 32),
];

/// Lines at the numbers of an axis.
const GRID: RGBColor = RGBColor(225, 225, 225);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Done = Result<(), Box<dyn Error>>;
/// Draws a chart of a record into a file.
type Draw = fn(&Path, &[Row]) -> Done;

/// A line of a chart.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Texts of a chart.
struct Texts<'t> {
    title: &'t str,
    x: &'t str,
    y: &'t str,
}

/// Makes all of it from a record.
pub(crate) fn write(record: &Path, root: &Path) {
    let text = fs::read_to_string(record).unwrap_or_else(|error| panic!("{}: {error}", record.display()));
    let rows = rows(&text);
    for name in DOCUMENTS {
        let path = root.join(name);
        let document =
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (document, without) = filled(&document, &rows);
        for table in without {
            note(&format!("{name}: the record has nothing for {table}, which is left as it is"));
        }
        fs::write(&path, document).expect("written");
    }
    let directory = root.join("docs/charts");
    fs::create_dir_all(&directory).expect("a directory");
    let charts: [(&str, Draw); 5] = [
        ("lookup-time.svg", lookup_time),
        ("lookup-memory.svg", lookup_memory),
        ("split-time.svg", split_time),
        ("split-memory.svg", split_memory),
        ("limits.svg", limits),
    ];
    for (name, draw) in charts {
        draw(&directory.join(name), &rows).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

fn batches(rows: &[Row]) -> impl Iterator<Item = &Row> + Clone {
    rows.iter().filter(|row| {
        (row.suite.as_str(), row.job.as_str(), row.order.as_str(), row.hit_rate, row.threads)
            == ("lookup", "batch", "random", 50, 1)
    })
}

/// Medians of a number of each row, by another of its numbers, for each peer.
fn lines<'r>(
    rows: impl Iterator<Item = &'r Row> + Clone,
    x: fn(&Row) -> u64,
    y: fn(&Row) -> f64,
) -> Vec<Line> {
    let line = |peer: &str| {
        let of_peer = rows.clone().filter(|row| row.peer == peer);
        let point = |at: u64| {
            let median = spread(of_peer.clone().filter(|row| x(row) == at).map(y))?.median;
            Some((at as f64, median))
        };
        let points = values(of_peer.clone(), x).into_iter().filter_map(point).collect();
        Line { name: peer.to_owned(), points }
    };
    peers(rows.clone()).into_iter().map(line).collect()
}

fn lookup_time(path: &Path, rows: &[Row]) -> Done {
    let lines = lines(batches(rows), |row| row.recipients, |row| row.seconds * 1e9 / row.rows as f64);
    let texts = Texts {
        title: "Batch lookup in random order, half of the ids registered, one thread",
        x: "recipients of the register",
        y: "nanoseconds an id",
    };
    draw(path, &texts, &lines, true)
}

fn lookup_memory(path: &Path, rows: &[Row]) -> Done {
    let Some(recipients) =
        values(batches(rows), |row| row.recipients).into_iter().rfind(|&size| size <= 8_000_000)
    else {
        return Ok(());
    };
    let of_size = batches(rows).filter(|row| row.recipients == recipients);
    let mut lines = lines(of_size.clone(), |row| row.bytes, |row| row.seconds * 1e9 / row.rows as f64);
    for point in lines.iter_mut().flat_map(|line| &mut line.points) {
        point.0 /= recipients as f64;
    }
    let title = format!("Memory and time of a batch lookup, {} M recipients", recipients as f64 / 1e6);
    let texts = Texts { title: &title, x: "bytes a recipient", y: "nanoseconds an id" };
    draw(path, &texts, &lines, false)
}

fn splits(rows: &[Row]) -> Vec<&Row> {
    let splits = rows.iter().filter(|row| row.suite == "split");
    let sizes = values(splits.clone(), |row| row.recipients);
    let longest =
        |size: &u64| values(splits.clone().filter(|row| row.recipients == *size), |row| row.rows).len();
    let size = sizes.into_iter().max_by_key(longest);
    splits.clone().filter(|row| Some(row.recipients) == size).collect()
}

fn split_time(path: &Path, rows: &[Row]) -> Done {
    let rows = splits(rows);
    let lines = lines(rows.iter().copied(), |row| row.rows, |row| row.seconds);
    let texts = Texts {
        title: "A whole split, from the start of a process to its end",
        x: "rows of the list",
        y: "seconds",
    };
    draw(path, &texts, &lines, true)
}

fn split_memory(path: &Path, rows: &[Row]) -> Done {
    let rows = splits(rows);
    let with_memory = rows.iter().copied().filter(|row| row.memory > 0);
    let lines = lines(with_memory, |row| row.rows, |row| row.memory as f64 / f64::from(1 << 20));
    let texts =
        Texts { title: "Memory of a split, mapped files included", x: "rows of the list", y: "MiB at most" };
    draw(path, &texts, &lines, true)
}

/// Reads of the probe, the model and what was measured.
fn limits(path: &Path, rows: &[Row]) -> Done {
    let Some(model) = Model::new(rows) else { return Ok(()) };
    let sizes: Vec<f64> = (18..=32).map(|bits| f64::from(bits).exp2()).collect();
    let of = |ns: &dyn Fn(f64) -> f64| sizes.iter().map(|&bytes| (bytes, ns(bytes))).collect();
    let measured = model.measured.iter().map(|&(_, bytes, ns)| (bytes, ns)).collect();
    let lines = [
        Line { name: "nabar".to_owned(), points: measured },
        Line {
            name: "a read that was asked for ahead".to_owned(),
            points: of(&|bytes| model.read_ns(bytes)),
        },
        Line { name: "the model of a lookup".to_owned(), points: of(&|bytes| model.lookup_ns(bytes)) },
    ];
    let texts = Texts { title: "Lookups and what memory allows", x: "bytes of the index", y: "nanoseconds" };
    draw(path, &texts, &lines, true)
}

fn range(numbers: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let least = numbers.clone().fold(f64::MAX, f64::min);
    let most = numbers.fold(f64::MIN_POSITIVE, f64::max);
    least / 1.4..most * 1.4
}

/// Lines, or points alone, between axes that both are logarithmic.
fn draw(path: &Path, texts: &Texts<'_>, lines: &[Line], joined: bool) -> Done {
    if lines.iter().all(|line| line.points.is_empty()) {
        return Ok(());
    }
    let area: Area<'_> = SVGBackend::new(path, PIXELS).into_drawing_area();
    area.fill(&WHITE)?;
    let points = lines.iter().flat_map(|line| &line.points);
    let (x, y) = (range(points.clone().map(|point| point.0)), range(points.map(|point| point.1)));
    let mut chart = ChartBuilder::on(&area)
        .caption(texts.title, ("sans-serif", 18))
        .margin(12)
        .margin_right(190)
        .x_label_area_size(45)
        .y_label_area_size(70)
        .build_cartesian_2d(x.clone().log_scale(), y.clone().log_scale())?;
    // At least one is written, wherever: numbers and lines are drawn below instead.
    let none = |_: &f64| String::new();
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(0)
        .y_labels(0)
        .x_label_formatter(&none)
        .y_label_formatter(&none)
        .set_all_tick_mark_size(0)
        .x_desc(texts.x)
        .y_desc(texts.y)
        .label_style(("sans-serif", 13))
        .draw()?;
    for at in ticks(&x) {
        chart.draw_series([PathElement::new([(at, y.start), (at, y.end)], GRID)])?;
        let (left, bottom) = chart.backend_coord(&(at, y.start));
        area.draw(&Text::new(short(at), (left - 10, bottom + 6), ("sans-serif", 13)))?;
    }
    for at in ticks(&y) {
        chart.draw_series([PathElement::new([(x.start, at), (x.end, at)], GRID)])?;
        let (left, top) = chart.backend_coord(&(x.start, at));
        let text = short(at);
        area.draw(&Text::new(text.clone(), (left - 8 - 7 * text.len() as i32, top - 6), ("sans-serif", 13)))?;
    }
    let mut others = COLOURS.iter().cycle();
    for (place, line) in lines.iter().enumerate() {
        let colour = if line.name == "nabar" { &BLACK } else { others.next().unwrap_or(&BLACK) };
        let style = ShapeStyle::from(colour).stroke_width(if line.name == "nabar" { 3 } else { 2 });
        if joined {
            chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        }
        chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 4, style.filled())))?;
        legend(&area, place, &line.name, style)?;
    }
    area.present()?;
    Ok(())
}

/// Where an axis has numbers: 1, 2 and 5 of each power of ten, or 1 alone if that would be many.
fn ticks(range: &Range<f64>) -> Vec<f64> {
    let powers = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let steps: &[f64] = if (range.end / range.start).log10() > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all = powers.flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
    all.filter(|at| range.contains(at)).collect()
}

/// A name beside the chart, in the order of the lines.
fn legend(area: &Area<'_>, place: usize, name: &str, style: ShapeStyle) -> Done {
    let (x, y) = (PIXELS.0 as i32 - 185, 60 + 22 * place as i32);
    area.draw(&Circle::new((x, y), 5, style.filled()))?;
    area.draw(&Text::new(name.to_owned(), (x + 12, y - 7), ("sans-serif", 13)))?;
    Ok(())
}

/// 8000000 as 8 M.
fn short(number: f64) -> String {
    match number {
        1e9.. => format!("{} G", number / 1e9),
        1e6.. => format!("{} M", number / 1e6),
        1e3.. => format!("{} k", number / 1e3),
        1.0.. => format!("{number}"),
        // Powers of ten are not exact.
        _ => format!("{}", (number * 1e6).round() / 1e6),
    }
}

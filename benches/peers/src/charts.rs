//! Makes the charts from the record, and puts the tables into the documents.

use crate::figures::lines::{Chart, charts};
use crate::figures::{Record, filled};
use crate::note;
use crate::record::machine_path;
use plotters::coord::Shift;
use plotters::prelude::*;
use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Documents that have tables.
const DOCUMENTS: [&str; 3] = ["README.md", "docs/performance.md", "docs/limits.md"];
/// The record of another machine, beside the record.
const BEFORE: &str = "peers-before.csv";
const PIXELS: (u32, u32) = (860, 520);
/// Colours that most eyes can distinguish (Okabe and Ito), and black for nabar.
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

/// Makes charts and tables from a record.
pub(crate) fn write(record: &Path, root: &Path) {
    let read =
        |path: &Path| fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let open = |path: &Path| Record::read(&read(path), &read(&machine_path(path)));
    let (record, before) = (open(record), open(&record.with_file_name(BEFORE)));
    for name in DOCUMENTS {
        let path = root.join(name);
        let (document, without) = filled(&read(&path), &record, &before);
        for table in without {
            note(&format!("{name}: the record has nothing for {table}, which is left as it is"));
        }
        fs::write(&path, document).expect("written");
    }
    let directory = root.join("docs/charts");
    fs::create_dir_all(&directory).expect("a directory");
    for chart in charts(&record.rows) {
        let mut image = String::new();
        draw(&mut image, &chart).unwrap_or_else(|error| panic!("{}: {error}", chart.file));
        fs::write(directory.join(chart.file), format!("{}\n{}\n", image.trim_end(), chart.remark()))
            .expect("written");
    }
}

fn range(numbers: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    assert!(numbers.clone().all(|number| number > 0.0), "axes are logarithmic");
    let least = numbers.clone().fold(f64::MAX, f64::min);
    let most = numbers.fold(f64::MIN_POSITIVE, f64::max);
    least / 1.4..most * 1.4
}

/// Lines, or points alone, between axes that both are logarithmic.
fn draw(image: &mut String, about: &Chart) -> Done {
    let lines = &about.lines;
    let area: Area<'_> = SVGBackend::with_string(image, PIXELS).into_drawing_area();
    area.fill(&WHITE)?;
    let points = lines.iter().flat_map(|line| &line.points);
    let (x, y) = (range(points.clone().map(|point| point.0)), range(points.map(|point| point.1)));
    let mut chart = ChartBuilder::on(&area)
        .caption(&about.title, ("sans-serif", 18))
        .margin(12)
        .margin_right(190)
        .x_label_area_size(45)
        .y_label_area_size(70)
        .build_cartesian_2d(x.clone().log_scale(), y.clone().log_scale())?;
    // At least one label is required here; numbers and lines are drawn below instead.
    let none = |_: &f64| String::new();
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(0)
        .y_labels(0)
        .x_label_formatter(&none)
        .y_label_formatter(&none)
        .set_all_tick_mark_size(0)
        .x_desc(about.x)
        .y_desc(about.y)
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
        if about.joined {
            chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        }
        chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 4, style.filled())))?;
        legend(&area, place, &line.name, style)?;
    }
    area.present()?;
    Ok(())
}

/// The numbers of an axis: 1, 2 and 5 of each power of ten, or 1 alone if those would be many.
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

//! The plot of the growth: a column for each quantity, CPU time above, memory below.
//!
//! In: the curves. Out: an SVG picture as text.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::combinators::IntoLogRange;
use plotters::prelude::*;

use super::{Curve, Point};

const SIZE: (u32, u32) = (1200, 560);

/// A panel's title, and which of the columns are in it.
const ROWS: [(&str, &[usize]); 2] = [("% of one CPU", &[0, 1]), ("MiB", &[2, 3, 4])];
/// One for each column.
const COLOURS: [RGBColor; 5] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
];

/// Medians as lines, each with a bar from the smallest to the largest value.
pub fn plot(curves: &[Curve]) -> Result<String> {
    let mut text = String::new();
    draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), curves)
        .map_err(|error| anyhow!("cannot draw the plot: {error}"))?;
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Error<'a> = DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>;

fn draw<'a>(root: &Area<'a>, curves: &[Curve]) -> Result<(), Error<'a>> {
    root.fill(&WHITE)?;
    let panels = ROWS.iter().flat_map(|row| curves.iter().map(move |curve| (row, curve)));
    for ((row, curve), area) in panels.zip(&root.split_evenly((ROWS.len(), curves.len()))) {
        panel(area, curve, row)?;
    }
    root.present()
}

fn panel<'a>(area: &Area<'a>, curve: &Curve, (unit, columns): &(&str, &[usize])) -> Result<(), Error<'a>> {
    let (least, most) = curve.extent();
    let highest = columns
        .iter()
        .flat_map(|column| curve.points.iter().map(|point| point.costs[*column].spread().1))
        .fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d((least / 1.5..most * 1.5).log_scale(), 0.0..highest * 1.5)?;
    chart
        .configure_mesh()
        .x_desc(curve.quantity.name)
        .y_desc(*unit)
        .x_labels(5)
        .y_labels(6)
        .max_light_lines(1)
        .x_label_formatter(&|amount| format!("{amount:.0}"))
        .draw()?;
    for column in *columns {
        let colour = COLOURS[*column];
        let at = |point: &Point, value: f64| (point.amount.median(), value);
        let medians = curve.points.iter().map(|point| at(point, point.costs[*column].median()));
        let name = curve.points.first().map_or("", |point| point.costs[*column].name);
        chart
            .draw_series(LineSeries::new(medians, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 14, y)], colour.stroke_width(2)));
        chart.draw_series(curve.points.iter().map(|point| {
            let (smallest, largest) = point.costs[*column].spread();
            PathElement::new(vec![at(point, smallest), at(point, largest)], colour.stroke_width(4))
        }))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .draw()?;
    Ok(())
}

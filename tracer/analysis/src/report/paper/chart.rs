//! A figure as bars, in SVG: ours with its confidence interval and the range of the iterations, the paper's
//! below it. Hatching and outlines tell the two apart in print, too. plotters and its like draw no titles
//! that a screen reader finds, and no colours of the page's style: so it is drawn here.

use std::fmt::{Result, Write as _};

use crate::{
    paper::{
        figure::{Bar, Figure},
        question::digits,
    },
    report::html::escape,
};

/// Lengths in the picture's own units.
const WIDTH: f64 = 900.0;
const LEFT: f64 = 220.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 26.0;
const ROW: f64 = 34.0;
const THICKNESS: f64 = 11.0;
/// Half the length of the strokes that end an interval.
const STROKE: f64 = 4.0;
/// Lines of the scale, about.
const STEPS: f64 = 5.0;

/// Where values stand.
struct Scale {
    most: f64,
}

impl Scale {
    /// To the largest thing that is drawn.
    fn of(figure: &Figure) -> Self {
        let bars = figure.bars.iter();
        let ends = bars.flat_map(|bar| {
            let ours = bar.ours.as_ref().ok();
            [
                ours.map(|ours| ours.value),
                ours.and_then(|ours| ours.extremes).map(|(_, max)| max),
                ours.and_then(|ours| ours.interval).map(|(_, high)| high),
                bar.published,
            ]
        });
        let most = ends.flatten().fold(0.0, f64::max);
        Self {
            most: if most > 0.0 { most } else { 1.0 },
        }
    }

    /// What is left of zero, such as the end of a wide interval, is cut off there.
    fn x(&self, value: f64) -> f64 {
        LEFT + (value / self.most).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    /// Round numbers.
    fn marks(&self) -> Vec<f64> {
        let rough = self.most / STEPS;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|factor| factor * power)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        (0..=STEPS as u32)
            .map(|mark| f64::from(mark) * step)
            .filter(|mark| *mark <= self.most)
            .collect()
    }
}

/// The picture; it names what it shows for those who do not see it.
pub(super) fn render(figure: &Figure) -> std::result::Result<String, std::fmt::Error> {
    let mut out = String::new();
    let scale = Scale::of(figure);
    let height = TOP + ROW * figure.bars.len() as f64 + 8.0;
    let (key, title, unit) = (figure.key.key(), figure.key.title(), figure.key.unit());
    write!(
        out,
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{key}-title {key}-desc\"><title id=\"{key}-title\">{title}, {unit}</title><desc id=\"{key}-desc\">"
    )?;
    for bar in &figure.bars {
        write!(out, "{} ", escape(&words(figure, bar)))?;
    }
    write!(
        out,
        "</desc><defs><pattern id=\"{key}-hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><line class=\"hatch\" y2=\"5\"/></pattern></defs>"
    )?;
    for mark in scale.marks() {
        let x = scale.x(mark);
        write!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{height}\"/><text class=\"mark\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            TOP - 8.0,
            plain(mark)
        )?;
    }
    write!(
        out,
        "<text class=\"unit\" x=\"{WIDTH}\" y=\"{:.1}\">{unit}</text>",
        TOP - 8.0
    )?;
    for (index, bar) in figure.bars.iter().enumerate() {
        write_bar(&mut out, figure, bar, &scale, TOP + ROW * index as f64)?;
    }
    out.push_str("</svg>");
    Ok(out)
}

/// A mark of the scale without the zeros that a value's four digits may end in.
fn plain(mark: f64) -> String {
    let text = digits(mark);
    if text.contains('.') && !text.contains('e') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// A case in words.
fn words(figure: &Figure, bar: &Bar) -> String {
    let unit = figure.key.unit();
    let published = bar.published.map_or_else(
        || "the paper's not given".into(),
        |value| format!("the paper's {} {unit}", digits(value)),
    );
    let ours = match &bar.ours {
        Ok(ours) => {
            let interval = ours.interval.map_or_else(String::new, |(low, high)| {
                format!(", 95% {} to {}", digits(low), digits(high))
            });
            format!("{} {unit}{interval}", digits(ours.value))
        }
        Err(why) => why.clone(),
    };
    format!("{}: {ours}; {published}.", name(bar))
}

fn name(bar: &Bar) -> String {
    format!("{}, {}", bar.case.setup.name(), bar.case.load.name())
}

fn write_bar(out: &mut String, figure: &Figure, bar: &Bar, scale: &Scale, y: f64) -> Result {
    write!(
        out,
        "<g><title>{}</title><text class=\"case\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        escape(&words(figure, bar)),
        LEFT - 8.0,
        y + THICKNESS + 4.0,
        escape(&name(bar))
    )?;
    let mut end = LEFT;
    match &bar.ours {
        Ok(ours) => {
            let middle = y + 4.0 + THICKNESS / 2.0;
            write_rectangle(out, "ours", scale.x(ours.value), y + 4.0)?;
            if let Some((low, high)) = ours.extremes {
                let class = "range";
                end = end.max(write_span(out, class, scale, (low, high), middle)?);
            }
            if let Some((low, high)) = ours.interval {
                let class = "interval";
                end = end.max(write_span(out, class, scale, (low, high), middle)?);
            }
            end = end.max(scale.x(ours.value));
            write_value(out, end, y + 13.0, &digits(ours.value))?;
        }
        Err(why) => write_value(out, LEFT, y + 13.0, why)?,
    }
    if let Some(published) = bar.published {
        let x = scale.x(published);
        write_rectangle(out, "published", x, y + 4.0 + THICKNESS)?;
        write!(
            out,
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{THICKNESS}\" fill=\"url(#{}-hatch)\"/>",
            y + 4.0 + THICKNESS,
            x - LEFT,
            figure.key.key()
        )?;
        let text = format!("{} in the paper", digits(published));
        write_value(out, x, y + 13.0 + THICKNESS, &text)?;
    }
    out.push_str("</g>");
    Ok(())
}

fn write_rectangle(out: &mut String, class: &str, x: f64, y: f64) -> Result {
    write!(
        out,
        "<rect class=\"{class}\" x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{THICKNESS}\"/>",
        x - LEFT
    )
}

/// A line from one value to another, with strokes at its ends; gives back where it ends.
fn write_span(
    out: &mut String,
    class: &str,
    scale: &Scale,
    (low, high): (f64, f64),
    y: f64,
) -> std::result::Result<f64, std::fmt::Error> {
    let (low, high) = (scale.x(low), scale.x(high));
    write!(
        out,
        "<path class=\"{class}\" d=\"M{low:.1} {y:.1}H{high:.1}M{low:.1} {0:.1}v{1}M{high:.1} {0:.1}v{1}\"/>",
        y - STROKE,
        2.0 * STROKE
    )?;
    Ok(high)
}

fn write_value(out: &mut String, x: f64, y: f64, text: &str) -> Result {
    write!(
        out,
        "<text class=\"value\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
        x + 6.0,
        escape(text)
    )
}

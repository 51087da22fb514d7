//! Several charts as one SVG file, to be looked at alone.

use super::html::{STYLE, escape};
use super::ink::Ink;
use super::plots::{self, HEIGHT, Line, WIDTH, range_of};

/// A chart of one curve over things side by side.
#[derive(Clone, Debug)]
pub struct Panel {
    pub title: String,
    pub x_unit: String,
    pub y_unit: String,
    /// What stands at the x axis, and the value there.
    pub points: Vec<(String, f64)>,
}

/// Units above a chart, for its title.
const TITLE: u32 = 26;
const MARGIN: u32 = 12;
const COLUMNS: usize = 3;

/// `panels` in rows of three under `title`, in the colours of the day: not every program that shows SVG knows variables.
pub fn svg(title: &str, panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(COLUMNS) as u32;
    let columns = panels.len().clamp(1, COLUMNS) as u32;
    let (width, height) = (columns * WIDTH + 2 * MARGIN, rows * (HEIGHT + TITLE) + TITLE + 2 * MARGIN);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\">\n\
         <rect width=\"{width}\" height=\"{height}\" style=\"fill:var(--card)\"/>\n"
    );
    text(&mut svg, [MARGIN, MARGIN + 14], 15, title);
    for (i, panel) in panels.iter().enumerate() {
        let (column, row) = ((i % COLUMNS) as u32, (i / COLUMNS) as u32);
        let (x, y) = (MARGIN + column * WIDTH, MARGIN + TITLE + row * (HEIGHT + TITLE));
        text(&mut svg, [x + 54, y + 18], 13, &panel.title);
        let place = format!("<svg x=\"{x}\" y=\"{}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" ", y + TITLE);
        svg += &chart(panel).replacen("<svg ", &place, 1);
        svg.push('\n');
    }
    svg += "</svg>\n";
    colours().fold(svg, |svg, (name, colour)| svg.replace(&format!("var({name})"), colour))
}

fn chart(panel: &Panel) -> String {
    let places = panel.points.iter().enumerate();
    let points = places.map(|(i, &(_, y))| (i as f64 + 0.5, y)).collect();
    let line = Line { points, ink: Ink::Series(0), opacity: 1.0, width: 1.8, dots: true };
    let names: Vec<&str> = panel.points.iter().map(|(name, _)| name.as_str()).collect();
    let y_range = range_of(panel.points.iter().map(|p| p.1), true);
    plots::over_names(&panel.title, [&panel.x_unit, &panel.y_unit], &names, y_range, &line)
}

fn text(svg: &mut String, [x, y]: [u32; 2], size: u32, text: &str) {
    let text = escape(text);
    *svg +=
        &format!("<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" style=\"fill:var(--text)\">{text}</text>\n");
}

/// The variables of the page's style sheet with their colours, by day.
fn colours() -> impl Iterator<Item = (&'static str, &'static str)> {
    let day = STYLE.split_once("@media").map_or(STYLE, |(day, _)| day);
    day.split([';', '{', '}'])
        .filter_map(|line| line.split_once(": "))
        .map(|(name, colour)| (name.trim(), colour))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_has_its_place_and_colours() {
        let panel = |title: &str| Panel {
            title: title.into(),
            x_unit: "batch".into(),
            y_unit: "images/s".into(),
            points: vec![("8".into(), 3.0), ("16".into(), 4.0)],
        };
        let drawn = svg("a < b", &["one", "two", "three", "four"].map(panel));
        assert!(drawn.starts_with("<svg xmlns") && drawn.ends_with("</svg>\n"));
        assert_eq!(drawn.matches("<svg ").count(), 5);
        assert_eq!(drawn.matches("<circle").count(), 8);
        assert!(drawn.contains("a &lt; b") && drawn.contains("images/s"), "{drawn}");
        // The card, the curve, the grid: no variable is left.
        for colour in ["#ffffff", "#0072b2", "#dfe3e8"] {
            assert!(drawn.contains(&format!(":{colour}")), "{colour}: {drawn}");
        }
        assert!(!drawn.contains("var("), "{drawn}");
    }
}

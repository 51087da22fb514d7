//! The colours of charts: variables of the page's style sheet, for light and dark.

use plotters::style::RGBColor;

/// A colour by what it means; the style sheet says what it looks like, by day and by night.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Text,
    Grid,
    /// A series: 0 training steps, 1 test, 2 test top-5, 3 training epochs.
    Series(u8),
    /// A layer, by its place in the network.
    Layer(u8),
    /// Weights by size: 0 for zero, then ±1, ±2, ±4 ...
    Size(u8),
    /// A group of runs that are compared.
    Group(u8),
}

impl Ink {
    /// What stands for it in a drawing, until [`themed`].
    pub fn key(self) -> RGBColor {
        let (kind, number) = match self {
            Ink::Text => (0, 0),
            Ink::Grid => (1, 0),
            Ink::Series(n) => (2, n),
            Ink::Layer(n) => (3, n),
            Ink::Size(n) => (4, n),
            Ink::Group(n) => (5, n),
        };
        RGBColor(0xAB, kind, number)
    }

    /// Its variable in the style sheet.
    pub fn variable(self) -> String {
        match self {
            Ink::Text => "--muted".into(),
            Ink::Grid => "--grid".into(),
            Ink::Series(n) => format!("--series{n}"),
            Ink::Layer(n) => format!("--layer{n}"),
            Ink::Size(n) => format!("--size{n}"),
            Ink::Group(n) => format!("--group{n}"),
        }
    }

    /// How its lines are dashed, from 1; solid ones are not. Groups that share a colour are told apart by it.
    pub fn dash(self) -> Option<usize> {
        match self {
            Ink::Group(n) => Some(usize::from(n) / HUES % (DASHES.len() + 1)).filter(|dash| *dash > 0),
            _ => None,
        }
    }

    fn of_key(hex: &str) -> Option<Ink> {
        let number = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        match (number(0)?, number(2)?, number(4)?) {
            (0xAB, 0, 0) => Some(Ink::Text),
            (0xAB, 1, 0) => Some(Ink::Grid),
            (0xAB, 2, n) => Some(Ink::Series(n)),
            (0xAB, 3, n) => Some(Ink::Layer(n)),
            (0xAB, 4, n) => Some(Ink::Size(n)),
            (0xAB, 5, n) => Some(Ink::Group(n)),
            _ => None,
        }
    }
}

/// Puts the style sheet's variables in place of the keys of [`Ink`].
pub fn themed(drawing: &str) -> String {
    let mut themed = String::with_capacity(drawing.len());
    let mut rest = drawing;
    while let Some(at) = rest.find("=\"#AB") {
        let before = &rest[..at];
        let attribute = if before.ends_with("fill") { "fill" } else { "stroke" };
        match (rest.get(at + 3..at + 9).and_then(Ink::of_key), before.strip_suffix(attribute)) {
            (Some(ink), Some(before)) => {
                themed += &format!("{before}style=\"{attribute}:var({})", ink.variable());
                if let (Some(dash), "stroke") = (ink.dash(), attribute) {
                    themed += &format!(";stroke-dasharray:{}", DASHES[dash - 1]);
                }
                rest = &rest[at + 9..];
            }
            _ => {
                themed.push_str(&rest[..at + 3]);
                rest = &rest[at + 3..];
            }
        }
    }
    themed + rest
}

/// A scale from the first layer to the last: dark to light by hue too, readable by the colour-blind (after viridis).
const DEPTH: [[[u8; 3]; 4]; 2] = [
    [[0x3B, 0x2A, 0x86], [0x2A, 0x71, 0x8E], [0x2F, 0xA0, 0x6C], [0xA9, 0xB4, 0x10]],
    [[0x8F, 0x80, 0xF0], [0x3F, 0xA7, 0xC4], [0x4F, 0xCB, 0x86], [0xF0, 0xE4, 0x42]],
];

/// A scale from ±1 to the largest weight.
const SIZE: [[[u8; 3]; 3]; 2] = [
    [[0x8F, 0xC4, 0xE8], [0x00, 0x72, 0xB2], [0x08, 0x2B, 0x54]],
    [[0x2B, 0x5F, 0x8C], [0x56, 0xB4, 0xE9], [0xE3, 0xF3, 0xFF]],
];

/// The place `at` (0 to 1) on a scale, as #rrggbb.
fn mixed(scale: &[[u8; 3]], at: f64) -> String {
    let place = at.clamp(0.0, 1.0) * (scale.len() - 1) as f64;
    let (from, to) = (scale[place.floor() as usize], scale[place.ceil() as usize]);
    from.iter().zip(to).fold("#".into(), |hex, (&a, b)| {
        let value = f64::from(a) + place.fract() * (f64::from(b) - f64::from(a));
        hex + &format!("{:02x}", value.round() as u8)
    })
}

/// The style sheet's variables for `layers` layers and `sizes` sizes of weights, zero too: light, dark.
pub fn scales(layers: usize, sizes: usize) -> [String; 2] {
    [0, 1].map(|theme| {
        let mut css = String::new();
        let place = |i: usize, count: usize| i as f64 / count.saturating_sub(1).max(1) as f64;
        for i in 0..layers {
            let colour = mixed(&DEPTH[theme], place(i, layers));
            css += &format!("{}:{colour};", Ink::Layer(i as u8).variable());
        }
        for i in 1..sizes {
            let colour = mixed(&SIZE[theme], place(i - 1, sizes - 1));
            css += &format!("{}:{colour};", Ink::Size(i as u8).variable());
        }
        css
    })
}

const HUES: usize = 6;

/// Colours that are told apart at a glance, by the colour-blind too: light, dark.
const GROUPS: [[&str; HUES]; 2] = [
    ["#0a46c8", "#a03a00", "#18a06c", "#a0408e", "#1c232b", "#bd8f00"],
    ["#5b8cff", "#d0690f", "#2ee68c", "#d070a8", "#f2f7fa", "#f5e85a"],
];

/// Dashes, in quarters of a chart's unit, of groups beyond the colours: the second six, the third, the fourth.
const DASHES: [&str; 3] = ["28 22", "2 18", "28 18 2 18"];

/// The style sheet's variables for `groups` groups of runs: light, dark.
pub fn groups(groups: usize) -> [String; 2] {
    GROUPS.map(|hues| {
        (0..groups).map(|i| format!("{}:{};", Ink::Group(i as u8).variable(), hues[i % HUES])).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_variables() {
        let inks = [Ink::Text, Ink::Grid, Ink::Series(2), Ink::Layer(17), Ink::Size(0), Ink::Group(3)];
        for ink in inks {
            let RGBColor(r, g, b) = ink.key();
            let drawing = format!("<a stroke=\"none\" fill=\"#{r:02X}{g:02X}{b:02X}\"/><b/>");
            let wanted = format!("<a stroke=\"none\" style=\"fill:var({})\"/><b/>", ink.variable());
            assert_eq!(themed(&drawing), wanted);
        }
        // What is no key stays.
        let other = "<a stroke=\"#AB0900\" fill=\"#ABö\"/>";
        assert_eq!(themed(other), other);
    }

    #[test]
    fn scales_go_from_end_to_end() {
        let [light, dark] = scales(3, 4);
        assert!(light.starts_with("--layer0:#3b2a86;--layer1:#") && light.contains("--layer2:#a9b410;"));
        assert!(
            light.contains("--size1:#8fc4e8;--size2:#0072b2;--size3:#082b54;") && !light.contains("--size0")
        );
        assert!(dark.contains("--layer2:#f0e442;"));
        // A single layer, ternary weights, none at all.
        assert_eq!(scales(1, 2)[0], "--layer0:#3b2a86;--size1:#8fc4e8;");
        assert_eq!(scales(0, 0), [String::new(), String::new()]);
    }

    #[test]
    fn groups_are_told_apart() {
        assert_eq!(groups(2)[0], "--group0:#0a46c8;--group1:#a03a00;");
        for theme in groups(24) {
            let colours = theme.split_terminator(';').filter_map(|v| v.split_once(':')).map(|(_, c)| c);
            let looks: std::collections::BTreeSet<_> =
                colours.enumerate().map(|(i, colour)| (colour, Ink::Group(i as u8).dash())).collect();
            assert_eq!(looks.len(), 24, "{theme}");
        }
        let RGBColor(r, g, b) = Ink::Group(7).key();
        let drawing = format!("<a stroke=\"#{r:02X}{g:02X}{b:02X}\"/><b fill=\"#{r:02X}{g:02X}{b:02X}\"/>");
        let wanted =
            "<a style=\"stroke:var(--group7);stroke-dasharray:28 22\"/><b style=\"fill:var(--group7)\"/>";
        assert_eq!(themed(&drawing), wanted);
    }

    /// What the eye makes of a colour: linear light, through `seen`, as CIE L*a*b*.
    fn lab(hex: &str, seen: &[[f64; 3]; 3]) -> [f64; 3] {
        let rgb = [1, 3, 5].map(|at| {
            let value = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).expect("#rrggbb")) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        let times = |rows: &[[f64; 3]; 3], v: [f64; 3]| {
            rows.map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum::<f64>().clamp(0.0, 1.0))
        };
        // sRGB to XYZ, relative to the white of D65.
        let white = [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8728]];
        let root = |t: f64| if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
        let [x, y, z] = times(&white, times(seen, rgb)).map(root);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// The dichromats' by Machado, Oliveira and Fernandes, A Physiologically-based Model for Simulation of Color Vision
    /// Deficiency (2009), severity 1.
    #[test]
    fn every_eye_tells_the_hues_apart() {
        let eyes = [
            [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
            [
                [0.152286, 1.052583, -0.204868],
                [0.114503, 0.786281, 0.099216],
                [-0.003882, -0.048116, 1.051998],
            ],
            [
                [0.367322, 0.860646, -0.227968],
                [0.280085, 0.672501, 0.047413],
                [-0.011820, 0.042940, 0.968881],
            ],
        ];
        for (hues, eye) in GROUPS.iter().flat_map(|hues| eyes.iter().map(move |eye| (hues, eye))) {
            for (i, one) in hues.iter().enumerate() {
                for other in &hues[..i] {
                    let squares =
                        lab(one, eye).into_iter().zip(lab(other, eye)).map(|(a, b)| (a - b).powi(2));
                    let distance = squares.sum::<f64>().sqrt();
                    // 2.3 can just be seen, side by side.
                    assert!(distance > 25.0, "{one} and {other} are {distance:.1} apart for {eye:?}");
                }
            }
        }
    }
}

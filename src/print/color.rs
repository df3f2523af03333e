//! Colours: ripgrep's `--colors` specifications, and the escape sequences that they stand for.
//!
//! Whether colours are wanted at all is the caller's decision; with [`Colors::off`] every
//! sequence is empty, so the printers need no second path.

use std::str::FromStr;

/// A `--colors` value that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColorError {
    /// The part that is coloured is unknown.
    #[error("unrecognized output type '{0}'. Choose from: path, line, column, match, highlight.")]
    Target(String),
    /// The second field is unknown.
    #[error("unrecognized spec type '{0}'. Choose from: fg, bg, style, none.")]
    Kind(String),
    /// The colour is neither a name nor numbers.
    #[error(
        "unrecognized color name '{0}'. Choose from: black, blue, green, red, cyan, magenta, \
         yellow, white"
    )]
    Name(String),
    /// A number is not in 0..=255, or there are neither one nor three of them.
    #[error(
        "unrecognized color value '{0}', should be one number or three numbers separated by \
         commas, each 0-255 or 0x0-0xFF"
    )]
    Number(String),
    /// The style is unknown.
    #[error(
        "unrecognized style attribute '{0}'. Choose from: nobold, bold, nointense, intense, \
         nounderline, underline, noitalic, italic."
    )]
    Style(String),
    /// There are not two or three fields.
    #[error(
        "invalid color spec format: '{0}'. Valid format is \
         '(path|line|column|match|highlight):(fg|bg|style):(value)'."
    )]
    Format(String),
}

/// One `--colors` value, such as `match:fg:0,128,255`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColorSpec {
    target: Target,
    change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Path,
    Line,
    Column,
    Match,
    Highlight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Clear,
    Foreground(Color),
    Background(Color),
    Bold(bool),
    Intense(bool),
    Underline(bool),
    Italic(bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Color {
    /// 0..=7: black, red, green, yellow, blue, magenta, cyan, white.
    Named(u8),
    Ansi256(u8),
    Rgb(u8, u8, u8),
}

impl FromStr for ColorSpec {
    type Err = ColorError;

    fn from_str(text: &str) -> Result<Self, ColorError> {
        let fields: Vec<&str> = text.split(':').collect();
        let (target, kind, value) = match fields[..] {
            [target, kind] => (target, kind, None),
            [target, kind, value] => (target, kind, Some(value)),
            _ => return Err(ColorError::Format(text.to_owned())),
        };
        let target = match &*target.to_lowercase() {
            "path" => Target::Path,
            "line" => Target::Line,
            "column" => Target::Column,
            "match" => Target::Match,
            "highlight" => Target::Highlight,
            _ => return Err(ColorError::Target(target.to_owned())),
        };
        let value = || value.ok_or_else(|| ColorError::Format(text.to_owned()));
        let change = match &*kind.to_lowercase() {
            "none" => Change::Clear,
            "fg" => Change::Foreground(value()?.parse()?),
            "bg" => Change::Background(value()?.parse()?),
            "style" => style(value()?)?,
            _ => return Err(ColorError::Kind(kind.to_owned())),
        };
        Ok(Self { target, change })
    }
}

fn style(name: &str) -> Result<Change, ColorError> {
    Ok(match &*name.to_lowercase() {
        "bold" => Change::Bold(true),
        "nobold" => Change::Bold(false),
        "intense" => Change::Intense(true),
        "nointense" => Change::Intense(false),
        "underline" => Change::Underline(true),
        "nounderline" => Change::Underline(false),
        "italic" => Change::Italic(true),
        "noitalic" => Change::Italic(false),
        _ => return Err(ColorError::Style(name.to_owned())),
    })
}

impl FromStr for Color {
    type Err = ColorError;

    fn from_str(text: &str) -> Result<Self, ColorError> {
        const NAMES: [&str; 8] = [
            "black", "red", "green", "yellow", "blue", "magenta", "cyan", "white",
        ];
        let lower = text.to_lowercase();
        if let Some(index) = (0..8).find(|&i| NAMES[usize::from(i)] == lower) {
            return Ok(Self::Named(index));
        }
        let numbers: Vec<Option<u8>> = text.split(',').map(number).collect();
        match numbers[..] {
            [Some(n)] => Ok(Self::Ansi256(n)),
            [Some(r), Some(g), Some(b)] => Ok(Self::Rgb(r, g, b)),
            // Words are taken for names, as long as nothing in them looks like a number.
            [None] if !text.starts_with(|c: char| c.is_ascii_digit()) => {
                Err(ColorError::Name(text.to_owned()))
            }
            _ => Err(ColorError::Number(text.to_owned())),
        }
    }
}

/// 0-255, or 0x0-0xFF.
fn number(text: &str) -> Option<u8> {
    match text.strip_prefix("0x") {
        Some(hex) => u8::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The attributes of one target.
#[derive(Debug, Clone, Copy, Default)]
struct Attributes {
    foreground: Option<Color>,
    background: Option<Color>,
    bold: bool,
    intense: bool,
    underline: bool,
    italic: bool,
}

impl Attributes {
    fn apply(&mut self, change: Change) {
        match change {
            Change::Clear => *self = Self::default(),
            Change::Foreground(color) => self.foreground = Some(color),
            Change::Background(color) => self.background = Some(color),
            Change::Bold(yes) => self.bold = yes,
            Change::Intense(yes) => self.intense = yes,
            Change::Underline(yes) => self.underline = yes,
            Change::Italic(yes) => self.italic = yes,
        }
    }

    fn is_none(&self) -> bool {
        self.foreground.is_none()
            && self.background.is_none()
            && !(self.bold || self.intense || self.underline || self.italic)
    }

    /// In ripgrep's order; each begins with a reset.
    fn sequence(&self) -> Vec<u8> {
        let mut out = RESET.to_vec();
        for (set, code) in [(self.bold, 1), (self.italic, 3), (self.underline, 4)] {
            if set {
                out.extend_from_slice(format!("\x1b[{code}m").as_bytes());
            }
        }
        for (color, layer) in [(self.foreground, 3), (self.background, 4)] {
            let Some(color) = color else { continue };
            let code = match color {
                Color::Named(n) if self.intense => format!("\x1b[{layer}8;5;{}m", n + 8),
                Color::Named(n) => format!("\x1b[{layer}{n}m"),
                Color::Ansi256(n) => format!("\x1b[{layer}8;5;{n}m"),
                Color::Rgb(r, g, b) => format!("\x1b[{layer}8;2;{r};{g};{b}m"),
            };
            out.extend_from_slice(code.as_bytes());
        }
        out
    }
}

const RESET: &[u8] = b"\x1b[0m";

/// What is written before a coloured piece.
#[derive(Debug, Clone, Default)]
pub(super) struct Style {
    /// The escape sequences; empty when colours are off.
    pub(super) start: Vec<u8>,
    /// No attribute is set.
    pub(super) none: bool,
}

/// The escape sequences of every coloured part of the output.
#[derive(Debug, Clone)]
pub struct Colors {
    pub(super) on: bool,
    pub(super) path: Style,
    pub(super) line: Style,
    pub(super) column: Style,
    pub(super) matched: Style,
    pub(super) highlight: Style,
    /// Written behind a coloured piece.
    pub(super) reset: &'static [u8],
}

impl Colors {
    /// No colours.
    pub fn off() -> Self {
        let none = Style {
            start: Vec::new(),
            none: true,
        };
        Self {
            on: false,
            path: none.clone(),
            line: none.clone(),
            column: none.clone(),
            matched: none.clone(),
            highlight: none,
            reset: b"",
        }
    }

    /// ripgrep's colours (path magenta, line number green, match bold red), changed by `specs`
    /// in their order.
    pub fn on(specs: &[ColorSpec]) -> Self {
        let [path, line, column, matched, highlight] = [
            (Target::Path, &[Change::Foreground(Color::Named(5))][..]),
            (Target::Line, &[Change::Foreground(Color::Named(2))]),
            (Target::Column, &[]),
            (
                Target::Match,
                &[Change::Foreground(Color::Named(1)), Change::Bold(true)],
            ),
            (Target::Highlight, &[]),
        ]
        .map(|(target, defaults)| {
            let mut attributes = Attributes::default();
            let asked = specs.iter().filter(|spec| spec.target == target);
            for &change in defaults.iter().chain(asked.map(|spec| &spec.change)) {
                attributes.apply(change);
            }
            Style {
                start: attributes.sequence(),
                none: attributes.is_none(),
            }
        });
        Self {
            on: true,
            path,
            line,
            column,
            matched,
            highlight,
            reset: RESET,
        }
    }

    /// Whether anything is coloured.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Appends `bytes` in the colour of paths.
    pub(super) fn put_path(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        out.extend_from_slice(&self.path.start);
        out.extend_from_slice(bytes);
        out.extend_from_slice(self.reset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(target: fn(&Colors) -> &Style, specs: &[&str]) -> String {
        let specs: Vec<ColorSpec> = specs
            .iter()
            .map(|spec| spec.parse().expect("the test's spec is valid"))
            .collect();
        String::from_utf8(target(&Colors::on(&specs)).start.clone()).expect("escapes are ASCII")
    }

    #[test]
    fn defaults() {
        assert_eq!(start(|c| &c.path, &[]), "\x1b[0m\x1b[35m");
        assert_eq!(start(|c| &c.line, &[]), "\x1b[0m\x1b[32m");
        assert_eq!(start(|c| &c.column, &[]), "\x1b[0m");
        assert_eq!(start(|c| &c.matched, &[]), "\x1b[0m\x1b[1m\x1b[31m");
        assert!(Colors::on(&[]).highlight.none);
    }

    #[test]
    fn specs_apply_in_order() {
        let matched = |specs: &[&str]| start(|c| &c.matched, specs);
        assert_eq!(matched(&["match:none"]), "\x1b[0m");
        assert_eq!(matched(&["match:none", "match:bg:blue"]), "\x1b[0m\x1b[44m");
        assert_eq!(
            matched(&["match:style:nobold", "match:fg:0x7F", "match:bg:1,0,255"]),
            "\x1b[0m\x1b[38;5;127m\x1b[48;2;1;0;255m"
        );
        assert_eq!(
            matched(&[
                "Match:STYLE:Intense",
                "match:style:underline",
                "match:style:italic"
            ]),
            "\x1b[0m\x1b[1m\x1b[3m\x1b[4m\x1b[38;5;9m"
        );
    }

    #[test]
    fn bad_specs_say_what_is_wrong() {
        let error = |spec: &str| spec.parse::<ColorSpec>().expect_err("the spec is bad");
        assert_eq!(error("match"), ColorError::Format("match".into()));
        assert_eq!(error("match:fg"), ColorError::Format("match:fg".into()));
        assert_eq!(error("a:fg:red"), ColorError::Target("a".into()));
        assert_eq!(error("line:x:red"), ColorError::Kind("x".into()));
        assert_eq!(error("line:fg:rd"), ColorError::Name("rd".into()));
        assert_eq!(error("line:fg:256"), ColorError::Number("256".into()));
        assert_eq!(error("line:fg:1,2"), ColorError::Number("1,2".into()));
        assert_eq!(error("line:style:x"), ColorError::Style("x".into()));
    }
}

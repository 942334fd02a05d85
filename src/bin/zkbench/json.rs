//! What `--json` prints: values built by hand, written on one line.

use std::fmt::{self, Display, Formatter, Write};

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Whole(u64),
    Real(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    pub fn text(text: impl Into<String>) -> Json {
        Json::Text(text.into())
    }

    /// A figure that may not have been taken.
    pub fn maybe(figure: Option<f64>) -> Json {
        figure.map_or(Json::Null, Json::Real)
    }
}

impl Display for Json {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Whole(n) => write!(f, "{n}"),
            // JSON knows no infinity; a figure over nothing is no figure.
            Json::Real(n) if !n.is_finite() => f.write_str("null"),
            Json::Real(n) => write!(f, "{}", (n * 1e6).round() / 1e6),
            Json::Text(text) => quoted(f, text),
            Json::List(items) => {
                f.write_char('[')?;
                for (n, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if n > 0 { ", " } else { "" })?;
                }
                f.write_char(']')
            }
            Json::Object(fields) => {
                f.write_char('{')?;
                for (n, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}\"{name}\": {value}", if n > 0 { ", " } else { "" })?;
                }
                f.write_char('}')
            }
        }
    }
}

fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_by_another_reader() {
        let json = Json::Object(vec![
            ("name", Json::text("a \"quoted\"\n\\ name")),
            ("list", Json::List(vec![Json::Whole(u64::MAX), Json::Real(0.25), Json::Null])),
            ("nothing", Json::Real(f64::NAN)),
        ]);
        let read: serde_json::Value = serde_json::from_str(&json.to_string()).expect("it is JSON");
        assert_eq!(read["name"], "a \"quoted\"\n\\ name");
        assert_eq!(read["list"][0], u64::MAX);
        assert_eq!(read["list"][1], 0.25);
        assert!(read["list"][2].is_null() && read["nothing"].is_null());
    }
}

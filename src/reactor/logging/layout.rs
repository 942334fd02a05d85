//! How a line looks: Apache's layout, or the journal's.

use std::fmt::Write;
use std::thread;

use log::{Level, Record};

use crate::base::WallMillis;
use crate::base::limits::LOG_LINE_BYTES;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `%d{ISO8601} [myid:N] - LEVEL [thread:class@line] - msg`, times in UTC.
    Apache { my_id: String },
    /// A priority in front; the journal itself knows when and who.
    Journal,
}

impl Layout {
    /// One line with its end, no longer than a pipe takes at once, without control characters:
    /// a path that a client chose must not write lines of its own.
    pub fn line(&self, record: &Record<'_>, wall: WallMillis) -> Box<[u8]> {
        let mut head = String::with_capacity(160);
        let class = record.target().rsplit("::").next().unwrap_or_default();
        let written = match self {
            Layout::Apache { my_id } => {
                let current = thread::current();
                let thread = current.name().unwrap_or("-");
                let (level, line) = (record.level(), record.line().unwrap_or(0));
                let time = Timestamp(wall);
                write!(head, "{time} [myid:{my_id}] - {level:<5} [{thread}:{class}@{line}] - ")
            }
            Layout::Journal => write!(head, "<{}>{class}: ", priority(record.level())),
        };
        assert!(written.is_ok(), "a string takes what is written to it");
        let mut line = Bounded { text: head };
        // It fails where the line is full, and the rest is left out.
        let _ = line.write_fmt(*record.args());
        line.text.push('\n');
        line.text.into_bytes().into_boxed_slice()
    }

    pub fn dropped(&self, count: u64, wall: WallMillis) -> Box<[u8]> {
        let args = format_args!("{count} log lines were dropped: nothing took them in time");
        let record = Record::builder().level(Level::Warn).target("log").args(args).build();
        self.line(&record, wall)
    }
}

/// Text up to a bound, control characters written as escapes.
struct Bounded {
    text: String,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for c in text.chars() {
            if self.text.len() + CUT.len() + ESCAPE_BYTES > LOG_LINE_BYTES {
                self.text.push_str(CUT);
                return Err(std::fmt::Error);
            }
            match c {
                '\t' => self.text.push(c),
                c if c.is_control() => self.text.extend(c.escape_default()),
                c => self.text.push(c),
            }
        }
        Ok(())
    }
}

/// `2026-02-11 20:15:00,123`
struct Timestamp(WallMillis);

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.0.0;
        let (days, in_day) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
        let (year, month, day) = civil(days);
        let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
        let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02},{milli:03}")
    }
}

/// Year, month, day of a day since 1970 (years counted from March, so that a leap day is last).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Those of syslog.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

const CUT: &str = " ... (cut)";

/// The longest escape, and the line's end.
const ESCAPE_BYTES: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(layout: &Layout, args: std::fmt::Arguments<'_>) -> String {
        let record = Record::builder()
            .level(Level::Info)
            .target("zkd::reactor::door")
            .line(Some(7))
            .args(args)
            .build();
        let line = layout.line(&record, WallMillis(1_770_840_900_123));
        String::from_utf8(line.into_vec()).unwrap()
    }

    #[test]
    fn apaches_layout_has_time_id_level_thread_class_and_line() {
        let layout = Layout::Apache { my_id: "3".to_owned() };
        let text = line(&layout, format_args!("binding to port {}", 2181));
        let (head, rest) = text.split_once(" [layout").unwrap_or(text.split_once(" [").unwrap());
        assert!(head.starts_with("2026-02-11 20:15:00,123"), "{text}");
        assert!(rest.ends_with(":door@7] - binding to port 2181\n"), "{text}");
        assert!(text.contains(" [myid:3] - INFO  ["), "{text}");
    }

    #[test]
    fn the_journal_gets_a_priority_and_no_time() {
        assert_eq!(line(&Layout::Journal, format_args!("hello")), "<6>door: hello\n");
    }

    #[test]
    fn what_a_client_chose_cannot_start_a_line_of_its_own() {
        let text = line(&Layout::Journal, format_args!("path {}", "/a\n<0>b\x1b[2J"));
        assert_eq!(text, "<6>door: path /a\\n<0>b\\u{1b}[2J\n");
    }

    #[test]
    fn a_line_is_cut_where_a_pipe_would_not_take_it_at_once() {
        let text = line(&Layout::Journal, format_args!("{}", "\u{e4}\n".repeat(5000)));
        assert!(text.len() <= LOG_LINE_BYTES && text.ends_with(" ... (cut)\n"), "{}", text.len());
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(-1), (1969, 12, 31));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(47_540), (2100, 2, 28));
        assert_eq!(civil(47_541), (2100, 3, 1));
    }
}

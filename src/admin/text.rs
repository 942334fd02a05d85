//! Numbers, dates and addresses in Java's spelling.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};

use crate::base::WallMillis;

/// A double as Java prints it: at least one decimal, and an exponent outside 0.001 to 10^7.
pub(super) struct Double(pub f64);

impl Display for Double {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let value = self.0;
        if !value.is_finite() {
            return f.write_str(if value.is_nan() {
                "NaN"
            } else if value > 0.0 {
                "Infinity"
            } else {
                "-Infinity"
            });
        }
        if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
            return if value.fract() == 0.0 {
                write!(f, "{value:.1}")
            } else {
                write!(f, "{value}")
            };
        }
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').expect("exponent form has an exponent");
        let point = if digits.contains('.') { "" } else { ".0" };
        write!(f, "{digits}{point}E{exponent}")
    }
}

/// A mean with four decimals, halves rounded up, as Java rounds its averages.
pub(super) fn rounded(mean: f64) -> Double {
    Double((mean * 1e4 + 0.5).floor() / 1e4)
}

/// A moment as `java.util.Date` prints it, in UTC.
pub(super) struct Date(pub WallMillis);

impl Display for Date {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let seconds = self.0.0.div_euclid(1000);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let weekday = WEEKDAYS[days.rem_euclid(7) as usize];
        let month = MONTHS[month];
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
    }
}

/// Year, month (0 to 11) and day of a day counted from 1970: years begin in March here, so that
/// the leap day is a year's last.
fn civil(days: i64) -> (i64, usize, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12;
    let year = era * 400 + year_of_era + i64::from(month < 2);
    (year, month as usize, day)
}

/// An address as Java prints a socket address: `/1.2.3.4:5`, `/[0:0:0:0:0:0:0:1]:5`.
pub(super) struct Address(pub SocketAddr);

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let port = self.0.port();
        match self.0.ip() {
            IpAddr::V4(ip) => write!(f, "/{ip}:{port}"),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => write!(f, "/{ip}:{port}"),
                None => {
                    let groups = ip.segments().map(|group| format!("{group:x}"));
                    write!(f, "/[{}]:{port}", groups.join(":"))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_read_as_java_writes_them() {
        let cases = [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.932, "0.932"),
            (41.6667, "41.6667"),
            (0.001, "0.001"),
            (0.0004, "4.0E-4"),
            (1234567.0, "1234567.0"),
            (12345678.0, "1.2345678E7"),
            (1e10, "1.0E10"),
            (-2.5, "-2.5"),
        ];
        for (value, text) in cases {
            assert_eq!(Double(value).to_string(), text);
        }
    }

    #[test]
    fn halves_round_up_at_four_decimals() {
        assert_eq!(rounded(1.0 / 32.0).to_string(), "0.0313");
        assert_eq!(rounded(125.0 / 3.0).to_string(), "41.6667");
        assert_eq!(rounded(1360.0 / 135.0).to_string(), "10.0741");
    }

    #[test]
    fn dates_read_as_java_writes_them() {
        let date = |s: i64| Date(WallMillis(s * 1000)).to_string();
        assert_eq!(date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(date(951_827_696), "Tue Feb 29 12:34:56 UTC 2000");
        assert_eq!(date(1_795_229_132), "Sat Nov 21 02:45:32 UTC 2026");
        assert_eq!(date(-1), "Wed Dec 31 23:59:59 UTC 1969");
    }

    #[test]
    fn addresses_read_as_java_writes_them() {
        let address = |s: &str| Address(s.parse().unwrap()).to_string();
        assert_eq!(address("127.0.0.1:5"), "/127.0.0.1:5");
        assert_eq!(address("[::1]:5"), "/[0:0:0:0:0:0:0:1]:5");
        assert_eq!(address("[::ffff:1.2.3.4]:5"), "/1.2.3.4:5");
    }
}

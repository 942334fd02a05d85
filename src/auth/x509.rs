//! The names that certificates give: what an ACL of the scheme `x509` may hold.

/// Whether Java would take this as the name of somebody: attributes `type=value`, parted by
/// commas or semicolons, several of one level by plus signs. An empty name is one too.
pub fn is_valid(name: &str) -> bool {
    let mut rest = name.trim_start();
    if rest.is_empty() {
        return true;
    }
    loop {
        let Some(behind) = attribute(rest) else { return false };
        let Some(next) = behind.strip_prefix([',', ';', '+']) else { return behind.is_empty() };
        rest = next.trim_start();
    }
}

/// What follows one `type=value`.
fn attribute(text: &str) -> Option<&str> {
    let (kind, value) = text.split_once('=')?;
    if !is_type(kind.trim()) {
        return None;
    }
    let value = value.trim_start();
    if let Some(hex) = value.strip_prefix('#') {
        return encoded(hex);
    }
    match value.strip_prefix('"') {
        Some(quoted) => quoted_value(quoted),
        None => plain_value(value),
    }
}

fn is_type(kind: &str) -> bool {
    let oid = ["OID.", "oid."].iter().find_map(|prefix| kind.strip_prefix(prefix)).unwrap_or(kind);
    if oid.starts_with(|c: char| c.is_ascii_digit()) {
        let arcs = oid.split('.');
        return oid.contains('.')
            && arcs.clone().all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()))
            && arcs.take(1).all(|root| matches!(root, "0" | "1" | "2"));
    }
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(kind))
}

/// Pairs of hexadecimal digits: the value as it is encoded.
fn encoded(hex: &str) -> Option<&str> {
    let end = hex.find([',', ';', '+']).unwrap_or(hex.len());
    let (digits, behind) = hex.split_at(end);
    let digits = digits.trim_end();
    let whole = !digits.is_empty()
        && digits.len() % 2 == 0
        && digits.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then_some(behind)
}

fn quoted_value(text: &str) -> Option<&str> {
    let mut escaped = false;
    let end = text.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    let behind = text.split_at(end + 1).1.trim_start();
    let parted = behind.is_empty() || behind.starts_with([',', ';', '+']);
    parted.then_some(behind)
}

fn plain_value(text: &str) -> Option<&str> {
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            ',' | ';' | '+' => return Some(text.split_at(at).1),
            '\\' => {
                let (_, escaped) = rest.next()?;
                let is_pair = escaped.is_ascii_hexdigit()
                    && rest.next().is_some_and(|(_, low)| low.is_ascii_hexdigit());
                if !is_pair && !ESCAPED.contains(escaped) {
                    return None;
                }
            }
            '"' | '<' | '>' => return None,
            _ => {}
        }
    }
    Some("")
}

const ESCAPED: &str = ",=+<>#;\\\" ";

const KEYWORDS: [&str; 28] = [
    "CN",
    "C",
    "L",
    "S",
    "ST",
    "O",
    "OU",
    "T",
    "IP",
    "STREET",
    "DC",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAIL",
    "EMAILADDRESS",
    "UID",
    "SERIALNUMBER",
    "SN",
    "TITLE",
    "COUNTRY",
    "STATE",
    "LOCALITY",
    "ORGANIZATION",
    "UNIT",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_and_machines_are_valid() {
        for name in [
            "",
            "CN=zookeeper",
            "cn=a, ou = b+l=c;O=d",
            "CN=a\\,b\\2C,OU=\"x, y\"",
            "1.2.840.113549.1.9.1=#16036162",
            "OID.1.2.3=x",
            "CN=",
        ] {
            assert!(is_valid(name), "{name}");
        }
    }

    #[test]
    fn what_names_nobody_is_not() {
        for name in ["bob", "=a", "XYZ=a", "CN=a,", "CN=\"a", "CN=#1", "3.1=a", "CN=a\\", "1=a"] {
            assert!(!is_valid(name), "{name}");
        }
    }
}

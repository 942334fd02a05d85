//! Who clients say they are, and the file that knows.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use zkd::auth::{LoginFile, Password, SaslAnswer, SaslExchange, SaslFailure, SaslServer};
use zkd::base::Instant;

use crate::planted;

/// The login file that an operator wrote.
pub fn jaas(data: &[u8]) {
    let property = |name: &str| (name == "name").then(|| "value".to_owned());
    let parse = |text: &[u8]| LoginFile::parse(text, &property);
    let file = match parse(data) {
        Ok(file) => file,
        Err(error) => {
            let lines = data.iter().filter(|b| matches!(b, b'\n' | b'\r')).count();
            assert!((1..=lines + 1).contains(&error.line), "{error}");
            return;
        }
    };
    let longer = [data, b"\n/* a comment */ // and one more\n"].concat();
    assert_eq!(parse(&longer).as_ref(), Ok(&file), "comments say nothing");
    for name in file.section_names() {
        let modules = file.section(name).unwrap_or_default();
        LoginFile::users(modules).values().for_each(|value| planted(value.0.as_bytes()));
    }
}

/// What a client answers to the first challenge of a server whose seed is known.
pub fn sasl(data: &[u8]) {
    let users = BTreeMap::from([("bob".to_owned(), Password("secret".to_owned()))]);
    let mut server = SaslServer::new(&users, [0; 32]);
    let (mut exchange, from) = (SaslExchange::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let first = server.answer(&mut exchange, b"", from, Instant(0));
    assert!(matches!(first, SaslAnswer::Challenge(_)));
    let answer = server.answer(&mut exchange, data, from, Instant(0));
    let is_response = match answer {
        SaslAnswer::Challenge(_) => unreachable!("one challenge is enough"),
        SaslAnswer::Proved { user, .. } => {
            assert_eq!(user, "bob", "nobody else can");
            true
        }
        SaslAnswer::Failed(why) => why != SaslFailure::BadToken,
        SaslAnswer::Broken => false,
    };
    if is_response {
        planted(data);
    }
    let again = server.answer(&mut exchange, data, from, Instant(0));
    assert_eq!(again, SaslAnswer::Failed(SaslFailure::BadToken), "nobody proves himself twice");
}

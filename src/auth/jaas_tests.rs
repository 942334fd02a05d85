//! Files as deployments have them, and as they are damaged.

use proptest::prelude::*;

use super::{LoginFile, LoginFileError, Password};

fn parse(text: &str) -> Result<LoginFile, LoginFileError> {
    let property = |name: &str| match name {
        "name" => Some("value".to_owned()),
        "empty" => Some(String::new()),
        _ => None,
    };
    LoginFile::parse(text.as_bytes(), &property)
}

/// The value of the one option in a file.
fn value(written: &str) -> String {
    let file = parse(&format!("S {{ m.M required o={written}; }};")).expect(written);
    file.section("S").expect("the section")[0].options["o"].0.clone()
}

fn reason(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

#[test]
fn sections_modules_and_options_are_read() {
    let file = parse(
        "/* for all */ Server { // the server's\n\
         \torg.apache.zookeeper.server.auth.DigestLoginModule required\n\
         \tuser_super=\"adminsecret\"\n\tuser_bob=bob; m.M OPTIONAL user_bob=\"later\";\n};\n\
         Client{c.C sufficient username=bob password=\"a b\";};\n\"Odd one\" { };",
    )
    .expect("a sound file");
    let server = file.section("Server").expect("the section");
    assert_eq!(server.len(), 2);
    assert_eq!(server[0].class, "org.apache.zookeeper.server.auth.DigestLoginModule");
    assert_eq!((server[0].line, server[1].line), (2, 4));
    let users = LoginFile::users(server);
    assert_eq!(users["super"], Password("adminsecret".to_owned()));
    assert_eq!(users["bob"], Password("later".to_owned()), "the last module counts");
    let client = file.section("Client").expect("the section");
    assert_eq!(client[0].options["password"].0, "a b");
    assert!(LoginFile::users(client).is_empty());
    assert!(file.section("Odd one").is_none(), "an empty section is as none");
    assert!(file.section("Other").is_none());
    assert_eq!(file.section_names().collect::<Vec<_>>(), ["Client", "Odd one", "Server"]);
    assert!(!format!("{file:?}").contains("secret"));
    assert_eq!(parse(""), Ok(LoginFile::default()));
}

#[test]
fn values_are_what_java_reads() {
    let cases = [
        ("true", "true"),
        ("a.b-c*d$e_f9", "a.b-c*d$e_f9"),
        ("-x", "-x"),
        ("pässwörd", "pässwörd"),
        ("\"\"", ""),
        ("\"a;b=c}// # '\"", "a;b=c}// # '"),
        (r#""q\"\\\n\t\q""#, "q\"\\\n\tq"),
        (r#""\101\0\3777\4777""#, "A\0\u{ff}7'77"),
        ("\"ends with the line\n", "ends with the line"),
        ("\"${name}/${/}${{name}}$name${name\"", "value//${{name}}$name${name"),
    ];
    for (written, read) in cases {
        assert_eq!(value(written), read, "{written}");
    }
}

#[test]
fn what_java_refuses_is_refused_with_its_line_and_without_values() {
    let cases = [
        ("Server {\n m.M required\n user_a=hush\n", "line 4: an option or ; expected"),
        ("Server {\n m.M required\n user_a hush; };", "line 3: = expected, a word found"),
        ("Server {\n m.M required\n user_a=1234; };", "a number without quotes found"),
        ("Server {\n m.M required user_a='hush'; };", "line 2: a value"),
        ("Server {\n m.M needed; };", "line 2: a module's flag"),
        ("Server { m.M required; }", "; expected, the end of the file found"),
        ("Server m.M required; };", "{ expected"),
        ("= { };", "the name of a section expected, = found"),
        ("# Server { };", "the name of a section expected, # found"),
        ("Server { };\nServer { };", "line 2: the section Server is there twice"),
        ("Server {\n m.M required u=\"${hidden}\"; };", "line 2: u: there is no system property"),
        ("Server { m.M required u=\"${empty}\"; };", "expand to nothing"),
        ("Server { m.M required u=a@b; };", "an option or ; expected, @ found"),
        ("Server { /* m.M required; };", "the class of a login module expected"),
    ];
    for (text, words) in cases {
        let reason = reason(text);
        assert!(reason.contains(words), "{text}: {reason}");
        assert!(!reason.contains("hush") && !reason.contains("1234"), "{reason}");
    }
}

proptest! {
    #[test]
    fn no_bytes_break_the_reader(bytes in any::<Vec<u8>>()) {
        let _ = LoginFile::parse(&bytes, &|_| None);
    }

    #[test]
    fn no_near_miss_breaks_it(
        text in r#"(Server|\{|\}|;|=|"|\\|/\*|\*/|//|\$\{|m\.M|required|user_a|\n| |9|é){0,40}"#,
    ) {
        let _ = parse(&text);
    }

    #[test]
    fn any_quoted_value_comes_back(value in any::<String>()) {
        let octal = |c: char| match c {
            '"' | '\\' => format!("\\{c}"),
            '\n' | '\r' => format!("\\{:o}", u32::from(c)),
            c => c.to_string(),
        };
        prop_assume!(!value.contains("${"));
        // A digit behind an octal escape would be taken into it.
        let written: String = value.chars().map(octal).collect();
        prop_assume!(!["\\12", "\\15"].iter().any(|e| {
            written.split(e).skip(1).any(|rest| rest.starts_with(|c: char| c.is_digit(8)))
        }));
        let read = parse(&format!("S {{ m.M required o=\"{written}\"; }};")).expect("sound");
        prop_assert_eq!(&read.section("S").expect("it")[0].options["o"].0, &value);
    }
}

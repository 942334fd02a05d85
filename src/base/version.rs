//! Which version this is, in the form that ZooKeeper's tools parse.

/// Apache's version whose behaviour is ours, our own version, the commit, its time.
pub const ANNOUNCED_VERSION: &str = concat!(
    "3.9.5-zkd",
    env!("CARGO_PKG_VERSION"),
    "-",
    env!("ZKD_COMMIT"),
    ", built on ",
    env!("ZKD_BUILT"),
    " UTC"
);

#[test]
fn the_announced_version_has_java_s_form() {
    let (version, built) = ANNOUNCED_VERSION.split_once(", built on ").expect("the two parts");
    assert!(version.starts_with("3.9.5-zkd"));
    let shape: String = built.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00 00:00 UTC");
}

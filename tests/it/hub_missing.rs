//! A build without the cargo feature `hub`: the commands exist, and say how to get one.

use assert_cmd::cargo::cargo_bin_cmd;

#[test]
fn pushing_and_pulling_say_how_to_build_them() {
    for args in [
        &["pull", "owner/name"][..],
        &["pull", "--find-for", "owner/name"],
    ] {
        let output = cargo_bin_cmd!("prulong").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with("error[hub.not_built]: "), "{text}");
        assert!(text.contains("cargo build --release --features hub"));
    }
}

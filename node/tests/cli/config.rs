//! `peerdist check-config`, help and usage errors.

use std::fs;

use crate::run::peerdist;

#[test]
fn the_printed_default_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("peerdist.toml");
    fs::write(&file, peerdist(["check-config", "--print-default"]).stdout()).unwrap();
    let said = peerdist(["check-config".as_ref(), file.as_os_str()]).stdout();
    assert_eq!(said, format!("{}: ok\n", file.display()));
}

#[test]
fn a_wrong_key_is_shown_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("peerdist.toml");
    fs::write(&file, "[node]\nport = 80\nlisen = []\n").unwrap();
    let error = peerdist(["check-config".as_ref(), file.as_os_str()]).error(64);
    assert!(error.contains(&format!("{}:3:1: unknown field `lisen`", file.display())), "{error}");
    assert!(error.contains("lisen = []"), "{error}");
    assert!(error.contains("--print-default"), "{error}");
}

#[test]
fn a_missing_file_is_a_wrong_configuration() {
    let error = peerdist(["check-config", "/nonexistent/peerdist.toml"]).error(64);
    assert!(error.contains("/nonexistent/peerdist.toml"), "{error}");
}

#[test]
fn wrong_words_end_with_2_and_help_with_0() {
    assert!(peerdist(["chek-config"]).error(2).contains("check-config"));
    assert!(peerdist(["check-config"]).error(2).contains("FILE"));
    let help = peerdist(["--help"]).stdout();
    assert!(help.contains("Exit status:"), "{help}");
    assert!(peerdist(["--version"]).stdout().contains(env!("CARGO_PKG_VERSION")));
}

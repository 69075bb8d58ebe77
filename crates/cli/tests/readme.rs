//! The documents name what is there: every setting with its own words, and no make target or file that does not exist.

use std::path::{Path, PathBuf};

use function::settings::Setting;

/// The header of the tables in which the README lists settings.
const HEADER: &str = "| variable | default | expected | meaning |";

/// The documents that a reader may follow step by step.
const DOCUMENTS: &[&str] = &["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "events/README.md"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rows of every table of settings, in order.
fn setting_rows(text: &str) -> Vec<&str> {
    let mut lines = text.lines();
    let mut rows = Vec::new();
    while lines.any(|line| line == HEADER) {
        rows.extend(lines.by_ref().skip(1).take_while(|line| line.starts_with('|')));
    }
    rows
}

/// What stands behind each `make ` that begins a line or a piece of code, variables before it aside.
fn make_targets(text: &str) -> Vec<&str> {
    let pieces = text.split(['\n', '`']);
    let commands = pieces.filter_map(|piece| {
        let is_variable = |word: &&str| word.contains('=');
        let mut words = piece.split_whitespace().skip_while(is_variable);
        (words.next() == Some("make")).then(|| words.find(|word| !is_variable(word)))
    });
    commands.flatten().collect()
}

/// Where the text's links lead, those to other sites and within the page aside.
fn links(text: &str) -> Vec<&str> {
    let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    links.map(|(link, _)| link).filter(|link| !link.starts_with("http") && !link.starts_with('#')).collect()
}

#[test]
fn the_readme_lists_every_setting_as_it_is_and_no_other() {
    let log = [function::log::FORMAT, function::log::LEVEL];
    let settings = producer::SETTINGS.iter().chain(consumer::SETTINGS).chain(&log);
    let want: Vec<_> = settings.map(Setting::row).collect();
    assert_eq!(setting_rows(&read("README.md")), want);
}

#[test]
fn every_make_target_that_is_named_exists() {
    let rules = read("Makefile") + &read("tools/deploy.mk");
    let exists = |target: &str| rules.lines().any(|line| line.starts_with(&format!("{target}:")));
    let mut named = 0;
    for document in DOCUMENTS {
        for target in make_targets(&read(document)) {
            assert!(exists(target), "{document} names make {target}, which does not exist");
            named += 1;
        }
    }
    assert!(named > 10, "only {named} targets were found, so they were not looked for where they are");
}

#[test]
fn every_file_that_is_linked_exists() {
    for document in DOCUMENTS {
        let folder = root().join(document).parent().map(Path::to_owned).unwrap_or_default();
        for link in links(&read(document)) {
            assert!(folder.join(link).exists(), "{document} links to {link}, which does not exist");
        }
    }
}

#[test]
fn the_searches_find_what_they_are_for() {
    let rows =
        "| variable | default | expected | meaning |\n| --- | --- | --- | --- |\n| a |\n| b |\n\n| c |\n";
    assert_eq!(setting_rows(&format!("{rows}{rows}")), ["| a |", "| b |", "| a |", "| b |"]);
    assert_eq!(
        make_targets("make run\nwith `make test`, A=b make deploy C=d\nA=b make build\n`make x`"),
        ["run", "test", "build", "x"]
    );
    assert_eq!(links("[a](b.md) and [c](https://d) or [e](#f)"), ["b.md"]);
}

//! What the fuzz targets promise holds for all that is kept in their corpora, and for the sample events.

#![allow(clippy::unwrap_used)] // a test ends where something is not as it must be

// The targets are crates of their own, for which the properties have to be public.
#[allow(unreachable_pub)]
#[path = "../../../fuzz/properties/lib.rs"]
mod properties;

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use properties::PROPERTIES;

/// What every target is given beside its own corpus.
const SAMPLES: [&str; 2] = ["events/producer", "events/consumer"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a folder holds, by paths from the root.
#[track_caller]
fn entries(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let entries: Vec<_> = entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name())).collect();
    assert!(!entries.is_empty(), "{folder} is empty");
    entries
}

/// The names of what a folder holds, without endings.
#[track_caller]
fn names(folder: &str) -> BTreeSet<String> {
    entries(folder).iter().map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_property_holds_for_its_corpus_and_the_sample_events() {
    let mut broken = Vec::new();
    for (name, property) in PROPERTIES {
        let corpus = format!("fuzz/corpus/{name}");
        for file in [corpus.as_str()].into_iter().chain(SAMPLES).flat_map(entries) {
            let input = fs::read(root().join(&file)).unwrap();
            if catch_unwind(|| property(&input)).is_err() {
                broken.push(format!("{name}: {}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "what does not hold, the reasons above:\n{}", broken.join("\n"));
}

#[test]
fn every_property_has_a_fuzz_target_and_a_corpus_and_there_are_no_others() {
    let properties: BTreeSet<_> = PROPERTIES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(properties.len(), PROPERTIES.len());
    assert_eq!(names("fuzz/fuzz_targets"), properties);
    assert_eq!(names("fuzz/corpus"), properties);
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let declared = manifest.split("[[bin]]").skip(1).filter_map(|target| target.split('"').nth(1));
    assert_eq!(declared.map(str::to_owned).collect::<BTreeSet<_>>(), properties);
}

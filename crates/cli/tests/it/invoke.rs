//! `rivulet invoke` with every sample event.

use serde_json::Value;

use crate::rivulet::{command, project};

#[test]
fn every_sample_event_is_invoked_and_answered() {
    let mut samples = 0;
    for function in ["producer", "consumer"] {
        for file in std::fs::read_dir(project().join("events").join(function)).unwrap() {
            let path = file.unwrap().path();
            let output = command(&["invoke", path.to_str().unwrap()]).output().unwrap();
            let (name, log) = (path.display(), String::from_utf8_lossy(&output.stderr));
            let answer: Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{name}: {log}"));
            let refused = path.file_name().unwrap().to_str().unwrap().starts_with("refused-");
            assert_eq!(output.status.success(), !refused, "{name}: {log}");
            assert_eq!(answer.get("errorType").is_some(), refused, "{name}: {answer}");
            samples += 1;
        }
    }
    assert!(samples > 30, "only {samples} samples");
}

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A function that is the script `tests/odd/bootstrap.sh` behind `prelude`, and its folder.
fn behind(prelude: &str, init_limit: Duration) -> (Function, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("bootstrap");
    let script = format!("#!/bin/bash\n{prelude}\n{}", include_str!("../../tests/odd/bootstrap.sh"));
    std::fs::write(&binary, script).unwrap();
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    let config = FunctionConfig {
        name: "odd".into(),
        binary,
        environment: vec![("FOLDER".into(), folder.path().display().to_string())],
        timeout: Duration::from_secs(5),
        memory_mib: 128,
        concurrency: 1,
        account: "000000000000".into(),
        region: "us-east-1".into(),
        faults: None,
        freeze: false,
    };
    (Function::limited(config, Arc::new(|_, _| {}), init_limit), folder)
}

/// "Lambda execution environment lifecycle": an Init phase that does not complete within 10 seconds is tried again with
/// the first invocation, under the function's own timeout.
#[tokio::test]
async fn an_init_phase_that_takes_too_long_is_run_again_with_the_functions_timeout() {
    // It hangs the first time, and takes longer than the limit the second time.
    let hangs_once = r#"if mkdir "$FOLDER/begun" 2>/dev/null; then sleep 60; else sleep 0.2; fi"#;
    let (function, _folder) = behind(hangs_once, Duration::from_millis(100));
    let outcome = function.invoke("\"answer\"".into()).await;
    assert!(matches!(outcome, Outcome::Answer(_)), "{outcome:?}");
    assert_eq!(function.cold_starts(), 2);
    function.stop().await;
}

#[tokio::test]
async fn a_function_whose_init_phase_never_ends_is_not_invoked() {
    let (function, _folder) = behind("sleep 60", Duration::from_millis(50));
    let config = FunctionConfig { timeout: Duration::from_millis(100), ..function.config().clone() };
    let function = Function::limited(config, Arc::new(|_, _| {}), Duration::from_millis(50));
    let outcome = function.invoke("\"answer\"".into()).await;
    let says = |why: &String| why.contains("had not started after 0.1");
    assert!(matches!(&outcome, Outcome::NotInvoked(why) if says(why)), "{outcome:?}");
    assert_eq!(function.cold_starts(), 2);
}

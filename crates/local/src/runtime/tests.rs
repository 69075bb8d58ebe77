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

/// The limit of the second try may be that of the first.
#[tokio::test]
async fn an_init_phase_is_run_again_once() {
    let limit = Duration::from_millis(50);
    let (function, _folder) = behind("sleep 60", limit);
    let config = FunctionConfig { timeout: limit, ..function.config().clone() };
    let function = Function::limited(config, Arc::new(|_, _| {}), limit);
    let outcome = function.invoke("\"answer\"".into()).await;
    let says = |why: &String| why.contains("had not started after 0.");
    assert!(matches!(&outcome, Outcome::NotInvoked(why) if says(why)), "{outcome:?}");
    assert_eq!(function.cold_starts(), 2);
}

/// An invocation may come to its end while the function is stopped.
#[tokio::test]
async fn an_environment_that_is_given_back_too_late_is_ended() {
    let (function, _folder) = behind("", INIT_LIMIT);
    let environment = function.start(INIT_LIMIT).await.unwrap();
    let began = Instant::now();
    tokio::join!(function.stop(), async { function.keep(environment) });
    assert!(function.idle().is_empty());
    assert!(began.elapsed() < GONE, "it waits for nothing else");
}

/// The sink takes the first chunk late: then so many wait for it that the function's last lines are in the pipe still,
/// come as one chunk, and are seen to be missing if nobody waits for them.
#[tokio::test]
async fn what_was_written_before_the_answer_is_in_the_log_when_that_is_flushed() {
    const INVOCATIONS: usize = 3 * log::WAITING;
    let (function, _folder) = behind("", INIT_LIMIT);
    let (release, wait) = std::sync::mpsc::channel::<()>();
    let (wait, lines) = (Mutex::new(wait), Arc::new(AtomicU64::new(0)));
    let sink: LogSink = {
        let lines = Arc::clone(&lines);
        Arc::new(move |_, written| {
            // Ends with the sender.
            let _ = wait.lock().unwrap().recv();
            let ends = written.iter().filter(|&&byte| byte == b'\n').count();
            if ends > 1 {
                std::thread::sleep(FLUSH / 10);
            }
            lines.fetch_add(ends as u64, Ordering::Relaxed);
        })
    };
    let function = Function::new(function.config().clone(), sink);
    for _ in 0..INVOCATIONS {
        let answer = function.invoke("\"answer\"".into()).await;
        assert!(matches!(answer, Outcome::Answer(_)), "{answer:?}");
    }
    assert_eq!(lines.load(Ordering::Relaxed), 0);
    drop(release);
    // Nothing else runs on this thread meanwhile: what is in the pipe stays there.
    while lines.load(Ordering::Relaxed) < 2 {
        std::thread::yield_now();
    }
    function.flush_log().await;
    assert_eq!(lines.load(Ordering::Relaxed), INVOCATIONS as u64);
    function.stop().await;
}

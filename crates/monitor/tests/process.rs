//! The real program: it opens its window beside a project's writer, and closes with its parent.

mod fixture;

use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

#[test]
fn it_closes_when_its_parent_is_gone() {
    if std::env::var_os("DISPLAY").is_none() && std::env::var_os("WAYLAND_DISPLAY").is_none() {
        println!("left out: there is no display here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.outframe");
    // The writer stays.
    let (project, shot) = fixture::project(&path, (320, 180));
    let mut monitor = Command::new(env!("CARGO_BIN_EXE_outframe-monitor"))
        .arg(&path)
        .args(["--shot", &shot.to_string(), "--parent-stdin"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = monitor.stdin.take().unwrap();
    stdin.write_all(b"{\"seek\": 12}\n{\"play\": true}\n").unwrap();
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(monitor.try_wait().unwrap(), None, "it closed by itself");
    drop(stdin);
    let gone = Instant::now();
    let status = loop {
        if let Some(status) = monitor.try_wait().unwrap() {
            break status;
        }
        if gone.elapsed() > Duration::from_secs(2) {
            monitor.kill().unwrap();
            panic!("it is still there after two seconds");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let mut said = String::new();
    monitor.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success(), "{status}: {said}");
    project.close().unwrap();
}

#[test]
fn without_a_display_it_says_so() {
    let said = Command::new(env!("CARGO_BIN_EXE_outframe-monitor"))
        .arg("none.outframe")
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("WAYLAND_SOCKET")
        .output()
        .unwrap();
    if cfg!(target_os = "linux") {
        let error = String::from_utf8_lossy(&said.stderr);
        assert!(!said.status.success());
        assert!(error.contains("window cannot be opened"), "{error}");
    }
}

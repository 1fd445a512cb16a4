//! Killed processes and full disks: what had been acknowledged is there afterwards.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use common::{BlobSize, Random, random_step};
use outframe_document::{BlobId, Document, Error, Project, Purge};

/// Tells this binary, started once more by a test, which file to work on.
const FILE: &str = "OUTFRAME_TEST_FILE";
/// The seed of the edits in that process.
const SEED: &str = "OUTFRAME_TEST_SEED";
/// How often the crash test kills; 40 unless told.
const KILLS: &str = "OUTFRAME_CRASH_KILLS";

fn digest(document: &Document) -> String {
    BlobId::of(&serde_json::to_vec(document).unwrap()).to_string()
}

fn say(text: &str) {
    // One write: a line is either in the pipe as a whole or not at all.
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\nsaid {text}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

#[test]
#[ignore = "runs in a process of its own, started and killed by the test below"]
fn process_that_edits() {
    let Ok(path) = std::env::var(FILE) else { return };
    let mut random = Random(std::env::var(SEED).unwrap().parse().unwrap());
    let mut project = Project::open(path).unwrap();
    say(&digest(project.document()));
    loop {
        match random.below(9) {
            0 => drop(project.undo().unwrap()),
            1 => drop(project.redo().unwrap()),
            8 => upkeep(&mut project, &mut random),
            2 if random.below(4) == 0 => {
                let steps = project.history().unwrap();
                project.go_to(steps[steps.len() - 1 - random.below(steps.len().min(20))].id).unwrap();
            }
            _ => {
                let size = if random.below(4) == 0 { 400_000 } else { 5_000 };
                let step = random_step(&mut project, &mut random, BlobSize(size));
                project.apply(step).unwrap();
            }
        }
        say(&digest(project.document()));
    }
}

/// What changes the file but not the document.
fn upkeep(project: &mut Project, random: &mut Random) {
    match random.below(8) {
        0 | 1 => {
            let (name, step) = (format!("milestone {}", random.next()), project.current_step());
            project.set_milestone(&name, step).unwrap();
        }
        2 | 3 => project.set_thumbnail(&[b"\x89PNG\r\n\x1a\n".as_slice(), &random.bytes(50_000)].concat()).unwrap(),
        4 => drop(project.purge(Purge::OtherBranches).unwrap()),
        5 => {
            let history = project.history().unwrap();
            let applied: Vec<_> = history.iter().filter(|step| step.applied).map(|step| step.id).collect();
            // Not too near: there must be something left to undo.
            let step = applied[applied.len().saturating_sub(100)];
            project.purge(Purge::Before(step)).unwrap();
        }
        6 => drop(project.compact().unwrap()),
        _ => {}
    }
}

fn start(path: &Path, seed: u64) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process_that_edits", "--ignored", "--nocapture"])
        .env(FILE, path)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

#[test]
fn a_killed_process_loses_nothing_that_it_had_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.outframe");
    Project::create(&path, "").unwrap().close().unwrap();
    let kills: u64 = std::env::var(KILLS).ok().map_or(40, |count| count.parse().unwrap());
    let mut random = Random(kills);
    let mut acknowledged = 0;
    for kill in 0..kills {
        let (mut child, mut out) = start(&path, kill);
        let mut line = String::new();
        while !line.starts_with("said ") {
            line.clear();
            assert!(out.read_line(&mut line).unwrap() > 0, "the process ended by itself");
        }
        std::thread::sleep(Duration::from_micros(random.next() % 150_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        // A line without its end had not been written in full.
        let whole = rest.rfind('\n').map_or("", |end| &rest[..=end]);
        let said: Vec<_> =
            std::iter::once(line.as_str()).chain(whole.lines()).filter_map(|l| l.strip_prefix("said ")).collect();
        acknowledged += said.len() - 1;
        let last = said[said.len() - 1].trim();

        let mut project = Project::open(&path).unwrap();
        let report = project.check().unwrap();
        assert!(report.is_clean(), "after kill {kill}: {:?}", report.problems);
        if digest(project.document()) != last {
            // At most one change may be there that had not been acknowledged yet.
            assert!(is_one_change_from(&mut project, last), "kill {kill} lost an acknowledged change");
            assert!(project.check().unwrap().is_clean());
        }
    }
    assert!(acknowledged > kills as usize, "only {acknowledged} changes in {kills} runs: the test shows little");
    drop(Project::open(&path).unwrap());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["picture.outframe"], "the next clean close tidies up after the killed ones");
}

/// Whether some step of the history next to the current one, or any that a jump can reach, gives that state.
fn is_one_change_from(project: &mut Project, wanted: &str) -> bool {
    let steps: Vec<_> = project.history().unwrap().into_iter().map(|step| step.id).rev().take(40).collect();
    steps.into_iter().any(|step| {
        project.go_to(step).unwrap();
        digest(project.document()) == wanted
    })
}

#[test]
#[ignore = "runs on a small file system of its own, made by the test below"]
fn process_on_a_small_disk() {
    let Ok(folder) = std::env::var(FILE) else { return };
    let folder = Path::new(&folder);
    let path = folder.join("picture.outframe");
    std::fs::write(folder.join("reserve"), vec![0; 2 << 20]).unwrap();
    let mut random = Random(7);
    let mut project = Project::create(&path, "").unwrap();
    // What each round frees in the end, for the next one to fill.
    let ballast = |round: usize| folder.join(format!("ballast-{round}"));
    (0..6).for_each(|round| std::fs::write(ballast(round), vec![0; 250_000]).unwrap());
    for round in 0..6 {
        // From large to small pieces, so that every kind of write meets the end of the disk.
        let size = BlobSize([200_000, 50_000, 20_000, 5_000, 1_000, 200][round]);
        loop {
            let before = (project.document().clone(), project.current_step());
            let step = random_step(&mut project, &mut random, size);
            match project.apply(step) {
                Ok(()) => {}
                Err(Error::DiskFull) => {
                    assert_eq!((project.document(), project.current_step()), (&before.0, before.1));
                    break;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        // Reading goes on; what takes more room is refused before it begins.
        assert!(project.check().unwrap().is_clean());
        assert!(matches!(project.compact(), Err(Error::NoRoom { .. })));
        let copy = project.save_copy(folder.join("copy.outframe"));
        assert!(copy.is_ok() || matches!(copy, Err(Error::DiskFull)), "{copy:?}");
        let _ = std::fs::remove_file(folder.join("copy.outframe"));
        // Closing and opening may need room too; whatever they say, nothing is lost.
        let latest = project.document().clone();
        if round % 2 == 0 {
            let closed = project.close();
            assert!(closed.is_ok() || matches!(closed, Err(Error::DiskFull)), "{closed:?}");
            if let Err(error) = Project::open(&path) {
                assert!(matches!(error, Error::DiskFull), "{error:?}");
            }
            std::fs::remove_file(ballast(round)).unwrap();
            project = Project::open(&path).unwrap();
        } else {
            std::fs::remove_file(ballast(round)).unwrap();
        }
        assert_eq!(project.document(), &latest);
        assert!(project.check().unwrap().is_clean());
        let step = random_step(&mut project, &mut random, BlobSize(200));
        project.apply(step).unwrap();
    }
    // To become a single file takes room for what the log holds.
    std::fs::remove_file(folder.join("reserve")).unwrap();
    project.close().unwrap();
    assert!(!folder.join("picture.outframe-wal").exists());
    say("all held");
}

#[test]
#[ignore = "runs in a process of its own, with a limit on the size of its files, started by the test below"]
fn process_that_may_not_write_much() {
    let Ok(path) = std::env::var(FILE) else { return };
    let mut random = Random(std::env::var(SEED).unwrap().parse().unwrap());
    // Not even opening need succeed.
    let Ok(mut project) = Project::open(path) else { return say("all held") };
    let mut failures = 0;
    while failures < 3 {
        let (before, at) = (project.document().clone(), project.current_step());
        let size = BlobSize([300, 5_000, 100_000][random.below(3)]);
        let result = match random.below(10) {
            0 => project.undo().map(drop),
            1 => project.redo().map(drop),
            2 if random.below(10) == 0 => project.compact().map(drop),
            2 => project.purge(Purge::OtherBranches).map(drop),
            _ => {
                let step = random_step(&mut project, &mut random, size);
                project.apply(step)
            }
        };
        match result {
            Ok(()) => say(&digest(project.document())),
            Err(error) => {
                assert!(matches!(error, Error::DiskFull | Error::Sqlite(_) | Error::Io { .. }), "{error:?}");
                assert_eq!(
                    (project.document(), project.current_step()),
                    (&before, at),
                    "a failed change changes nothing"
                );
                failures += 1;
            }
        }
    }
    say("all held");
}

#[test]
fn writes_that_fail_at_any_point_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.outframe");
    Project::create(&path, "").unwrap().close().unwrap();
    let mut random = Random(2);
    let mut last = digest(Project::open(&path).unwrap().document());
    for seed in 0..8 {
        let size = std::fs::metadata(&path).unwrap().len() / 512;
        // Where a file would become larger than that, the system refuses to write to it: somewhere within a change.
        let limit = size + 100 + random.next() % 600;
        let output = Command::new("sh")
            .args(["-c", r#"trap '' XFSZ; ulimit -f "$1" && exec "$2" --exact process_that_may_not_write_much --ignored --nocapture"#])
            .args(["sh", &limit.to_string()])
            .arg(std::env::current_exe().unwrap())
            .env(FILE, &path)
            .env(SEED, seed.to_string())
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&output.stdout);
        assert!(out.contains("said all held"), "{out}\n{}", String::from_utf8_lossy(&output.stderr));
        let mut said = out.lines().filter_map(|line| line.strip_prefix("said "));
        if let Some(said) = said.rfind(|said| *said != "all held") {
            last = said.to_owned();
        }
        let project = Project::open(&path).unwrap();
        assert_eq!(digest(project.document()), last, "after run {seed}");
        let report = project.check().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    }
}

#[test]
#[ignore = "runs on a file system of its own, made by the test below"]
fn process_on_a_read_only_disk() {
    let Ok(folder) = std::env::var(FILE) else { return };
    let folder = Path::new(&folder);
    let (tidy, untidy) = (folder.join("tidy.outframe"), folder.join("untidy.outframe"));
    let mut documents = Vec::new();
    for path in [&tidy, &untidy] {
        let mut project = Project::create(path, "").unwrap();
        let step = random_step(&mut project, &mut Random(1), BlobSize(1000));
        project.apply(step).unwrap();
        documents.push(project.document().clone());
        if path == &untidy {
            // As a killed process leaves it.
            for name in ["untidy.outframe", "untidy.outframe-wal"] {
                std::fs::copy(folder.join(name), folder.join(format!("{name}.kept"))).unwrap();
            }
        }
        project.close().unwrap();
    }
    for name in ["untidy.outframe", "untidy.outframe-wal"] {
        std::fs::rename(folder.join(format!("{name}.kept")), folder.join(name)).unwrap();
    }
    assert!(Command::new("mount").args(["-o", "remount,ro"]).arg(folder).status().unwrap().success());
    assert!(matches!(Project::open(&tidy), Err(Error::ReadOnly { .. })));
    assert!(matches!(Project::create(folder.join("new.outframe"), ""), Err(Error::ReadOnly { .. })));
    let reader = Project::open_read_only(&tidy).unwrap();
    assert_eq!(reader.document(), &documents[0]);
    assert!(reader.check().unwrap().is_clean());
    assert!(matches!(reader.save_copy(folder.join("copy.outframe")), Err(Error::ReadOnly { .. })));
    // The last changes are in the log, which cannot be read here: an error, not an older state.
    match Project::open_read_only(&untidy) {
        Ok(reader) => assert_eq!(reader.document(), &documents[1]),
        Err(error) => assert!(matches!(error, Error::ReadOnly { .. }), "{error:?}"),
    }
    say("all held");
}

/// Runs the ignored test `name` in a process of its own with a file system in memory over `folder`, which only that process
/// and its children see, and expects it to say that all held. Skips where the system does not allow that.
fn on_a_file_system_of_its_own(name: &str, megabytes: u32) {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"mount -t tmpfs -o size=$1m tmpfs "$2" || exit 77
        exec "$3" --exact "$4" --ignored --nocapture"#;
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script, "sh", &megabytes.to_string()])
        .args([folder.path(), &std::env::current_exe().unwrap()])
        .arg(name)
        .env(FILE, folder.path())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: no file system can be made here ({error})"),
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if out.contains("running 1 test") {
        assert!(out.contains("said all held"), "{out}\n{err}");
    } else {
        eprintln!("skipped: no file system can be made here ({err})");
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    on_a_file_system_of_its_own("process_on_a_small_disk", 5);
}

#[test]
fn a_read_only_disk_is_readable() {
    on_a_file_system_of_its_own("process_on_a_read_only_disk", 5);
}

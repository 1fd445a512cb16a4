//! Damaged files: each opens, is repaired, or is refused with a clear message; what is whole is saved.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod common;
#[path = "common/open_any.rs"]
mod open_any;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{BlobSize, Random, random_step};
use open_any::{Outcome, open_any};
use outframe_document::{Document, Error, Problem, Project, SavedState};
use tempfile::TempDir;

/// How many files are damaged at random; 300 unless told.
const MUTATIONS: &str = "OUTFRAME_MUTATIONS";

/// In memory where that is possible: these tests are about what is in the files, not about whether it reaches a disk.
fn folder() -> (TempDir, PathBuf) {
    let memory = Path::new("/dev/shm");
    let folder = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
    let path = folder.path().join("picture.outframe");
    (folder, path)
}

/// A closed project with some history, of which a part is undone.
fn sample(path: &Path, seed: u64, steps: usize, size: usize) -> Document {
    let mut project = Project::create(path, "Sample").unwrap();
    let mut random = Random(seed);
    for _ in 0..steps {
        let step = random_step(&mut project, &mut random, BlobSize(size));
        project.apply(step).unwrap();
        if random.below(10) == 0 {
            project.undo().unwrap();
        }
    }
    let step = project.current_step();
    project.set_milestone("here", step).unwrap();
    let document = project.document().clone();
    project.close().unwrap();
    document
}

fn tamper(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(&format!("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {sql}"))
        .unwrap();
}

/// A damaged copy of `whole`, and how it came about.
fn mutate(whole: &[u8], random: &mut Random) -> (Vec<u8>, &'static str) {
    let mut bytes = whole.to_vec();
    let page = random.below(bytes.len() / 4096) * 4096;
    match random.below(9) {
        0 => {
            bytes.truncate(random.below(whole.len()));
            (bytes, "cut off")
        }
        1 | 2 => {
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
            (bytes, "flipped bits")
        }
        3 | 4 => {
            // Near the start of a page, where the structure is.
            for _ in 0..=random.below(8) {
                let page = random.below(whole.len() / 4096) * 4096;
                bytes[page + random.below(64)] = random.next() as u8;
            }
            (bytes, "altered page headers")
        }
        5 => {
            bytes[page..page + 4096].fill(0);
            (bytes, "a page of zeros")
        }
        6 => {
            let other = random.below(whole.len() / 4096) * 4096;
            bytes[page..page + 4096].copy_from_slice(&whole[other..other + 4096]);
            (bytes, "a page twice")
        }
        7 => {
            for byte in &mut bytes[page..page + 4096] {
                *byte = random.next() as u8;
            }
            (bytes, "a page of noise")
        }
        _ => {
            for byte in bytes.iter_mut().take(100) {
                if random.below(6) == 0 {
                    *byte = random.next() as u8;
                }
            }
            (bytes, "an altered header")
        }
    }
}

#[test]
fn damage_at_random_is_repaired_or_refused() {
    let mutations: usize = std::env::var(MUTATIONS).ok().map_or(300, |count| count.parse().unwrap());
    let wholes: Vec<Vec<u8>> = (0..3)
        .map(|seed| {
            let (_folder, path) = folder();
            sample(&path, 20 + seed, 25, [300, 3000, 30_000][seed as usize]);
            fs::read(&path).unwrap()
        })
        .chain((1..=2).map(|version| {
            let name = format!("tests/fixtures/version-{version}.outframe");
            fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
        }))
        .collect();
    let mut random = Random(mutations as u64);
    let mut outcomes = std::collections::BTreeMap::new();
    for number in 0..mutations {
        let (bytes, how) = mutate(&wholes[random.below(wholes.len())], &mut random);
        let (folder, _path) = folder();
        let started = Instant::now();
        let outcome = open_any(folder.path(), &bytes);
        assert!(started.elapsed() < Duration::from_secs(20), "mutation {number} ({how}) took {:?}", started.elapsed());
        *outcomes.entry((how, outcome)).or_insert(0_usize) += 1;
    }
    println!("{outcomes:#?}");
    let count = |wanted: Outcome| -> usize {
        outcomes.iter().filter(|((_, outcome), _)| *outcome == wanted).map(|(_, count)| count).sum()
    };
    assert!(count(Outcome::Repaired) > mutations / 3, "{outcomes:?}");
    assert!(count(Outcome::Refused) < mutations / 10, "{outcomes:?}");
}

#[test]
fn what_is_no_project_is_refused() {
    let mut random = Random(12);
    let (_folder, path) = folder();
    sample(&path, 11, 10, 300);
    let whole = fs::read(&path).unwrap();
    for content in [b"".to_vec(), b"hello".to_vec(), vec![0; 8192], random.bytes(20_000), whole[..100].to_vec()] {
        let (folder, _) = folder();
        assert_eq!(open_any(folder.path(), &content), Outcome::Refused);
    }
}

#[test]
fn a_sound_project_is_copied_whole() {
    let (folder, path) = folder();
    let document = sample(&path, 1, 40, 2000);
    let to = folder.path().join("repaired.outframe");
    let repaired = Project::repair(&path, &to).unwrap();
    assert!(repaired.is_complete(), "{repaired:?}");
    assert_eq!(repaired.state, SavedState::Whole);
    let (old, new) = (Project::open(&path).unwrap(), Project::open(&to).unwrap());
    assert_eq!(new.document(), &document);
    assert_eq!(new.history().unwrap(), old.history().unwrap());
    assert_eq!(new.milestones().unwrap(), old.milestones().unwrap());
    assert!(matches!(Project::repair(&path, &to), Err(Error::AlreadyExists { .. })));
    assert!(matches!(Project::repair(&path, folder.path().join("x")), Err(Error::Locked { .. })));
}

#[test]
fn what_only_the_log_holds_is_saved_too() {
    let (folder, path) = folder();
    let mut project = Project::create(&path, "").unwrap();
    for seed in 0..30 {
        let step = random_step(&mut project, &mut Random(seed), BlobSize(5000));
        project.apply(step).unwrap();
    }
    // As a killed process leaves it, and damaged after that.
    let killed = folder.path().join("killed.outframe");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..200].fill(0);
    fs::write(&killed, &bytes).unwrap();
    fs::copy(folder.path().join("picture.outframe-wal"), folder.path().join("killed.outframe-wal")).unwrap();
    let to = folder.path().join("repaired.outframe");
    let repaired = Project::repair(&killed, &to).unwrap();
    assert!(repaired.state < SavedState::Partial && repaired.blobs_lost.is_empty(), "{repaired:?}");
    assert_eq!(Project::open(&to).unwrap().document(), project.document());
    assert!(fs::read(&killed).unwrap() == bytes);
}

#[test]
fn a_column_whose_name_is_no_text_is_passed_over() {
    let (folder, path) = folder();
    let document = sample(&path, 15, 30, 500);
    let mut bytes = fs::read(&path).unwrap();
    let wanted = b"locked INTEGER NOT NULL CHECK";
    let places: Vec<_> = (0..bytes.len() - wanted.len()).filter(|at| bytes[*at..].starts_with(wanted)).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at] = 0xff;
    }
    fs::write(&path, bytes).unwrap();
    let to = folder.path().join("repaired.outframe");
    assert_eq!(Project::repair(&path, &to).unwrap().state, SavedState::Replayed);
    assert_eq!(Project::open(&to).unwrap().document(), &document);
}

#[test]
fn a_lost_picture_leaves_its_place_and_the_rest() {
    let (folder, path) = folder();
    let document = sample(&path, 7, 40, 2000);
    tamper(
        &path,
        "UPDATE blobs SET bytes = zeroblob(size) WHERE rowid = (SELECT rowid FROM blobs WHERE size > 100 LIMIT 1)",
    );
    let report = Project::diagnose(&path).unwrap();
    let [Problem::Blob(lost)] = report.problems[..] else { panic!("{:?}", report.problems) };
    let to = folder.path().join("repaired.outframe");
    let repaired = Project::repair(&path, &to).unwrap();
    assert_eq!((repaired.blobs_lost.as_slice(), repaired.steps_lost), ([lost].as_slice(), 0));
    let project = Project::open(&to).unwrap();
    assert_eq!(project.document().layers.len(), document.layers.len());
    assert_eq!(project.document().patches().count(), document.patches().count());
    assert_eq!(project.history().unwrap().len(), Project::open(&path).unwrap().history().unwrap().len());
}

#[test]
fn a_lost_state_is_made_anew_out_of_the_history() {
    for sql in [
        "DROP TABLE layers",
        "DELETE FROM project",
        "UPDATE layers SET opacity = 7.0",
        "DELETE FROM patches",
        "CREATE TRIGGER sly AFTER INSERT ON steps BEGIN DELETE FROM layers; END; DELETE FROM generations",
    ] {
        let (folder, path) = folder();
        let document = sample(&path, 8, 60, 500);
        tamper(&path, sql);
        let to = folder.path().join("repaired.outframe");
        let repaired = Project::repair(&path, &to).unwrap();
        assert_eq!(repaired.state, SavedState::Replayed, "{sql}: {repaired:?}");
        assert_eq!(repaired.steps_lost, 0, "{sql}");
        assert_eq!(Project::open(&to).unwrap().document(), &document, "{sql}");
    }
}

#[test]
fn a_broken_history_is_kept_as_far_back_as_it_holds() {
    let (folder, path) = folder();
    let document = sample(&path, 9, 60, 500);
    tamper(&path, "UPDATE steps SET inverse = 'gone' WHERE id = 20");
    let to = folder.path().join("repaired.outframe");
    let repaired = Project::repair(&path, &to).unwrap();
    assert_eq!(repaired.state, SavedState::Whole);
    assert!(repaired.steps_lost >= 20 && repaired.steps_kept > 20, "{repaired:?}");
    let mut project = Project::open(&to).unwrap();
    assert_eq!(project.document(), &document);
    assert!(project.undo().unwrap().is_some());
    assert_eq!(project.milestones().unwrap().len(), 1);
}

#[test]
fn with_state_and_history_gone_the_pictures_are_saved() {
    let (folder, path) = folder();
    sample(&path, 10, 40, 2000);
    let pictures = Project::diagnose(&path).unwrap().blobs;
    tamper(&path, "UPDATE steps SET edits = 'x' WHERE id > 1; DELETE FROM layers; DELETE FROM project");
    let to = folder.path().join("repaired.outframe");
    let repaired = Project::repair(&path, &to).unwrap();
    assert_eq!((repaired.state, repaired.blobs_kept), (SavedState::Partial, pictures), "{repaired:?}");
    let project = Project::open(&to).unwrap();
    assert_eq!(project.document().layers.last().unwrap().name, "Recovered pictures");
}

#[test]
fn a_destroyed_beginning_of_the_file_costs_nothing_but_names() {
    let (folder, path) = folder();
    let document = sample(&path, 14, 40, 2000);
    let mut bytes = fs::read(&path).unwrap();
    bytes[..4096].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(Project::open(&path), Err(Error::NotAProject { .. } | Error::Damaged { .. })));
    let to = folder.path().join("repaired.outframe");
    let repaired = Project::repair(&path, &to).unwrap();
    assert_eq!((repaired.state, repaired.blobs_lost.len()), (SavedState::Replayed, 0), "{repaired:?}");
    assert_eq!(Project::open(&to).unwrap().document(), &document);
}

//! What concerns the file as a file: thumbnails, compacting, older versions.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{BlobSize, Random, random_step};
use outframe_document::{Error, MAX_THUMBNAIL_BYTES, Project, SCHEMA_VERSION};

fn fixture(version: i64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/version-{version}.outframe"))
}

#[test]
fn a_thumbnail_is_read_without_opening_the_project() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.outframe");
    let mut project = Project::create(&path, "").unwrap();
    assert_eq!(project.thumbnail().unwrap(), None);
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 3000]].concat();
    project.set_thumbnail(b"\x89PNG\r\n\x1a\nfirst").unwrap();
    project.set_thumbnail(&png).unwrap();
    assert!(matches!(project.set_thumbnail(b"GIF89a"), Err(Error::InvalidEdit { .. })));
    let large = [png.as_slice(), &vec![0; MAX_THUMBNAIL_BYTES]].concat();
    assert!(matches!(project.set_thumbnail(&large), Err(Error::InvalidEdit { .. })));
    assert_eq!(project.history().unwrap().len(), 1, "it is no step of the history");
    assert_eq!(Project::thumbnail_of(&path).unwrap().as_deref(), Some(png.as_slice()), "while it is being edited");
    project.close().unwrap();
    assert_eq!(Project::thumbnail_of(&path).unwrap().as_deref(), Some(png.as_slice()));
    let mut reader = Project::open_read_only(&path).unwrap();
    assert!(matches!(reader.set_thumbnail(&png), Err(Error::ReadOnly { .. })));
    assert_eq!(Project::thumbnail_of(fixture(1)).unwrap(), None);
}

#[test]
fn compacting_keeps_everything_but_the_waste() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.outframe");
    let mut project = Project::create(&path, "").unwrap();
    let mut random = Random(4);
    for _ in 0..30 {
        let step = random_step(&mut project, &mut random, BlobSize(20_000));
        project.apply(step).unwrap();
    }
    let document = project.document().clone();
    project.close().unwrap();
    // A picture that nothing refers to, as another program may leave it.
    let connection = rusqlite::Connection::open(&path).unwrap();
    let bytes = vec![5_u8; 300_000];
    let hash = outframe_document::BlobId::of(&bytes);
    connection
        .execute(
            "INSERT INTO blobs (hash, media_type, size, bytes) VALUES (?1, 'image/png', ?2, ?3)",
            rusqlite::params![hash.as_bytes(), bytes.len() as i64, bytes],
        )
        .unwrap();
    drop(connection);

    let mut project = Project::open(&path).unwrap();
    let reader = Project::open_read_only(&path).unwrap();
    let compacted = project.compact().unwrap();
    assert_eq!(compacted.orphans, 1);
    assert_eq!((reader.document(), project.document()), (&document, &document));
    assert!(reader.check().unwrap().is_clean());
    drop(reader);
    let again = project.compact().unwrap();
    assert_eq!(again.orphans, 0);
    assert!(again.bytes_after + 300_000 <= compacted.bytes_before, "{again:?} after {compacted:?}");
    assert!(project.check().unwrap().is_clean());
    project.undo().unwrap();
    project.redo().unwrap();
    project.close().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), again.bytes_after);
    let mut reader = Project::open_read_only(&path).unwrap();
    assert_eq!(reader.document(), &document);
    assert!(matches!(reader.compact(), Err(Error::ReadOnly { .. })));
}

#[test]
fn every_version_opens_and_an_older_one_can_be_read_unchanged() {
    for version in 1..=SCHEMA_VERSION {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.outframe");
        fs::copy(fixture(version), &path).unwrap();
        let before = fs::read(&path).unwrap();
        let reader = Project::open_read_only(&path).unwrap();
        assert_eq!(reader.document().title(), Some(format!("A file of version {version}").as_str()));
        assert!(reader.check().unwrap().is_clean());
        assert!(reader.milestones().unwrap().len() as i64 >= version - 1);
        reader.save_copy(folder.path().join("copy.outframe")).unwrap();
        let read = reader.document().clone();
        drop(reader);
        assert_eq!(fs::read(&path).unwrap(), before);

        for path in [path, folder.path().join("copy.outframe")] {
            let mut project = Project::open(&path).unwrap();
            assert_eq!(project.document(), &read);
            let report = project.check().unwrap();
            assert!(report.is_clean(), "{:?}", report.problems);
            project.set_milestone("now", project.current_step()).unwrap();
            for seed in 0..20 {
                let step = random_step(&mut project, &mut Random(seed), BlobSize(100));
                project.apply(step).unwrap();
            }
            while project.undo().unwrap().is_some() {}
            assert!(project.document().layers.is_empty());
            while project.redo().unwrap().is_some() {}
            assert!(project.check().unwrap().is_clean());
            project.close().unwrap();
            let connection = rusqlite::Connection::open(&path).unwrap();
            let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
            assert_eq!(found, SCHEMA_VERSION);
        }
    }
}

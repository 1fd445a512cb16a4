//! The file: what is opened and what is refused, locks, copies, damage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{BlobSize, Random, random_patch, random_step};
use outframe_document::{Edit, Error, GroupId, Layer, Problem, Project, SCHEMA_VERSION, Step};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.outframe");
    (folder, path)
}

fn files_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A closed project with some history.
fn sample(path: &Path, seed: u64, steps: usize) -> outframe_document::Document {
    let mut project = Project::create(path, "Sample").unwrap();
    let mut random = Random(seed);
    for _ in 0..steps {
        let step = random_step(&mut project, &mut random, BlobSize(20_000));
        project.apply(step).unwrap();
    }
    let document = project.document().clone();
    project.close().unwrap();
    document
}

/// Changes the database behind the project's back.
fn tamper(path: &Path, sql: &str) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(sql).unwrap();
}

#[test]
fn a_closed_project_is_one_file() {
    let (folder, path) = folder();
    let document = sample(&path, 1, 10);
    assert_eq!(files_in(folder.path()), ["picture.outframe"]);
    assert_eq!(&fs::read(&path).unwrap()[68..72], b"OFM1", "other programs tell a project by its application id");
    let project = Project::open(&path).unwrap();
    assert_eq!(project.document(), &document);
    drop(project);
    assert_eq!(files_in(folder.path()), ["picture.outframe"], "dropping tidies as closing does");
}

#[test]
fn creating_overwrites_nothing() {
    let (folder, path) = folder();
    fs::write(&path, "precious").unwrap();
    assert!(matches!(Project::create(&path, ""), Err(Error::AlreadyExists { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    fs::remove_file(&path).unwrap();
    // The log of a project that has been removed would be played into the new one.
    fs::write(folder.path().join("picture.outframe-wal"), "log").unwrap();
    assert!(matches!(Project::create(&path, ""), Err(Error::AlreadyExists { .. })));
    assert_eq!(files_in(folder.path()), ["picture.outframe-wal"]);
    assert!(matches!(Project::create(folder.path().join("no/such/folder.outframe"), ""), Err(Error::NotFound { .. })));
}

#[test]
fn other_files_are_not_projects_and_stay_untouched() {
    let (folder, path) = folder();
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &Random(3).bytes(5000)].concat();
    let contents: [&[u8]; 5] = [b"", b"hello", &png, &[0; 4096], b"SQLite format 3\0"];
    for content in contents {
        fs::write(&path, content).unwrap();
        for result in [Project::open(&path), Project::open_read_only(&path)] {
            let error = result.unwrap_err();
            assert!(
                matches!(error, Error::NotAProject { .. } | Error::Damaged { .. }),
                "{error:?} for {} bytes",
                content.len()
            );
        }
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    tamper(&path, "CREATE TABLE recipes (id INTEGER PRIMARY KEY)");
    assert!(matches!(Project::open(&path), Err(Error::NotAProject { .. })));
    assert!(matches!(Project::open(folder.path()), Err(Error::NotAProject { .. })));
    assert!(matches!(Project::open(folder.path().join("gone.outframe")), Err(Error::NotFound { .. })));
    assert_eq!(files_in(folder.path()), ["picture.outframe"]);
}

#[test]
fn a_newer_file_is_refused_untouched() {
    let (_folder, path) = folder();
    sample(&path, 2, 3);
    tamper(&path, &format!("PRAGMA user_version = {}", SCHEMA_VERSION + 1));
    let before = fs::read(&path).unwrap();
    for result in [Project::open(&path), Project::open_read_only(&path)] {
        match result.unwrap_err() {
            Error::Newer { found, supported, .. } => {
                assert_eq!((found, supported), (SCHEMA_VERSION + 1, SCHEMA_VERSION));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn one_writer_many_readers() {
    let (folder, path) = folder();
    sample(&path, 3, 5);
    let mut writer = Project::open(&path).unwrap();
    match Project::open(&path).unwrap_err() {
        Error::Locked { by, .. } => assert_eq!(by, Some(format!("process {}", std::process::id()))),
        other => panic!("{other:?}"),
    }
    #[cfg(unix)]
    {
        let link = folder.path().join("link.outframe");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(Project::open(&link), Err(Error::Locked { .. })), "another name of the same file");
        fs::remove_file(link).unwrap();
    }
    let mut reader = Project::open_read_only(&path).unwrap();
    assert_eq!(reader.document(), writer.document());
    assert!(reader.is_read_only() && !writer.is_read_only());
    let step = random_step(&mut writer, &mut Random(9), BlobSize(1000));
    writer.apply(step).unwrap();
    assert!(matches!(reader.undo(), Err(Error::ReadOnly { .. })));
    assert!(matches!(reader.put_blob(b"x", "text/plain"), Err(Error::ReadOnly { .. })));
    let step = Step::new("x", vec![Edit::SetMeta { key: "k".into(), value: None }]);
    assert!(matches!(reader.apply(step), Err(Error::ReadOnly { .. })));
    assert!(reader.check().unwrap().is_clean());
    // The reader keeps the log alive; the file is nevertheless whole.
    let latest = writer.document().clone();
    writer.close().unwrap();
    assert_eq!(Project::open_read_only(&path).unwrap().document(), &latest);
    drop(reader);
    let writer = Project::open(&path).unwrap();
    assert_eq!(writer.document(), &latest);
    writer.close().unwrap();
    assert_eq!(files_in(folder.path()), ["picture.outframe"]);
}

#[test]
fn blobs_are_kept_once_and_only_when_wanted() {
    let (_folder, path) = folder();
    let mut project = Project::create(&path, "").unwrap();
    let unwanted = project.put_blob(b"unwanted", "text/plain").unwrap();
    assert_eq!(project.blob(&unwanted).unwrap(), b"unwanted");
    let mut random = Random(5);
    let mut layer = Layer::new(project.next_layer_id(), "layer");
    let bytes = random.bytes(300_000);
    let image = project.put_blob(&bytes, "image/png").unwrap();
    for _ in 0..2 {
        let mut patch = random_patch(&mut project, &mut random, BlobSize(1));
        if let outframe_document::PatchContent::Image(own) = &mut patch.content {
            own.image = project.put_blob(&bytes, "image/png").unwrap();
            assert_eq!(own.image, image);
            own.mask = None;
        }
        layer.patches.push(patch);
    }
    project.apply(Step::new("Add", vec![Edit::AddLayer { index: 0, layer: Box::new(layer) }])).unwrap();
    project.close().unwrap();

    let mut project = Project::open(&path).unwrap();
    assert_eq!(project.blob(&image).unwrap(), bytes);
    assert_eq!(project.blob_size(&image).unwrap(), bytes.len() as u64);
    assert_eq!(project.blob_media_type(&image).unwrap(), "image/png");
    assert!(matches!(project.blob(&unwanted), Err(Error::NoSuchBlob { .. })));
    let report = project.check().unwrap();
    assert_eq!((report.blobs, report.blob_bytes), (1, bytes.len() as u64));

    // A step cannot name what is not there.
    let mut patch = random_patch(&mut project, &mut random, BlobSize(10));
    project.discard_pending_blobs();
    let layer = project.document().layers[0].id;
    if let outframe_document::PatchContent::Image(own) = &mut patch.content {
        own.image = unwanted;
    }
    let step = Step::new("Add", vec![Edit::AddPatch { layer, index: 0, patch: Box::new(patch) }]);
    assert!(matches!(project.apply(step), Err(Error::InvalidEdit { .. })));
}

#[test]
fn a_copy_is_whole_and_the_original_goes_on() {
    let (folder, path) = folder();
    sample(&path, 6, 20);
    let mut project = Project::open(&path).unwrap();
    project.undo().unwrap();
    let copy = folder.path().join("copy.outframe");
    project.save_copy(&copy).unwrap();
    assert!(matches!(project.save_copy(&copy), Err(Error::AlreadyExists { .. })));
    assert!(matches!(project.save_copy(&path), Err(Error::AlreadyExists { .. })), "not over itself either");
    let step = random_step(&mut project, &mut Random(1), BlobSize(1000));
    let before = project.document().clone();
    project.apply(step).unwrap();
    assert!(project.check().unwrap().is_clean());

    let mut copied = Project::open(&copy).unwrap();
    assert_eq!(copied.document(), &before);
    assert!(copied.check().unwrap().is_clean());
    assert!(copied.redo().unwrap().is_some(), "the history is copied too");
    drop((project, copied));
    assert_eq!(files_in(folder.path()), ["copy.outframe", "picture.outframe"]);
    // From a reader, too.
    Project::open_read_only(&path).unwrap().save_copy(folder.path().join("third.outframe")).unwrap();
}

#[test]
fn a_changed_picture_is_noticed() {
    let (_folder, path) = folder();
    sample(&path, 7, 20);
    tamper(
        &path,
        "UPDATE blobs SET bytes = zeroblob(size) WHERE rowid = (SELECT rowid FROM blobs WHERE size > 9 LIMIT 1)",
    );
    let project = Project::open(&path).unwrap();
    let report = project.check().unwrap();
    let [Problem::Blob(id)] = report.problems[..] else { panic!("{:?}", report.problems) };
    assert!(matches!(project.blob(&id), Err(Error::DamagedBlob { .. })));
}

#[test]
fn a_changed_state_or_history_is_noticed() {
    let damage = [
        "UPDATE layers SET name = 'other'",
        "UPDATE steps SET inverse = '[]' WHERE id = 3",
        "DELETE FROM step_blobs",
        "DELETE FROM blobs",
        "UPDATE project SET next_id = 1",
        "UPDATE steps SET edits = '[{\"remove-frame\":{\"frame\":99}}]' WHERE id = 5",
    ];
    for sql in damage {
        let (_folder, path) = folder();
        sample(&path, 8, 30);
        tamper(&path, &format!("PRAGMA foreign_keys = OFF; {sql}"));
        let report = Project::open(&path).unwrap().check().unwrap();
        assert!(!report.is_clean(), "{sql}");
        assert!(report.problems.iter().all(|problem| !problem.to_string().is_empty()));
    }
}

#[test]
fn impossible_values_in_the_tables_are_refused() {
    let damage = [
        "UPDATE layers SET opacity = 7.0",
        "UPDATE layers SET opacity = 9e999",
        "UPDATE layers SET depth = -1",
        "UPDATE layers SET blend = 'melt'",
        "UPDATE layers SET id = -id WHERE id = (SELECT max(id) FROM layers)",
        "UPDATE patches SET width = 99999999999",
        "UPDATE patches SET x = 9223372036854775807",
        "UPDATE patches SET name = x'ff'",
        "UPDATE patches SET layer = 1000000",
        "UPDATE patches SET origin = '{' WHERE origin IS NOT NULL",
        "UPDATE patches SET image = NULL, mask = NULL, origin = NULL, generation = 123456",
        "UPDATE generations SET chosen = 1000000",
        "UPDATE project SET head = 1000000",
        "DELETE FROM project",
        "UPDATE meta SET value = '[1e999999]'",
        "DROP TABLE frames",
        "CREATE TRIGGER sly AFTER INSERT ON steps BEGIN DELETE FROM layers; END",
        "PRAGMA user_version = -1",
    ];
    for sql in damage {
        let (_folder, path) = folder();
        let document = sample(&path, 10, 60);
        assert!(!document.layers.is_empty() && !document.generations.is_empty() && document.patches().count() > 3);
        tamper(&path, &format!("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {sql}"));
        for result in [Project::open(&path), Project::open_read_only(&path)] {
            let error = result.map(drop).unwrap_err();
            assert!(matches!(error, Error::Damaged { .. }), "{sql}: {error:?}");
        }
    }
}

#[test]
fn a_file_of_version_1_opens() {
    let (_folder, path) = folder();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/version-1.outframe"), &path).unwrap();
    let mut project = Project::open(&path).unwrap();
    let report = project.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!(project.document().title(), Some("A file of version 1"));
    assert_eq!(project.document().layers.len(), 2);
    assert_eq!(project.can_redo(), Some("Rename"));
    let blob = project.document().layers[0].patches[0].clone();
    let pixels = project.document().pixels(&blob).unwrap();
    assert_eq!(project.blob(&pixels.image).unwrap(), b"second take");
    while project.undo().unwrap().is_some() {}
    assert!(project.document().layers.is_empty());
    while project.redo().unwrap().is_some() {}
    assert_eq!(project.document().layers[1].name, "Renamed");
}

#[test]
fn the_documented_query_gives_what_is_seen() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/file-format.md")).unwrap();
    let start = page.find("    WITH RECURSIVE hidden").unwrap();
    let sql = page[start..].split("\n\n").next().unwrap();
    let (_folder, path) = folder();
    let document = sample(&path, 13, 80);
    let mut expected = Vec::new();
    for layer in document.layers.iter().filter(|layer| document.is_visible(layer)) {
        let mask = layer.mask.as_ref().filter(|mask| mask.enabled).map(|mask| *mask.image.as_bytes());
        for patch in &layer.patches {
            let pixels = document.pixels(patch).unwrap();
            let own_mask = pixels.mask.map(|mask| *mask.as_bytes());
            expected.push((*pixels.image.as_bytes(), own_mask, patch.rect.x, layer.group.map(GroupId::get), mask));
        }
    }
    let hidden = |layer: &&Layer| layer.visible && !document.is_visible(layer) && !layer.patches.is_empty();
    assert!(expected.len() > 3 && document.layers.iter().any(|layer| hidden(&layer)));
    let connection = rusqlite::Connection::open(&path).unwrap();
    let mut query = connection.prepare(sql).unwrap();
    let rows = query.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, Option<i64>>(8)?.map(|id| id as u64), row.get(9)?))
    });
    assert_eq!(rows.unwrap().map(Result::unwrap).collect::<Vec<_>>(), expected);
}

/// Every table and column of a new project is named in the page, so that none is forgotten there.
#[test]
fn the_page_names_every_table_and_column() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/file-format.md")).unwrap();
    let (_folder, path) = folder();
    Project::create(&path, "").unwrap().close().unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let mut query = connection
        .prepare(
            "SELECT DISTINCT t.name, c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c WHERE t.type = 'table'",
        )
        .unwrap();
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    for row in rows.unwrap() {
        let (table, column) = row.unwrap();
        assert!(page.contains(&format!("`{table}`")) && page.contains(&format!("`{column}`")), "{table}.{column}");
    }
}

/// Writes the file that the test of old versions reads, with the present version. Run it once for a new version, then keep the file:
/// `cargo test -p outframe-document --test files -- --ignored write_fixture`
#[test]
#[ignore = "writes a fixture"]
fn write_fixture() {
    use outframe_document::{Frame, Generation, Patch, PatchContent, Provenance, Rect, Take};
    let name = format!("tests/fixtures/version-{SCHEMA_VERSION}.outframe");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let mut project = Project::create(&path, &format!("A file of version {SCHEMA_VERSION}")).unwrap();
    let rect = Rect::new(-64, 0, 512, 512);
    let takes: Vec<_> = [b"first take".as_slice(), b"second take"]
        .iter()
        .enumerate()
        .map(|(seed, bytes)| Take {
            id: project.next_take_id(),
            seed: u64::MAX - seed as u64,
            image: project.put_blob(bytes, "application/octet-stream").unwrap(),
            mask: None,
            seconds: 1.5,
        })
        .collect();
    let mut provenance = Provenance { engine: "engine 1".into(), device: "cpu".into(), ..Provenance::default() };
    provenance.request.prompt = "a garden".into();
    let (chosen, other) = (takes[0].id, takes[1].id);
    let generation = Generation { id: project.next_generation_id(), rect, provenance, takes, chosen };
    let shown = generation.id;
    let mut layer = Layer::new(project.next_layer_id(), "Garden");
    layer.patches.push(Patch::new(project.next_patch_id(), rect, PatchContent::Generation(shown)));
    layer.patches.push(random_patch(&mut project, &mut Random(1), BlobSize(100)));
    let add = Edit::AddGeneration { generation: Box::new(generation) };
    project.apply(Step::new("Generate", vec![add, Edit::AddLayer { index: 0, layer: Box::new(layer) }])).unwrap();
    let choose = Edit::ChooseTake { generation: shown, take: other };
    project.apply(Step::new("Choose take 2", vec![choose])).unwrap();
    let top = Layer::new(project.next_layer_id(), "Top");
    let renamed = top.id;
    let frame = Frame { id: project.next_frame_id(), name: "Wide".into(), rect };
    let add = Edit::AddLayer { index: 1, layer: Box::new(top) };
    project.apply(Step::new("Add layer and frame", vec![add, Edit::AddFrame { index: 0, frame }])).unwrap();
    let edits = common::one_of_each(&mut project);
    project.apply(Step::new("Film", edits)).unwrap();
    project.set_milestone("Milestone", project.current_step()).unwrap();
    project.set_thumbnail(b"\x89PNG\r\n\x1a\nsmall").unwrap();
    let change = outframe_document::LayerChange::Name("Renamed".into());
    project.apply(Step::new("Rename", vec![Edit::SetLayer { layer: renamed, change }])).unwrap();
    project.undo().unwrap();
    project.close().unwrap();
}

//! Branches, milestones, purging, and what undo costs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod common;

use common::{BlobSize, Random, random_step};
use outframe_document::{
    BlobId, Document, Edit, Error, Layer, Origin, Patch, PatchContent, PatchImage, Project, Purge, Rect, Step, StepId,
};
use proptest::prelude::*;
use tempfile::TempDir;

fn new_project(folder: &TempDir) -> Project {
    Project::create(folder.path().join("picture.outframe"), "").unwrap()
}

/// A layer with one picture of these bytes.
fn add_picture(project: &mut Project, name: &str, bytes: &[u8]) -> (StepId, BlobId) {
    let image = project.put_blob(bytes, "image/png").unwrap();
    let content = PatchContent::Image(Box::new(PatchImage { image, mask: None, origin: Origin::Drawn }));
    let mut layer = Layer::new(project.next_layer_id(), name);
    layer.patches.push(Patch::new(project.next_patch_id(), Rect::new(0, 0, 4096, 4096), content));
    let add = Edit::AddLayer { index: 0, layer: Box::new(layer) };
    project.apply(Step::new(name, vec![add])).unwrap();
    (project.current_step(), image)
}

#[test]
fn branches_are_listed_with_where_they_part() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    let root = project.current_step();
    assert_eq!(project.branches().unwrap().len(), 1);
    let (a, _) = add_picture(&mut project, "a", b"a");
    let (b, _) = add_picture(&mut project, "b", b"b");
    let (c, _) = add_picture(&mut project, "c", b"c");
    project.go_to(a).unwrap();
    let (d, _) = add_picture(&mut project, "d", b"d");
    project.go_to(root).unwrap();
    let (e, _) = add_picture(&mut project, "e", b"e");
    project.go_to(b).unwrap();

    let line = |branch: &outframe_document::Branch| (branch.tip.id, branch.fork, branch.steps, branch.current);
    let branches: Vec<_> = project.branches().unwrap().iter().map(line).collect();
    assert_eq!(branches, [(c, b, 1, true), (e, root, 1, false), (d, a, 1, false)]);
    project.go_to(e).unwrap();
    let branches: Vec<_> = project.branches().unwrap().iter().map(line).collect();
    assert_eq!(branches, [(e, e, 0, true), (d, root, 2, false), (c, root, 3, false)]);
}

#[test]
fn milestones_are_kept_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    let (a, _) = add_picture(&mut project, "a", b"a");
    let (b, _) = add_picture(&mut project, "b", b"b");
    project.set_milestone("for the client", a).unwrap();
    project.set_milestone("second", b).unwrap();
    project.set_milestone("zweite", b).unwrap();
    for bad in ["", "second"] {
        assert!(matches!(project.set_milestone(bad, a), Err(Error::InvalidEdit { .. })), "{bad:?}");
    }
    assert!(matches!(project.set_milestone("x", StepId::from_raw(99)), Err(Error::InvalidEdit { .. })));
    assert!(matches!(project.rename_milestone("second", "zweite"), Err(Error::InvalidEdit { .. })));
    assert!(matches!(project.rename_milestone("third", "other"), Err(Error::InvalidEdit { .. })));
    project.rename_milestone("second", "the last").unwrap();
    project.remove_milestone("zweite").unwrap();
    assert!(matches!(project.remove_milestone("zweite"), Err(Error::InvalidEdit { .. })));
    project.undo().unwrap();
    let path = project.path().to_path_buf();
    project.close().unwrap();

    let mut project = Project::open(path).unwrap();
    let names: Vec<_> = project.milestones().unwrap().into_iter().map(|found| (found.name, found.step)).collect();
    assert_eq!(names, [("for the client".to_owned(), a), ("the last".to_owned(), b)]);
    project.go_to(names[1].1).unwrap();
    assert_eq!(project.document().layers.len(), 2);
    assert!(project.check().unwrap().is_clean());
}

#[test]
fn purging_the_past_keeps_the_present_and_frees_what_only_the_past_showed() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    let (first, gone) = add_picture(&mut project, "gone", &vec![1; 100_000]);
    project.set_milestone("old", first).unwrap();
    let layer = project.document().layers[0].id;
    project.apply(Step::new("Remove", vec![Edit::RemoveLayer { layer }])).unwrap();
    let (point, kept) = add_picture(&mut project, "kept", &vec![2; 100_000]);
    let (last, _) = add_picture(&mut project, "last", &[3; 1000]);
    project.set_milestone("new", last).unwrap();
    let document = project.document().clone();

    let preview = project.preview_purge(Purge::Before(point)).unwrap();
    assert_eq!((preview.steps, preview.blobs, preview.milestones.as_slice()), (3, 1, ["old".to_owned()].as_slice()));
    assert!((100_000..120_000).contains(&preview.bytes), "{}", preview.bytes);
    assert_eq!(project.blob(&gone).unwrap().len(), 100_000, "a preview changes nothing");
    assert_eq!(project.purge(Purge::Before(point)).unwrap(), preview);

    assert_eq!(project.document(), &document);
    assert!(matches!(project.blob(&gone), Err(Error::NoSuchBlob { .. })));
    assert_eq!(project.blob(&kept).unwrap().len(), 100_000);
    let report = project.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert_eq!(project.undo().unwrap().as_deref(), Some("last"));
    assert_eq!(project.undo().unwrap(), None, "the point is the root now");
    assert_eq!(project.purge(Purge::Before(point)).unwrap().steps, 0);
    let before = project.size_on_disk().unwrap();
    let compacted = project.compact().unwrap();
    assert!(compacted.bytes_after + 100_000 < before.max(compacted.bytes_before), "{compacted:?}");
    let path = project.path().to_path_buf();
    project.close().unwrap();
    let mut project = Project::open(path).unwrap();
    assert_eq!(project.redo().unwrap().as_deref(), Some("last"));
    assert_eq!(project.document(), &document);
    assert_eq!(project.milestones().unwrap().len(), 1);
}

#[test]
fn purging_branches_spares_milestones_and_what_can_be_redone() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    let root = project.current_step();
    let (dead, dead_blob) = add_picture(&mut project, "dead", &[1; 5000]);
    project.go_to(root).unwrap();
    let (named, named_blob) = add_picture(&mut project, "named", &[2; 5000]);
    let (beyond, _) = add_picture(&mut project, "beyond", &[3; 5000]);
    project.set_milestone("keep this", named).unwrap();
    project.go_to(root).unwrap();
    let (here, _) = add_picture(&mut project, "here", &[4; 5000]);
    let (redo, _) = add_picture(&mut project, "redo", &[5; 5000]);
    project.go_to(here).unwrap();

    assert!(matches!(project.purge(Purge::From(here)), Err(Error::InvalidEdit { .. })), "it is applied");
    assert!(matches!(project.purge(Purge::Before(named)), Err(Error::InvalidEdit { .. })), "it is elsewhere");
    assert!(matches!(project.purge(Purge::From(StepId::from_raw(77))), Err(Error::InvalidEdit { .. })));
    let purged = project.purge(Purge::OtherBranches).unwrap();
    assert_eq!((purged.steps, purged.blobs), (2, 2));
    let steps: Vec<_> = project.history().unwrap().into_iter().map(|step| step.id).collect();
    assert_eq!(steps, [root, named, here, redo]);
    assert!(!steps.contains(&dead) && !steps.contains(&beyond));
    assert!(matches!(project.blob(&dead_blob), Err(Error::NoSuchBlob { .. })));
    assert!(project.blob(&named_blob).is_ok());

    assert_eq!(project.purge(Purge::From(named)).unwrap().milestones, ["keep this"]);
    project.purge(Purge::From(redo)).unwrap();
    assert_eq!(project.can_redo(), None);
    assert_eq!(project.redo().unwrap(), None);
    assert!(project.check().unwrap().is_clean());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn purging_changes_no_state_that_remains(seed: u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut project = new_project(&folder);
        let mut random = Random(seed);
        let mut states: Vec<(StepId, Document)> = vec![(project.current_step(), project.document().clone())];
        for _ in 0..40 {
            if random.below(5) == 0 {
                let at = states[random.below(states.len())].0;
                project.go_to(at).unwrap();
            }
            let step = random_step(&mut project, &mut random, BlobSize(500));
            project.apply(step).unwrap();
            states.push((project.current_step(), project.document().clone()));
        }
        for _ in 0..4 {
            let known: Vec<_> = project.history().unwrap();
            let any = known[random.below(known.len())].id;
            let what = [Purge::Before(any), Purge::From(any), Purge::OtherBranches][random.below(3)];
            let before = project.document().clone();
            match project.preview_purge(what) {
                Ok(preview) => prop_assert_eq!(project.purge(what).unwrap(), preview),
                Err(error) => {
                    let refused = matches!(error, Error::InvalidEdit { .. });
                    prop_assert!(refused);
                    prop_assert!(project.purge(what).is_err());
                }
            }
            prop_assert_eq!(project.document(), &before);
            let report = project.check().unwrap();
            prop_assert!(report.is_clean(), "{:?}", report.problems);
            prop_assert_eq!(project.compact().unwrap().orphans, 0, "a purge leaves no picture that nothing wants");
        }
        for step in project.history().unwrap() {
            project.go_to(step.id).unwrap();
            prop_assert_eq!(project.document(), &states.iter().find(|(id, _)| *id == step.id).unwrap().1);
        }
    }
}

/// How many bytes this thread has read from and written to files so far.
#[cfg(target_os = "linux")]
fn traffic() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<u64>().unwrap()
    };
    (number("rchar:"), number("wchar:"))
}

#[cfg(target_os = "linux")]
#[test]
fn undoing_a_large_picture_touches_none_of_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    // As much as a PNG of 4096 x 4096 pixels may have.
    let mut random = Random(1);
    let bytes: Vec<u8> = (0..5_000_000).flat_map(|_| random.next().to_le_bytes()).collect();
    let (step, image) = add_picture(&mut project, "Paste", &bytes);
    let layer = project.document().layers[0].id;
    let path = project.path().to_path_buf();
    project.close().unwrap();

    let mut project = Project::open(path).unwrap();
    let (read, written) = traffic();
    let started = std::time::Instant::now();
    assert_eq!(project.undo().unwrap().as_deref(), Some("Paste"));
    project.redo().unwrap();
    project.apply(Step::new("Remove", vec![Edit::RemoveLayer { layer }])).unwrap();
    project.undo().unwrap();
    let took = started.elapsed();
    let (read, written) = (traffic().0 - read, traffic().1 - written);
    assert!(read < 1 << 20, "{read} bytes were read");
    assert!(written < 1 << 20, "{written} bytes were written");
    assert!(took.as_secs_f64() < 5.0, "{took:?} for four changes");
    assert_eq!(project.current_step(), step);
    assert!(project.blob(&image).unwrap() == bytes);
}

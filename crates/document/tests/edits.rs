//! Properties of edits, undo and redo, on real project files.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, also in its helpers")]

mod common;

use common::{BlobSize, Random, random_step};
use outframe_document::{
    Document, Easing, Edit, Error, Frame, FrameRate, Group, GroupChange, Keyframe, Layer, LayerChange,
    MAX_GROUP_NESTING, Project, Rect, ShotChange, Step,
};
use proptest::prelude::*;
use tempfile::TempDir;

const SMALL: BlobSize = BlobSize(2000);

fn new_project(folder: &TempDir) -> Project {
    Project::create(folder.path().join("picture.outframe"), "Picture").unwrap()
}

fn add_layer(project: &mut Project, name: &str) {
    let layer = Box::new(Layer::new(project.next_layer_id(), name));
    project.apply(Step::new(format!("Add {name}"), vec![Edit::AddLayer { index: 0, layer }])).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_undone_is_the_beginning_and_all_redone_the_end(seed: u64, count in 1_usize..50) {
        let folder = tempfile::tempdir().unwrap();
        let mut project = new_project(&folder);
        let mut random = Random(seed);
        let mut states: Vec<Document> = vec![project.document().clone()];
        for _ in 0..count {
            let step = random_step(&mut project, &mut random, SMALL);
            project.apply(step).unwrap();
            states.push(project.document().clone());
        }
        for expected in states.iter().rev().skip(1) {
            prop_assert!(project.undo().unwrap().is_some());
            prop_assert_eq!(project.document(), expected);
        }
        prop_assert_eq!(project.undo().unwrap(), None);
        prop_assert_eq!(serde_json::to_vec(project.document()).unwrap(), serde_json::to_vec(&states[0]).unwrap());

        // Over a closing and reopening, half way.
        project.close().unwrap();
        let mut project = Project::open(folder.path().join("picture.outframe")).unwrap();
        prop_assert_eq!(project.document(), &states[0]);
        for expected in &states[1..] {
            prop_assert!(project.redo().unwrap().is_some());
            prop_assert_eq!(project.document(), expected);
        }
        prop_assert_eq!(project.redo().unwrap(), None);
        let bytes = |document: &Document| serde_json::to_vec(document).unwrap();
        prop_assert_eq!(bytes(project.document()), bytes(&states[count]));
        let report = project.check().unwrap();
        prop_assert!(report.is_clean(), "{:?}", report.problems);
        let path = project.path().to_path_buf();
        drop(project);
        let reader = Project::open_read_only(path).unwrap();
        prop_assert_eq!(reader.document(), states.last().unwrap());
    }

    #[test]
    fn every_step_of_every_branch_can_be_returned_to(seed: u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut project = new_project(&folder);
        let mut random = Random(seed);
        let mut states = vec![(project.current_step(), project.document().clone())];
        for _ in 0..30 {
            if random.below(4) == 0 {
                let (step, state) = &states[random.below(states.len())];
                project.go_to(*step).unwrap();
                prop_assert_eq!(project.document(), state);
            }
            let step = random_step(&mut project, &mut random, SMALL);
            project.apply(step).unwrap();
            states.push((project.current_step(), project.document().clone()));
        }
        for _ in 0..10 {
            let (step, state) = &states[random.below(states.len())];
            project.go_to(*step).unwrap();
            prop_assert_eq!(project.document(), state);
            prop_assert_eq!(project.current_step(), *step);
        }
        prop_assert_eq!(project.history().unwrap().len(), states.len());
        let report = project.check().unwrap();
        prop_assert!(report.is_clean(), "{:?}", report.problems);
        prop_assert_eq!(report.steps, states.len() as u64);
    }

    #[test]
    fn a_step_that_fails_changes_nothing(seed: u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut project = new_project(&folder);
        let mut random = Random(seed);
        for _ in 0..10 {
            let step = random_step(&mut project, &mut random, SMALL);
            project.apply(step).unwrap();
            let mut step = random_step(&mut project, &mut random, SMALL);
            step.edits.push(Edit::RemoveLayer { layer: project.next_layer_id() });
            let (before, at) = (project.document().clone(), project.current_step());
            let refused = matches!(project.apply(step), Err(Error::InvalidEdit { .. }));
            prop_assert!(refused);
            prop_assert_eq!(project.document(), &before);
            prop_assert_eq!(project.current_step(), at);
        }
        let report = project.check().unwrap();
        prop_assert!(report.is_clean(), "{:?}", report.problems);
    }
}

#[test]
fn a_new_edit_after_undo_starts_a_branch_and_keeps_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    add_layer(&mut project, "sky");
    add_layer(&mut project, "sea");
    let sea = (project.current_step(), project.document().clone());
    assert_eq!(project.undo().unwrap().as_deref(), Some("Add sea"));
    assert_eq!((project.can_undo(), project.can_redo()), (Some("Add sky"), Some("Add sea")));
    add_layer(&mut project, "sand");
    assert_eq!(project.can_redo(), None, "redo does not lead back to the other branch");

    let history = project.history().unwrap();
    let line = |name: &str| history.iter().find(|step| step.name == name).unwrap();
    assert_eq!(line("Add sea").parent, line("Add sand").parent);
    assert_eq!((line("Add sea").applied, line("Add sand").applied), (false, true));
    assert!(line("Add sand").current && line("New project").applied);

    project.go_to(sea.0).unwrap();
    assert_eq!(project.document(), &sea.1);
    // The way just left is the one that redo takes after going back to the fork.
    project.undo().unwrap();
    assert_eq!(project.can_redo(), Some("Add sea"));
}

#[test]
fn the_history_goes_on_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    assert_eq!((project.can_undo(), project.can_redo()), (None, None));
    assert_eq!(project.document().title(), Some("Picture"));
    add_layer(&mut project, "one");
    add_layer(&mut project, "two");
    project.undo().unwrap();
    let path = project.path().to_path_buf();
    project.close().unwrap();

    let mut project = Project::open(path).unwrap();
    assert_eq!((project.can_undo(), project.can_redo()), (Some("Add one"), Some("Add two")));
    assert_eq!(project.redo().unwrap().as_deref(), Some("Add two"));
    let known: Vec<_> = project.document().layers.iter().map(|layer| layer.id).collect();
    assert!(!known.contains(&project.next_layer_id()), "ids are not given out twice");
}

#[test]
fn values_out_of_range_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    add_layer(&mut project, "layer");
    let layer = project.document().layers[0].id;
    let before = project.document().clone();
    let frame = |project: &mut Project, rect| {
        let frame = Frame { id: project.next_frame_id(), name: String::new(), rect };
        Edit::AddFrame { index: 0, frame }
    };
    let bad = [
        Edit::SetLayer { layer, change: LayerChange::Opacity(f64::NAN) },
        Edit::SetLayer { layer, change: LayerChange::Opacity(1.5) },
        Edit::SetLayer { layer, change: LayerChange::Depth(0.0) },
        Edit::SetLayer { layer, change: LayerChange::Name("n".repeat(5000)) },
        Edit::MoveLayer { layer, index: 1 },
        Edit::AddLayer { index: 0, layer: Box::new(Layer::new(layer, "twice")) },
        Edit::AddLayer { index: 7, layer: Box::new(Layer::new(project.next_layer_id(), "far")) },
        Edit::AddLayer {
            index: 0,
            layer: Box::new(Layer::new(u64::MAX.to_string().parse().unwrap(), "not given out")),
        },
        frame(&mut project, Rect::new(i64::MAX, 0, 10, 10)),
        frame(&mut project, Rect::new(0, 0, 0, 10)),
        Edit::SetMeta { key: String::new(), value: Some(1.into()) },
    ];
    for edit in bad {
        let step = Step::new("bad", vec![edit.clone()]);
        match project.apply(step) {
            Err(Error::InvalidEdit { why }) => assert!(!why.is_empty()),
            other => panic!("{edit:?} gave {other:?}"),
        }
    }
    assert!(matches!(project.apply(Step::new("nothing", Vec::new())), Err(Error::InvalidEdit { .. })));
    assert_eq!(project.document(), &before);
    assert_eq!(project.history().unwrap().len(), 2);
}

#[test]
fn what_others_need_is_not_removed_and_no_group_holds_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    add_layer(&mut project, "layer");
    let frame = Frame { id: project.next_frame_id(), name: String::new(), rect: Rect::new(0, 0, 10, 10) };
    let frame_id = frame.id;
    project.apply(Step::new("Frame", vec![Edit::AddFrame { index: 0, frame }])).unwrap();
    let edits = common::one_of_each(&mut project);
    project.apply(Step::new("One of each", edits)).unwrap();
    let document = project.document().clone();
    let [outer, inner] = document.groups.keys().copied().collect::<Vec<_>>()[..] else { panic!("two groups") };
    let shot = document.shots[0].clone();
    let mut endless = document.sequences[0].clone();
    endless.shots = vec![shot.id; outframe_document::MAX_SEQUENCE_SHOTS + 1];
    let set = |group, parent| Edit::SetGroup { group, change: GroupChange::Parent(parent) };
    let bad = [
        Edit::RemoveGroup { group: outer },
        Edit::RemoveGroup { group: inner },
        Edit::RemoveFrame { frame: frame_id },
        Edit::RemoveShot { shot: shot.id },
        set(outer, Some(inner)),
        set(outer, Some(outer)),
        set(outer, Some(project.next_group_id())),
        Edit::SetSequence { sequence: endless },
        Edit::SetShot { shot: shot.id, change: ShotChange::Frames(0) },
        Edit::SetShot { shot: shot.id, change: ShotChange::Rate(FrameRate { numerator: 24, denominator: 0 }) },
        Edit::SetShot {
            shot: shot.id,
            change: ShotChange::Keyframes(vec![Keyframe {
                channel: "yaw".into(),
                frame: 0,
                value: f64::NAN,
                easing: Easing::CubicBezier([2.0, 0.0, 0.0, 0.0]),
            }]),
        },
    ];
    for edit in bad {
        let result = project.apply(Step::new("bad", vec![edit.clone()]));
        assert!(matches!(result, Err(Error::InvalidEdit { .. })), "{edit:?}");
    }
    // As deep as is allowed, and one deeper.
    let mut parent = None;
    for depth in 1..=MAX_GROUP_NESTING + 1 {
        let mut group = Group::new(project.next_group_id(), format!("level {depth}"));
        group.parent = parent;
        parent = Some(group.id);
        let result = project.apply(Step::new("Nest", vec![Edit::AddGroup { group: Box::new(group) }]));
        assert_eq!(result.is_ok(), depth <= MAX_GROUP_NESTING, "{depth}");
    }
    assert!(project.check().unwrap().is_clean());
}

#[test]
fn a_null_note_is_no_note() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    let set = |value| Edit::SetMeta { key: "note".into(), value };
    project.apply(Step::new("Note", vec![set(Some(serde_json::json!("x")))])).unwrap();
    project.apply(Step::new("Clear", vec![set(Some(serde_json::Value::Null))])).unwrap();
    assert!(!project.document().meta.contains_key("note"));
    project.undo().unwrap();
    assert_eq!(project.document().meta["note"], "x");
    assert!(project.check().unwrap().is_clean());
}

#[test]
fn what_a_request_brings_along_must_be_readable_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut project = new_project(&folder);
    add_layer(&mut project, "layer");
    let layer = project.document().layers[0].id;
    let mut random = Random(1);
    let mut patch = common::random_patch(&mut project, &mut random, SMALL);
    let mut provenance = Box::<outframe_document::Provenance>::default();
    // Written out, this would be a second `prompt`.
    provenance.request.extra.insert("prompt".into(), "other".into());
    if let outframe_document::PatchContent::Image(image) = &mut patch.content {
        image.origin = outframe_document::Origin::Generated { provenance, seconds: 0.0 };
    }
    let step = Step::new("Add", vec![Edit::AddPatch { layer, index: 0, patch: Box::new(patch) }]);
    assert!(matches!(project.apply(step), Err(Error::InvalidEdit { .. })));
    assert!(project.document().layers[0].patches.is_empty());
}

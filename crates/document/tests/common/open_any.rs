//! What must hold for a file of any content at all: it opens, is repaired, or is refused with a clear message.

use std::path::Path;

use outframe_document::{Edit, Error, Project, Step};

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// It opened, and nothing was wrong with it.
    Sound,
    /// Something was wrong; a project that is right could be made out of it.
    Repaired,
    /// It was refused.
    Refused,
}

/// Writes `content` as a project into `folder`, which is empty, and does with it what a user might.
///
/// Panics when the program would have done wrong.
#[expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]
pub(crate) fn open_any(folder: &Path, content: &[u8]) -> Outcome {
    let (path, mended) = (folder.join("any.outframe"), folder.join("mended.outframe"));
    std::fs::write(&path, content).unwrap();
    let sound = Project::diagnose(&path).is_ok_and(|report| report.is_clean());
    let outcome = match Project::repair(&path, &mended) {
        Ok(repaired) => {
            assert!(!sound || repaired.is_complete(), "{repaired:?}");
            Outcome::Repaired
        }
        Err(error) => {
            assert!(!sound, "{error}");
            assert!(!error.to_string().is_empty());
            match error {
                Error::NotAProject { .. } | Error::Damaged { .. } | Error::Newer { .. } => Outcome::Refused,
                other => panic!("{other:?}"),
            }
        }
    };
    assert!(std::fs::read(&path).unwrap() == content, "a repair does not change the damaged file");
    if outcome == Outcome::Repaired {
        use_it(&mended);
    }
    // Whatever happens to the damaged file itself, it does so without a panic.
    if let Ok(mut project) = Project::open(&path) {
        let _ = project.check();
        while let Ok(Some(_)) = project.undo() {}
        let _ = project.branches();
        let _ = project.milestones();
        let _ = project.apply(note());
        let _ = project.close();
    }
    if sound { Outcome::Sound } else { outcome }
}

fn note() -> Step {
    Step::new("note", vec![Edit::SetMeta { key: "k".into(), value: Some(1.into()) }])
}

#[expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]
fn use_it(path: &Path) {
    let mut project = Project::open(path).unwrap();
    let document = project.document().clone();
    let report = project.check().unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    let mut undone = 0;
    while project.undo().unwrap().is_some() {
        undone += 1;
    }
    for _ in 0..undone {
        project.redo().unwrap();
    }
    assert!(*project.document() == document);
    project.apply(note()).unwrap();
    project.close().unwrap();
}

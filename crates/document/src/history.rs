//! The tree of steps.

use std::time::SystemTime;

use crate::id::StepId;

/// One step of the history, for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepInfo {
    /// Its name for programs.
    pub id: StepId,
    /// The step that it was made after; `None` for the root, which is the new project or the point before which the
    /// history has been purged.
    pub parent: Option<StepId>,
    /// The step to which redo leads from here; `None` for none.
    pub next: Option<StepId>,
    /// What was done, such as "Extend right".
    pub name: String,
    /// When, by the computer's clock.
    pub time: SystemTime,
    /// Whether the document contains it: it is the current step or one that the current step builds on.
    pub applied: bool,
    /// Whether it is the current step.
    pub current: bool,
}

/// A line of the history, from where it parts from the current one to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its last step: the one to [go to](crate::Project::go_to) for the branch.
    pub tip: StepInfo,
    /// The newest step that it shares with the line through the current step. For the current branch itself, the
    /// current step.
    pub fork: StepId,
    /// How many steps it has after `fork`. For the current branch: how many can be redone.
    pub steps: u64,
    /// Whether undo and redo move along it.
    pub current: bool,
}

/// A name that the user has given to a step of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Milestone {
    /// The name; no two milestones of a project have the same.
    pub name: String,
    /// The step after which the document was as the user wants to remember it.
    pub step: StepId,
    /// When the name was given, by the computer's clock.
    pub time: SystemTime,
}

/// Which part of the history to forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purge {
    /// All that was done before this step, and all branches that part from the history before it. The step becomes the
    /// root; it must be the current one or one that the current one builds on. [Milestones](Milestone) on what is
    /// forgotten are forgotten with it.
    Before(StepId),
    /// This step, which must not be applied now, and all that was done after it, milestones included.
    From(StepId),
    /// All branches but the one along which undo and redo move. Steps with a [milestone](Milestone), and what they
    /// build on, are kept.
    OtherBranches,
}

/// What a purge forgets, or would forget.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Purged {
    /// How many steps.
    pub steps: u64,
    /// How many pictures, which nothing that remains refers to.
    pub blobs: u64,
    /// How many bytes these pictures and steps take. The file uses them for what comes next; to make it smaller, call
    /// [`Project::compact`](crate::Project::compact).
    pub bytes: u64,
    /// The names of the milestones that are forgotten too.
    pub milestones: Vec<String>,
}

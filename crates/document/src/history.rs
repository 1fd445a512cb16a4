//! The tree of steps.

use std::time::SystemTime;

use crate::id::StepId;

/// One step of the history, for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepInfo {
    /// Its name for programs.
    pub id: StepId,
    /// The step that it was made after; `None` for the root, which is the new project.
    pub parent: Option<StepId>,
    /// What was done, such as "Extend right".
    pub name: String,
    /// When, by the computer's clock.
    pub time: SystemTime,
    /// Whether the document contains it: it is the current step or one that the current step builds on.
    pub applied: bool,
    /// Whether it is the current step.
    pub current: bool,
}

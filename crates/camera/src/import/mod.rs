//! Camera moves of other programs: Deforum's schedules, Runway-style dials, Kling's `camera_control`.
//!
//! What is read is untrusted: texts are bounded in length, expressions also in nesting and in the work they make.

mod deforum;
mod dials;
mod expression;

pub use deforum::{Deforum, DeforumMode, deforum};
pub use dials::{KlingPan, RunwayDials, kling};
pub use expression::{Schedule, ScheduleContext};

use serde::{Deserialize, Serialize};

use crate::{Keyframe, Move, Shot};

/// What was read from another program.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Imported {
    /// How many pictures the film has there, if that is said.
    pub frames: Option<u32>,
    /// The lens in millimetres on film 36 mm wide, if one is said.
    pub lens: Option<f64>,
    /// Moves.
    pub moves: Vec<Move>,
    /// Keyframes.
    pub keyframes: Vec<Keyframe>,
    /// What the user should know: what was interpreted, and what was left out.
    pub notes: Vec<String>,
}

impl Imported {
    /// Lets a shot do what was read in place of what it did.
    pub fn apply_to(&self, shot: &mut Shot) {
        if let Some(frames) = self.frames {
            shot.frames = frames;
        }
        if let Some(lens) = self.lens {
            shot.lens = lens;
        }
        shot.moves.clone_from(&self.moves);
        shot.keyframes.clone_from(&self.keyframes);
    }
}

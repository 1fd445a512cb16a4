//! Shots and sequences: what the camera does, as data. How a move looks is the business of the camera's maths.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{FrameId, SequenceId, ShotId};

/// A camera's way over the canvas, to be rendered as a film.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shot {
    /// Its stable name for programs.
    pub id: ShotId,
    /// Its name for people.
    pub name: String,
    /// The frame that the camera sees at rest.
    pub frame: FrameId,
    /// The film's width in pixels, 1..=[`MAX_SIDE`](crate::MAX_SIDE).
    pub width: u32,
    /// The film's height in pixels, 1..=[`MAX_SIDE`](crate::MAX_SIDE).
    pub height: u32,
    /// How many pictures a second has.
    pub rate: FrameRate,
    /// How many pictures the film has, 1..=[`MAX_SHOT_FRAMES`](crate::MAX_SHOT_FRAMES).
    pub frames: u32,
    /// What the camera does; moves at the same time add up. At most [`MAX_MOVES`](crate::MAX_MOVES).
    pub moves: Vec<Move>,
    /// Values of single channels at single times. At most [`MAX_KEYFRAMES`](crate::MAX_KEYFRAMES).
    pub keyframes: Vec<Keyframe>,
    /// Settings that this version does not know or that only a few shots have, such as motion blur.
    pub settings: BTreeMap<String, Value>,
}

impl Shot {
    /// A shot of five seconds at 24 pictures a second in 1920 x 1080, in which nothing moves.
    pub fn new(id: ShotId, name: impl Into<String>, frame: FrameId) -> Self {
        Self {
            id,
            name: name.into(),
            frame,
            width: 1920,
            height: 1080,
            rate: FrameRate { numerator: 24, denominator: 1 },
            frames: 120,
            moves: Vec::new(),
            keyframes: Vec::new(),
            settings: BTreeMap::new(),
        }
    }

    /// The duration in seconds.
    pub fn seconds(&self) -> f64 {
        f64::from(self.frames) / self.rate.per_second()
    }
}

/// Pictures per second as a fraction, so that 24000/1001 is exact. Both numbers are 1..=1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameRate {
    /// So many pictures
    pub numerator: u32,
    /// in so many seconds.
    pub denominator: u32,
}

impl FrameRate {
    /// Pictures per second.
    pub fn per_second(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }
}

/// One move of the camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Which.
    pub kind: MoveKind,
    /// The picture at which it begins, from 0.
    pub from: u32,
    /// The picture at which it is complete, at least `from`.
    pub to: u32,
    /// The amount at the beginning, in the kind's unit.
    pub start: f64,
    /// The amount at the end, in the kind's unit.
    pub end: f64,
    /// How it gets from the one to the other.
    pub easing: Easing,
    /// What only some kinds have, such as the pivot of an orbit, the seed of a handheld camera or the boxes of a reframe.
    pub settings: BTreeMap<String, Value>,
}

/// What a move does. Positive is right, up, in, and clockwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MoveKind {
    /// Nothing.
    Static,
    /// Turns to the right or left, in degrees.
    Pan,
    /// Turns up or down, in degrees.
    Tilt,
    /// Turns about the view's axis, in degrees.
    Roll,
    /// Goes sideways, in frame widths.
    Truck,
    /// Goes up or down, in frame heights.
    Pedestal,
    /// Goes in or out, in fractions of the subject's distance.
    Dolly,
    /// Changes the focal length, as a factor.
    Zoom,
    /// Goes around a pivot, in degrees.
    Orbit,
    /// Goes around a pivot upwards or downwards and keeps looking at it, in degrees.
    Elevation,
    /// Goes up or down and keeps looking at the subject, in frame heights.
    Crane,
    /// Goes in or out while the subject keeps its size, in fractions of the subject's distance.
    DollyZoom,
    /// Shakes as a person does, in percent of the frame.
    Handheld,
    /// Goes from one rectangle of the canvas to another, from 0 to 1.
    Reframe,
}

/// How a value gets from one amount to the next.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Easing {
    /// Evenly.
    Linear,
    /// Starts slowly.
    In,
    /// Ends slowly.
    Out,
    /// Starts and ends slowly.
    #[default]
    InOut,
    /// Not before the end.
    Hold,
    /// By a cubic curve through (0, 0) and (1, 1) with the two handles x1, y1, x2, y2; both x are 0..=1.
    CubicBezier([f64; 4]),
}

/// The value of one channel at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyframe {
    /// Which value of the camera, such as "yaw".
    pub channel: String,
    /// At which picture, from 0.
    pub frame: u32,
    /// The value, in the channel's unit.
    pub value: f64,
    /// How it gets from here to the channel's next keyframe.
    pub easing: Easing,
}

/// Shots in the order in which they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// Its stable name for programs.
    pub id: SequenceId,
    /// Its name for people.
    pub name: String,
    /// From the first to the last; a shot may be shown more than once. At most
    /// [`MAX_SEQUENCE_SHOTS`](crate::MAX_SEQUENCE_SHOTS).
    pub shots: Vec<ShotId>,
}

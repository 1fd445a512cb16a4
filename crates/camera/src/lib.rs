//! The camera over the canvas, as pure mathematics: moves in film terms become a pose for each picture, a pose becomes the
//! exact homography of each layer, and a plan says what picture the move still lacks.
//!
//! - [`Shot`] holds [`Move`]s and [`Keyframe`]s. [`Shot::track`] checks it; [`Track::pose`] says where the camera is.
//! - [`Camera::homography`] leads a layer's canvas pixels to output pixels and back, by the layer's depth.
//! - [`plan`] finds what a shot sees of a layer that is not there, and the fills that paint it.
//! - [`path()`] is a shot's way over the canvas, for drawing.
//! - [`import`] reads Deforum schedules, Runway-style dials and Kling's camera control.
//!
//! Signs: positive is right, up, in, and clockwise as the operator turns the camera (the picture then turns
//! anticlockwise). The canvas's and the output's y point down, the camera's up. Angles are in degrees, times in pictures.
//!
//! ```
//! use outframe_camera::{CoverageOptions, Easing, Move, MoveKind, PixelRect, Rect, Shot, plan};
//!
//! # fn main() -> Result<(), outframe_camera::Error> {
//! let mut shot = Shot::new(Rect::new(0.0, 0.0, 1024.0, 576.0), 1920, 1080);
//! shot.moves.push(Move::new(MoveKind::Truck, 0.0, shot.last(), 0.0, 0.25).eased(Easing::EASY_EASE));
//! let coverage = plan(&shot, 1.0, &[PixelRect::new(0, 0, 1024, 576)], &CoverageOptions::default())?;
//! assert_eq!(coverage.to_string(), "lacks 20 % on the right: 1 fill");
//! # Ok(())
//! # }
//! ```

#![allow(
    clippy::float_cmp,
    reason = "that rest, the ends of an easing and equal poses are exact is promised; nothing else is compared exactly"
)]

mod coverage;
mod easing;
mod error;
mod geometry;
pub mod import;
mod moves;
mod noise;
mod path;
mod projection;
mod shot;
mod vector;

pub use coverage::{Coverage, CoverageOptions, Fill, Lack, plan};
pub use easing::Easing;
pub use error::Error;
pub use geometry::{PixelRect, Point, Rect};
pub use moves::{Dial, Move, MoveKind, Pivot};
pub use path::{ShotPath, path};
pub use projection::{Camera, Homography, Seen};
pub use shot::{Channel, Fit, FrameRate, Keyframe, MAX_FRAMES, MAX_KEYFRAMES, MAX_MOVES, Pose, Shot, Shutter, Track};

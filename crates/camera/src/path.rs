//! A shot's way over the canvas, for drawing.

use serde::Serialize;

use crate::{Error, Point, Shot, Track};

/// A shot's way over the picture plane, in canvas pixels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShotPath {
    /// What the middle of the picture sees, at even steps from the first picture to the last; without the moments when it
    /// looks past the plane.
    pub centres: Vec<Point>,
    /// What the first picture sees: top left, top right, bottom right and bottom left of the output. `None` if it reaches
    /// beyond the plane.
    pub start: Option<[Point; 4]>,
    /// What the last picture sees.
    pub end: Option<[Point; 4]>,
}

/// A shot's path with up to `samples` points (2..=100,000).
pub fn path(shot: &Shot, samples: u32) -> Result<ShotPath, Error> {
    let track = shot.track()?;
    let steps = samples.clamp(2, 100_000) - 1;
    let middle = Point::new(f64::from(shot.width) / 2.0, f64::from(shot.height) / 2.0);
    let mut centres = Vec::new();
    for step in 0..=steps {
        let time = shot.last() * f64::from(step) / f64::from(steps);
        match track.camera(time).homography(1.0) {
            Ok(homography) => centres.extend(homography.unproject(middle)),
            Err(Error::Passed { .. } | Error::IllConditioned { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(ShotPath { centres, start: quad(&track, 0.0)?, end: quad(&track, shot.last())? })
}

/// What the output's corners see at a time.
fn quad(track: &Track<'_>, time: f64) -> Result<Option<[Point; 4]>, Error> {
    let homography = match track.camera(time).homography(1.0) {
        Ok(homography) => homography,
        Err(Error::Passed { .. } | Error::IllConditioned { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let (width, height) = (f64::from(track.shot().width), f64::from(track.shot().height));
    let [a, b, c, d] = crate::Rect::new(0.0, 0.0, width, height).corners().map(|corner| homography.unproject(corner));
    Ok((|| Some([a?, b?, c?, d?]))())
}

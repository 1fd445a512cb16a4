//! Deforum's 2D and 3D camera schedules.
//!
//! Deforum's numbers say what happens to the picture from one picture to the next, so they are added up here. Signs as
//! its code has them (`animation.py`):
//!
//! | schedule | 2D: the canvas is moved | 3D: T = (-x, +y, -z) / 200 |
//! |---|---|---|
//! | `translation_x` + | canvas right: camera **left** | camera **right** |
//! | `translation_y` + | canvas down: camera up | camera up |
//! | `translation_z` + | - | camera in |
//! | `angle` + | canvas anticlockwise: camera clockwise | - |
//! | `zoom` > 1 | in, by the lens | - |
//! | `rotation_3d_x`, `_y`, `_z` + | - | up, right, clockwise |

use serde::{Deserialize, Serialize};

use super::{Imported, Schedule, ScheduleContext};
use crate::error::check;
use crate::shot::{FILM_WIDTH, MAX_FRAMES, MAX_KEYFRAMES};
use crate::vector::{IDENTITY, Matrix, angles, product, sin_cos};
use crate::{Channel, Easing, Error, Keyframe};

/// How many of Deforum's units of translation one unit of its depth has.
const TRANSLATION_SCALE: f64 = 200.0;

/// Which of Deforum's animations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DeforumMode {
    /// The canvas is shifted, turned and scaled.
    #[default]
    #[serde(rename = "2D")]
    TwoD,
    /// A camera moves before a picture with depth.
    #[serde(rename = "3D")]
    ThreeD,
}

/// The part of Deforum's settings that moves the camera, by the names that its settings files use. Others are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deforum {
    /// Which animation.
    pub animation_mode: DeforumMode,
    /// The picture's width in pixels.
    #[serde(rename = "W")]
    pub width: u32,
    /// The picture's height in pixels.
    #[serde(rename = "H")]
    pub height: u32,
    /// How many pictures.
    pub max_frames: u32,
    /// 2D: degrees per picture.
    pub angle: String,
    /// 2D: factor per picture.
    pub zoom: String,
    /// Pixels per picture (2D) or 200ths of a unit of depth per picture (3D).
    pub translation_x: String,
    /// Likewise.
    pub translation_y: String,
    /// 3D: 200ths of a unit of depth per picture.
    pub translation_z: String,
    /// 3D: degrees per picture.
    pub rotation_3d_x: String,
    /// 3D: degrees per picture.
    pub rotation_3d_y: String,
    /// 3D: degrees per picture.
    pub rotation_3d_z: String,
    /// 3D: the vertical field of view in degrees. Its value at the beginning is taken.
    #[serde(rename = "fov_schedule")]
    pub fov: String,
    /// 3D: how far away the subject is, in Deforum's units of depth; not one of its settings. Without a depth model Deforum
    /// takes 1 everywhere.
    pub subject_depth: f64,
}

impl Default for Deforum {
    fn default() -> Self {
        let zero = || String::from("0:(0)");
        Self {
            animation_mode: DeforumMode::TwoD,
            width: 512,
            height: 512,
            max_frames: 120,
            angle: zero(),
            zoom: "0:(1)".into(),
            translation_x: zero(),
            translation_y: zero(),
            translation_z: zero(),
            rotation_3d_x: zero(),
            rotation_3d_y: zero(),
            rotation_3d_z: zero(),
            fov: "0:(70)".into(),
            subject_depth: 1.0,
        }
    }
}

/// Adds up Deforum's schedules to keyframes, with as few of them as say the same.
///
/// Picture 0 is at rest, and each later one applies its own values to the one before it, as Deforum does. Distances are in
/// widths and heights of Deforum's picture, so that the shot's frame should have its proportions.
pub fn deforum(settings: &Deforum) -> Result<Imported, Error> {
    let frames = settings.max_frames;
    check(|| "Deforum's max_frames".into(), f64::from(frames), 1.0, f64::from(MAX_FRAMES), "1 to 1,000,000")?;
    for side in [settings.width, settings.height] {
        check(|| "Deforum's picture size".into(), f64::from(side), 1.0, 65_536.0, "1 to 65,536")?;
    }
    check(|| "Deforum's subject depth".into(), settings.subject_depth, 1e-3, 1e6, "0.001 to 1,000,000")?;
    let read = |text: &str| Schedule::parse(text)?.values(ScheduleContext { frames });
    let mut imported = Imported { frames: Some(frames), ..Imported::default() };
    let poses = match settings.animation_mode {
        DeforumMode::TwoD => flat(settings, &read)?,
        DeforumMode::ThreeD => {
            let fov = read(&settings.fov)?;
            let first = fov.first().copied().unwrap_or(70.0);
            check(|| "Deforum's field of view".into(), first, 1.0, 179.0, "1 to 179 degrees")?;
            if fov.iter().any(|value| *value != first) {
                imported.notes.push("The field of view changes; its first value was taken for the whole shot.".into());
            }
            let aspect = f64::from(settings.width) / f64::from(settings.height);
            // Half the height of what is seen at unit distance.
            let half = (first / 2.0).to_radians().tan();
            let lens = FILM_WIDTH / (2.0 * half * aspect);
            check(|| "The lens of Deforum's field of view".into(), lens, 1.0, 1000.0, "1 to 1000 mm")?;
            imported.lens = Some(lens);
            imported.notes.push(format!(
                "Deforum's distances were read for a subject at {} of its units of depth.",
                settings.subject_depth
            ));
            spatial(settings, &read, 2.0 * half * aspect, 2.0 * half)?
        }
    };
    for (index, channel) in Channel::ALL.into_iter().enumerate() {
        let values: Vec<f64> = poses.iter().map(|pose| pose[index]).collect();
        for (frame, value) in values.iter().enumerate() {
            let (low, high) = if channel == Channel::Focal { (1e-4, 1e4) } else { (-1e6, 1e6) };
            let name = channel.name();
            check(
                || format!("Deforum's {name}, added up to picture {frame}"),
                *value,
                low,
                high,
                "within the camera's range",
            )?;
        }
        if values.iter().any(|value| *value != if channel == Channel::Focal { 1.0 } else { 0.0 }) {
            imported.keyframes.extend(simplified(channel, &values));
        }
    }
    if imported.keyframes.len() > MAX_KEYFRAMES {
        let count = imported.keyframes.len();
        return Err(Error::TooMany { what: "keyframes in the Deforum schedules", count, limit: MAX_KEYFRAMES });
    }
    Ok(imported)
}

type Read<'a> = &'a dyn Fn(&str) -> Result<Vec<f64>, Error>;

/// x, y, z, yaw, pitch, roll, focal at each picture of a 2D animation: each step first shifts the canvas, then turns it
/// anticlockwise and scales it about the middle.
fn flat(settings: &Deforum, read: Read<'_>) -> Result<Vec<[f64; 7]>, Error> {
    let (angle, zoom) = (read(&settings.angle)?, read(&settings.zoom)?);
    let (shift_x, shift_y) = (read(&settings.translation_x)?, read(&settings.translation_y)?);
    let (width, height) = (f64::from(settings.width), f64::from(settings.height));
    let (mut x, mut y, mut roll, mut focal) = (0.0, 0.0, 0.0, 1.0);
    let mut poses = vec![[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]];
    for frame in 1..angle.len() {
        check(|| format!("Deforum's zoom at picture {frame}"), zoom[frame], 1e-6, 1e6, "a positive factor")?;
        // The shift happens in a picture that is already turned and scaled by what came before.
        let (sin, cos) = sin_cos(roll);
        x -= (cos * shift_x[frame] - sin * shift_y[frame]) / focal;
        y -= (sin * shift_x[frame] + cos * shift_y[frame]) / focal;
        roll += angle[frame];
        focal *= zoom[frame];
        poses.push([x / width, -y / height, 0.0, 0.0, 0.0, roll, focal]);
    }
    Ok(poses)
}

/// The same of a 3D animation. Deforum reckons with rows, v' = v R + T, in axes x right, y down, z forward, with
/// R = Rx Ry Rz. `wide` and `high` are the sides of what is seen at unit distance.
fn spatial(settings: &Deforum, read: Read<'_>, wide: f64, high: f64) -> Result<Vec<[f64; 7]>, Error> {
    let shift = [read(&settings.translation_x)?, read(&settings.translation_y)?, read(&settings.translation_z)?];
    let turn = [read(&settings.rotation_3d_x)?, read(&settings.rotation_3d_y)?, read(&settings.rotation_3d_z)?];
    let depth = settings.subject_depth;
    let (mut orientation, mut offset) = (IDENTITY, [0.0; 3]);
    let (mut yaw, mut roll) = (0.0, 0.0);
    let mut poses = vec![[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]];
    for frame in 1..shift[0].len() {
        let step = euler([turn[0][frame], turn[1][frame], turn[2][frame]]);
        let moved = [-shift[0][frame], shift[1][frame], -shift[2][frame]].map(|value| value / TRANSLATION_SCALE);
        orientation = product(&orientation, &step);
        offset = [0, 1, 2]
            .map(|j: usize| offset[0] * step[0][j] + offset[1] * step[1][j] + offset[2] * step[2][j] + moved[j]);
        let a = &orientation;
        // Where v R + T is 0, and the directions that become the axes; then with y upwards.
        let place = [0, 1, 2].map(|i: usize| -(a[i][0] * offset[0] + a[i][1] * offset[1] + a[i][2] * offset[2]));
        let axes = [[a[0][0], -a[0][1], a[0][2]], [-a[1][0], a[1][1], -a[1][2]], [a[2][0], -a[2][1], a[2][2]]];
        let (new_yaw, pitch, new_roll) = angles(&axes);
        yaw = nearest_turn(new_yaw, yaw);
        roll = nearest_turn(new_roll, roll);
        poses.push([place[0] / (depth * wide), -place[1] / (depth * high), place[2] / depth, yaw, pitch, roll, 1.0]);
    }
    Ok(poses)
}

fn euler([x, y, z]: [f64; 3]) -> Matrix {
    let ((sx, cx), (sy, cy), (sz, cz)) = (sin_cos(x), sin_cos(y), sin_cos(z));
    let about_x = [IDENTITY[0], [0.0, cx, -sx], [0.0, sx, cx]];
    let about_y = [[cy, 0.0, sy], IDENTITY[1], [-sy, 0.0, cy]];
    let about_z = [[cz, -sz, 0.0], [sz, cz, 0.0], IDENTITY[2]];
    product(&product(&about_x, &about_y), &about_z)
}

/// The same direction with as many whole turns as bring it nearest to the last.
fn nearest_turn(angle: f64, last: f64) -> f64 {
    angle + ((last - angle) / 360.0).round() * 360.0
}

/// Keyframes with even ways between them, without those that lie on the way between their neighbours.
fn simplified(channel: Channel, values: &[f64]) -> Vec<Keyframe> {
    // The focal length goes by equal factors.
    let scaled = |index: usize| if channel == Channel::Focal { values[index].ln() } else { values[index] };
    let needed = |index: usize| {
        if index == 0 || index + 1 == values.len() {
            return true;
        }
        let (a, b, c) = (scaled(index - 1), scaled(index), scaled(index + 1));
        (a + c - 2.0 * b).abs() > 1e-12 * (1.0 + a.abs().max(c.abs()))
    };
    (0..values.len())
        .filter(|index| needed(*index))
        .map(|index| Keyframe { channel, frame: index as f64, value: values[index], easing: Easing::Linear })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Point, Pose, Rect, Shot};

    fn pose(settings: &Deforum, frame: u32) -> Pose {
        let imported = deforum(settings).unwrap();
        let mut shot = Shot::new(Rect::new(0.0, 0.0, 512.0, 512.0), 512, 512);
        imported.apply_to(&mut shot);
        assert_eq!(shot.frames, settings.max_frames);
        shot.track().unwrap().pose(f64::from(frame))
    }

    fn with(change: impl Fn(&mut Deforum)) -> Deforum {
        let mut settings = Deforum { max_frames: 11, ..Deforum::default() };
        change(&mut settings);
        settings
    }

    #[test]
    fn signs_differ_between_2d_and_3d() {
        let flat = pose(
            &with(|d| {
                d.translation_x = "0:(5.12)".into();
                d.translation_y = "0:(5.12)".into();
            }),
            10,
        );
        assert!((flat.x + 0.1).abs() < 1e-12 && (flat.y - 0.1).abs() < 1e-12);
        let spatial = pose(
            &with(|d| {
                d.animation_mode = DeforumMode::ThreeD;
                d.translation_x = "0:(2)".into();
                d.translation_y = "0:(2)".into();
                d.translation_z = "0:(2)".into();
            }),
            10,
        );
        let size = 2.0 * 35.0_f64.to_radians().tan();
        assert!((spatial.x - 0.1 / size).abs() < 1e-12 && (spatial.y - 0.1 / size).abs() < 1e-12);
        assert!((spatial.z - 0.1).abs() < 1e-12);
    }

    #[test]
    fn turning_in_3d() {
        let turned = |x: &str, y: &str, z: &str| {
            pose(
                &with(|d| {
                    d.animation_mode = DeforumMode::ThreeD;
                    (d.rotation_3d_x, d.rotation_3d_y, d.rotation_3d_z) = (x.into(), y.into(), z.into());
                }),
                10,
            )
        };
        assert!((turned("0:(2)", "0:(0)", "0:(0)").pitch - 20.0).abs() < 1e-9);
        assert!((turned("0:(0)", "0:(2)", "0:(0)").yaw - 20.0).abs() < 1e-9);
        assert!((turned("0:(0)", "0:(0)", "0:(30)").roll - 300.0).abs() < 1e-9);
    }

    #[test]
    fn the_2d_steps_are_those_of_the_warp() {
        // Ten steps of shift, turn and scale, applied to a point one by one as Deforum does, and by the camera at once.
        let settings = with(|d| {
            d.angle = "0:(3)".into();
            d.zoom = "0:(1.02)".into();
            d.translation_x = "0:(4)".into();
            d.translation_y = "0:(-7+t)".into();
        });
        let start = Point::new(100.0, 180.0);
        let mut point = start;
        let (sin, cos) = 3.0_f64.to_radians().sin_cos();
        for t in 1..=10 {
            let (x, y) = (point.x - 256.0 + 4.0, point.y - 256.0 - 7.0 + f64::from(t));
            point = Point::new(256.0 + 1.02 * (cos * x + sin * y), 256.0 + 1.02 * (cos * y - sin * x));
        }
        let imported = deforum(&settings).unwrap();
        let mut shot = Shot::new(Rect::new(0.0, 0.0, 512.0, 512.0), 512, 512);
        imported.apply_to(&mut shot);
        let seen = shot.track().unwrap().camera(10.0).homography(1.0).unwrap().project(start).unwrap();
        assert!((seen.x - point.x).abs() < 1e-9 && (seen.y - point.y).abs() < 1e-9, "{seen:?} {point:?}");
    }

    #[test]
    fn even_moves_need_two_keyframes_and_rest_none() {
        assert!(deforum(&with(|_| {})).unwrap().keyframes.is_empty());
        let imported = deforum(&with(|d| d.zoom = "0:(1.05)".into())).unwrap();
        assert_eq!(imported.keyframes.len(), 2);
        assert!((imported.keyframes[1].value - 1.05_f64.powi(10)).abs() < 1e-12);
    }

    #[test]
    fn settings_files_are_understood_and_nonsense_is_refused() {
        let settings: Deforum = serde_json::from_str(
            r#"{"W": 768, "H": 512, "animation_mode": "3D", "max_frames": 24, "fov_schedule": "0: (40)", "sampler": "x"}"#).unwrap();
        let imported = deforum(&settings).unwrap();
        assert!((imported.lens.unwrap() - 36.0 / (2.0 * 20.0_f64.to_radians().tan() * 1.5)).abs() < 1e-12);
        assert!(deforum(&with(|d| d.zoom = "0:(0)".into())).is_err());
        assert!(deforum(&with(|d| d.zoom = "0:(100)".into())).is_err());
        assert!(deforum(&with(|d| d.max_frames = 0)).is_err());
        assert!(deforum(&with(|d| d.angle = "oops".into())).is_err());
    }
}

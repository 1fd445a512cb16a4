//! A shot, and where its camera is at each time.

use serde::{Deserialize, Serialize};

use crate::easing::{mix, mix_log};
use crate::error::check;
use crate::moves::{check_rect, progress};
use crate::noise::noise;
use crate::vector::{Matrix, rotation, times};
use crate::{Camera, Easing, Error, Move, MoveKind, Rect};

/// The most pictures that a shot has.
pub const MAX_FRAMES: u32 = 1_000_000;
/// The most moves that a shot has.
pub const MAX_MOVES: usize = 1000;
/// The most keyframes that a shot has.
pub const MAX_KEYFRAMES: usize = 100_000;

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

    /// How many pictures a film of so many seconds has: seconds times rate, rounded to the nearest whole number, at least
    /// 1 and at most [`MAX_FRAMES`]. Picture i is shown from i / rate up to (i + 1) / rate: the film includes its first
    /// instant and excludes its last, so that films put end to end repeat no picture.
    pub fn frames_in(self, seconds: f64) -> u32 {
        let frames = (seconds * self.per_second()).round();
        // The cast takes NaN to 0 and what is beyond its range to its ends.
        (frames as u32).clamp(1, MAX_FRAMES)
    }
}

/// What the picture shows at rest where the frame has other proportions than the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// The largest part of the output's proportions in the middle of the frame.
    #[default]
    Crop,
    /// The whole frame and what lies beside it.
    Contain,
    /// The frame, stretched.
    Stretch,
}

/// A value of the camera that keyframes set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// Goes right, in frame widths.
    X,
    /// Goes up, in frame heights.
    Y,
    /// Goes in, in distances of the picture plane.
    Z,
    /// Turns to the right, in degrees.
    Yaw,
    /// Turns up, in degrees.
    Pitch,
    /// Turns clockwise, in degrees.
    Roll,
    /// The focal length as a factor of that at rest.
    Focal,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 7] = [Self::X, Self::Y, Self::Z, Self::Yaw, Self::Pitch, Self::Roll, Self::Focal];

    /// Its name in project files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X => "x",
            Self::Y => "y",
            Self::Z => "z",
            Self::Yaw => "yaw",
            Self::Pitch => "pitch",
            Self::Roll => "roll",
            Self::Focal => "focal",
        }
    }

    /// The channel of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }

    fn range(self) -> (f64, f64) {
        match self {
            Self::X | Self::Y | Self::Z => (-1e6, 1e6),
            Self::Yaw | Self::Pitch | Self::Roll => (-1e7, 1e7),
            Self::Focal => (1e-4, 1e4),
        }
    }
}

/// The value of one channel at one time. Before a channel's first keyframe its first value holds, after the last its last.
/// What keyframes say is added to what the moves do (the focal length: multiplied).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyframe {
    /// Which value of the camera.
    pub channel: Channel,
    /// At which picture, from 0.
    pub frame: f64,
    /// The value, in the channel's unit.
    pub value: f64,
    /// How it gets from here to the channel's next keyframe.
    #[serde(default)]
    pub easing: Easing,
}

/// Where the camera is, where it looks, and through which lens.
///
/// Axes as at rest: x right, y up, z forward. It is turned first to the right by `yaw`, then up by `pitch` about its own
/// horizontal, then clockwise by `roll` about its own line of sight.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pose {
    /// Frame widths to the right of the rest.
    pub x: f64,
    /// Frame heights above the rest.
    pub y: f64,
    /// Distances of the picture plane before the rest; at 1 the camera touches the plane.
    pub z: f64,
    /// Degrees to the right.
    pub yaw: f64,
    /// Degrees up.
    pub pitch: f64,
    /// Degrees clockwise; the picture turns anticlockwise.
    pub roll: f64,
    /// The focal length as a factor of that at rest.
    pub focal: f64,
}

impl Pose {
    /// The camera that sees just the frame.
    pub const REST: Self = Self { x: 0.0, y: 0.0, z: 0.0, yaw: 0.0, pitch: 0.0, roll: 0.0, focal: 1.0 };
}

impl Default for Pose {
    fn default() -> Self {
        Self::REST
    }
}

/// When light falls on each picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shutter {
    /// The shutter angle in degrees, 0..=360: open for that part of the time between two pictures, half of it before the
    /// picture's time and half after.
    pub angle: f64,
    /// How many moments are averaged, 1..=256.
    pub samples: u32,
}

impl Shutter {
    /// No motion blur.
    pub const INSTANT: Self = Self { angle: 0.0, samples: 1 };

    /// The moments, in pictures relative to the picture's time: the middles of `samples` equal parts of the opening. Their
    /// mean is 0, so that motion blur moves nothing.
    pub fn offsets(&self) -> Vec<f64> {
        let samples = self.samples.clamp(1, 256);
        let open = if self.angle.is_finite() { self.angle.clamp(0.0, 360.0) / 360.0 } else { 0.0 };
        (0..samples).map(|i| open * ((f64::from(i) + 0.5) / f64::from(samples) - 0.5)).collect()
    }
}

impl Default for Shutter {
    fn default() -> Self {
        Self::INSTANT
    }
}

/// A camera's way over the canvas, to be rendered as a film.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shot {
    /// The rectangle of the canvas that the camera sees at rest.
    pub frame: Rect,
    /// The film's width in pixels, 1..=65536.
    pub width: u32,
    /// The film's height in pixels, 1..=65536.
    pub height: u32,
    /// What is seen at rest where frame and film differ in proportions.
    #[serde(default)]
    pub fit: Fit,
    /// How many pictures a second has.
    pub rate: FrameRate,
    /// How many pictures the film has, 1..=[`MAX_FRAMES`]. The time of picture i is i; a move that is to end with the film
    /// ends at `frames - 1`.
    pub frames: u32,
    /// The focal length at rest in millimetres on film 36 mm wide, 1..=1000. It says how far away the picture plane is
    /// (`lens` / 36 widths of what is seen at rest) and thereby how strongly turning distorts.
    #[serde(default = "default_lens")]
    pub lens: f64,
    /// What the camera does; moves at the same time add up. At most [`MAX_MOVES`].
    #[serde(default)]
    pub moves: Vec<Move>,
    /// Values of single channels at single times. At most [`MAX_KEYFRAMES`].
    #[serde(default)]
    pub keyframes: Vec<Keyframe>,
    /// What the handheld camera's shaking follows from.
    #[serde(default)]
    pub seed: u64,
}

/// The width in millimetres of the film to which focal lengths refer.
pub(crate) const FILM_WIDTH: f64 = 36.0;

/// The lens that sees roughly as people do.
const fn default_lens() -> f64 {
    50.0
}

impl Shot {
    /// A shot of five seconds at 24 pictures a second in which nothing moves.
    pub fn new(frame: Rect, width: u32, height: u32) -> Self {
        Self {
            frame,
            width,
            height,
            fit: Fit::default(),
            rate: FrameRate { numerator: 24, denominator: 1 },
            frames: 120,
            lens: default_lens(),
            moves: Vec::new(),
            keyframes: Vec::new(),
            seed: 0,
        }
    }

    /// The time of the last picture.
    pub fn last(&self) -> f64 {
        f64::from(self.frames.saturating_sub(1))
    }

    /// The duration in seconds.
    pub fn seconds(&self) -> f64 {
        f64::from(self.frames) / self.rate.per_second()
    }

    /// The rectangle of the canvas that fills the picture at rest. Its sides are what "frame width" and "frame height"
    /// mean in all units.
    pub fn view(&self) -> Rect {
        let (width, height) = (f64::from(self.width), f64::from(self.height));
        match self.fit {
            Fit::Crop => self.frame.crop_to_aspect(width, height),
            Fit::Contain => self.frame.grow_to_aspect(width, height),
            Fit::Stretch => self.frame,
        }
    }

    /// Pairs of moves, by their places in the list, that drive the same kind in opposite directions at the same time, which
    /// is rarely meant.
    pub fn clashes(&self) -> Vec<(usize, usize)> {
        let opposed = |a: &Move, b: &Move| {
            a.kind == b.kind && (a.end - a.start) * (b.end - b.start) < 0.0 && a.from < b.to && b.from < a.to
        };
        let rest = |first: usize| self.moves.iter().enumerate().skip(first + 1);
        let pairs = |(first, a): (usize, &Move)| {
            rest(first).filter(|(_, b)| opposed(a, b)).map(|(second, _)| (first, second)).collect::<Vec<_>>()
        };
        self.moves.iter().enumerate().flat_map(pairs).collect()
    }

    /// Checks every number and puts the keyframes in order of time.
    pub fn track(&self) -> Result<Track<'_>, Error> {
        check_rect(|| "The frame".into(), &self.frame)?;
        check(|| "The film's width".into(), f64::from(self.width), 1.0, 65_536.0, "1 to 65,536")?;
        check(|| "The film's height".into(), f64::from(self.height), 1.0, 65_536.0, "1 to 65,536")?;
        for part in [self.rate.numerator, self.rate.denominator] {
            check(|| "The frame rate".into(), f64::from(part), 1.0, 1e6, "a fraction of 1 to 1,000,000")?;
        }
        check(|| "The number of frames".into(), f64::from(self.frames), 1.0, f64::from(MAX_FRAMES), "1 to 1,000,000")?;
        check(|| "The lens".into(), self.lens, 1.0, 1000.0, "1 to 1000 mm")?;
        if self.moves.len() > MAX_MOVES {
            return Err(Error::TooMany { what: "moves", count: self.moves.len(), limit: MAX_MOVES });
        }
        if self.keyframes.len() > MAX_KEYFRAMES {
            return Err(Error::TooMany { what: "keyframes", count: self.keyframes.len(), limit: MAX_KEYFRAMES });
        }
        for (index, one) in self.moves.iter().enumerate() {
            one.check(index)?;
        }
        for (index, key) in self.keyframes.iter().enumerate() {
            let name = key.channel.name();
            check(|| format!("Keyframe {index} ({name}): frame"), key.frame, 0.0, 1e7, "0 to 10,000,000")?;
            let (low, high) = key.channel.range();
            check(|| format!("Keyframe {index} ({name}): value"), key.value, low, high, "in the channel's range")?;
            key.easing.check(&|| format!("Keyframe {index} ({name})"))?;
        }
        let keys = Channel::ALL.map(|channel| {
            let mut keys: Vec<Keyframe> = self.keyframes.iter().filter(|key| key.channel == channel).copied().collect();
            keys.sort_by(|a, b| a.frame.total_cmp(&b.frame));
            keys
        });
        Ok(Track { shot: self, view: self.view(), keys })
    }

    /// The poses of all pictures.
    pub fn poses(&self) -> Result<Vec<Pose>, Error> {
        let track = self.track()?;
        Ok((0..self.frames).map(|frame| track.pose(f64::from(frame))).collect())
    }
}

/// A checked shot, ready to be asked where its camera is.
#[derive(Debug, Clone)]
pub struct Track<'a> {
    shot: &'a Shot,
    view: Rect,
    keys: [Vec<Keyframe>; 7],
}

impl Track<'_> {
    /// The shot.
    pub fn shot(&self) -> &Shot {
        self.shot
    }

    /// The rectangle of the canvas that fills the picture at rest.
    pub fn view(&self) -> Rect {
        self.view
    }

    /// The camera at a time in pictures.
    pub fn camera(&self, time: f64) -> Camera {
        Camera::new(self.view, f64::from(self.shot.width), f64::from(self.shot.height), self.shot.lens, self.pose(time))
    }

    /// The cameras whose pictures are averaged into one picture of the film.
    pub fn exposures(&self, frame: u32, shutter: &Shutter) -> Vec<Camera> {
        shutter.offsets().into_iter().map(|offset| self.camera(f64::from(frame) + offset)).collect()
    }

    /// What the keyframes say of a channel at a time in pictures.
    pub fn channel(&self, channel: Channel, time: f64) -> f64 {
        let keys = &self.keys[channel as usize];
        let after = keys.partition_point(|key| key.frame <= time);
        match (after.checked_sub(1).and_then(|before| keys.get(before)), keys.get(after)) {
            (Some(a), Some(b)) => {
                let eased = a.easing.at(progress(a.frame, b.frame, time));
                if channel == Channel::Focal {
                    // An easing that overshoots still yields a positive factor.
                    mix_log(a.value, b.value, eased)
                } else {
                    mix(a.value, b.value, eased)
                }
            }
            (Some(only), None) | (None, Some(only)) => only.value,
            (None, None) if channel == Channel::Focal => 1.0,
            (None, None) => 0.0,
        }
    }

    /// Where the camera is at a time in pictures; between and beside whole numbers too, for motion blur.
    ///
    /// Axes add. The order is: path (reframe, then orbit and elevation), translation (truck, pedestal, dolly, crane, along
    /// the axes of the path's view), pan, tilt, roll, lens, and shaking last.
    pub fn pose(&self, time: f64) -> Pose {
        let moves = &self.shot.moves;
        let total = |kind: MoveKind| -> f64 {
            moves.iter().filter(|one| one.kind == kind).map(|one| one.amount_at(time)).sum()
        };
        let (width, height) = (self.view.width, self.view.height);
        let distance = width * self.shot.lens / FILM_WIDTH;
        let unit = [width, height, distance];

        // Path.
        let mut focal = 1.0;
        let mut position = [0.0; 3];
        for one in moves {
            if let (MoveKind::Reframe, Some([start, end])) = (one.kind, one.boxes) {
                let (x, y, factor) = self.reframe(&start, &end, one.amount_at(time));
                position[0] += x;
                position[1] += y;
                focal *= factor;
            }
        }
        let (mut yaw, mut pitch) = (0.0, 0.0);
        for one in moves.iter().filter(|one| matches!(one.kind, MoveKind::Orbit | MoveKind::Elevation)) {
            let amount = one.amount_at(time);
            if amount == 0.0 {
                continue;
            }
            // To the right around the pivot means to look left by as much, and upwards means to look down.
            let before = rotation(yaw, pitch, 0.0);
            if one.kind == MoveKind::Orbit {
                yaw -= amount;
            } else {
                pitch -= amount;
            }
            let after = rotation(yaw, pitch, 0.0);
            let pivot = [one.pivot.x, one.pivot.y, one.pivot.z];
            let arm = inverse_times(&before, [0, 1, 2].map(|axis: usize| (position[axis] - pivot[axis]) * unit[axis]));
            let arm = times(&after, arm);
            position = [0, 1, 2].map(|axis: usize| pivot[axis] + arm[axis] / unit[axis]);
        }

        // Translation.
        let crane = total(MoveKind::Crane);
        let dolly = total(MoveKind::Dolly) + self.channel(Channel::Z, time);
        let vertigo = total(MoveKind::DollyZoom);
        let mut step = [
            total(MoveKind::Truck) + self.channel(Channel::X, time),
            total(MoveKind::Pedestal) + self.channel(Channel::Y, time) + crane,
            dolly + vertigo,
        ];
        if yaw != 0.0 || pitch != 0.0 {
            let turned = times(&rotation(yaw, pitch, 0.0), [0, 1, 2].map(|axis: usize| step[axis] * unit[axis]));
            step = [0, 1, 2].map(|axis: usize| turned[axis] / unit[axis]);
        }
        let position = [0, 1, 2].map(|axis: usize| position[axis] + step[axis]);

        // Pan, tilt, roll.
        yaw += total(MoveKind::Pan) + self.channel(Channel::Yaw, time);
        pitch += total(MoveKind::Tilt) + self.channel(Channel::Pitch, time);
        if crane != 0.0 {
            pitch -= (crane * height).atan2(distance * (1.0 - dolly - vertigo)).to_degrees();
        }
        let mut roll = total(MoveKind::Roll) + self.channel(Channel::Roll, time);

        // Lens.
        for one in moves.iter().filter(|one| one.kind == MoveKind::Zoom) {
            focal *= one.amount_at(time);
        }
        focal *= self.channel(Channel::Focal, time);
        if vertigo != 0.0 {
            focal *= (1.0 - dolly - vertigo) / (1.0 - dolly);
        }

        // Shaking.
        let mut shaken = [0.0; 2];
        for (index, one) in moves.iter().enumerate().filter(|(_, one)| one.kind == MoveKind::Handheld) {
            let amount = one.amount_at(time) / 100.0;
            if amount == 0.0 {
                continue;
            }
            let at = time / self.shot.rate.per_second() * one.hertz;
            let seed = self.shot.seed.wrapping_add(index as u64);
            // Mostly the hands turn the camera: by as much as moves the picture by `amount` of its width or height,
            // whatever the lens. The body sways by a quarter of that.
            yaw += (amount * noise(seed, 0, at) * width / (distance * focal)).atan().to_degrees();
            pitch += (amount * noise(seed, 1, at) * height / (distance * focal)).atan().to_degrees();
            roll += amount * SHAKE_ROLL * noise(seed, 2, at);
            shaken[0] += amount * 0.25 * noise(seed, 3, at);
            shaken[1] += amount * 0.25 * noise(seed, 4, at);
        }
        Pose { x: position[0] + shaken[0], y: position[1] + shaken[1], z: position[2], yaw, pitch, roll, focal }
    }

    /// Where a reframe is: its centre in frame widths and heights from the rest, upwards, and its focal length.
    ///
    /// The size changes by equal factors in equal times, and the centre keeps pace with the size, so that the picture's
    /// corners go along straight lines and one point of the canvas (if the sizes differ) stands still.
    fn reframe(&self, start: &Rect, end: &Rect, amount: f64) -> (f64, f64, f64) {
        let boxed = |rect: &Rect| match self.shot.fit {
            Fit::Contain => rect.grow_to_aspect(self.view.width, self.view.height),
            Fit::Crop | Fit::Stretch => rect.crop_to_aspect(self.view.width, self.view.height),
        };
        let (a, b) = (boxed(start), boxed(end));
        let ratio = (b.width / a.width).ln();
        let part =
            if amount == 1.0 || ratio.abs() < 1e-9 { amount } else { (amount * ratio).exp_m1() / ratio.exp_m1() };
        let (from, to, rest) = (a.centre(), b.centre(), self.view.centre());
        let x = (mix(from.x, to.x, part) - rest.x) / self.view.width;
        let y = (rest.y - mix(from.y, to.y, part)) / self.view.height;
        (x, y, self.view.width / mix_log(a.width, b.width, amount))
    }
}

/// How many degrees a handheld camera rolls at 100 %: the picture's corners then move about as much as its centre does.
const SHAKE_ROLL: f64 = 40.0;

/// The inverse of a rotation, applied.
fn inverse_times(m: &Matrix, v: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|j| m[0][j] * v[0] + m[1][j] * v[1] + m[2][j] * v[2])
}

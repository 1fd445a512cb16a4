//! What a camera can do, in film terms.

use serde::{Deserialize, Serialize};

use crate::error::check;
use crate::{Easing, Error, Rect};

/// What a move does. Positive is right, up, in, and clockwise as the camera operator sees it (so that the picture turns
/// anticlockwise). Amounts are totals over the move, never per picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MoveKind {
    /// Nothing.
    Static,
    /// Turns to the right or left (yaw), in degrees. A whip pan is a fast one.
    Pan,
    /// Turns up or down (pitch), in degrees.
    Tilt,
    /// Turns about the view's axis, in degrees. A Dutch angle is a held one.
    Roll,
    /// Goes right or left, in frame widths at the picture plane. Also called track or crab.
    Truck,
    /// Goes up or down, in frame heights at the picture plane. Also called boom.
    Pedestal,
    /// Goes in or out, in fractions of the distance of the picture plane: 0.5 is half the way to it. Also called push in
    /// and pull out.
    Dolly,
    /// Changes the focal length, as a factor, by equal factors in equal times; 1 is the rest. A crash zoom is a fast one.
    Zoom,
    /// Goes around a pivot to the right or left and keeps looking at it (azimuth), in degrees. Also called arc.
    Orbit,
    /// Goes around a pivot up or down and keeps looking at it, in degrees.
    Elevation,
    /// Goes up or down and tilts so that the frame's centre keeps its height in the picture, in frame heights. Also
    /// called jib.
    Crane,
    /// Goes in or out while the lens keeps the size of what lies in the picture plane, in fractions of the plane's
    /// distance. Also called vertigo.
    DollyZoom,
    /// Shakes as a person does, in percent of the frame.
    Handheld,
    /// Goes from one rectangle of the canvas to another by position and lens, from 0 to 1. Also called Ken Burns.
    Reframe,
}

impl MoveKind {
    /// Every kind, in the order in which people look for them.
    pub const ALL: [Self; 14] = [
        Self::Static,
        Self::Pan,
        Self::Tilt,
        Self::Roll,
        Self::Truck,
        Self::Pedestal,
        Self::Dolly,
        Self::Zoom,
        Self::Orbit,
        Self::Elevation,
        Self::Crane,
        Self::DollyZoom,
        Self::Handheld,
        Self::Reframe,
    ];

    /// The amount at which the camera is at rest.
    pub const fn rest(self) -> f64 {
        match self {
            Self::Zoom => 1.0,
            _ => 0.0,
        }
    }

    /// The unit of its amounts, for people.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Static => "",
            Self::Pan | Self::Tilt | Self::Roll | Self::Orbit | Self::Elevation => "°",
            Self::Truck => "frame widths",
            Self::Pedestal | Self::Crane => "frame heights",
            Self::Dolly | Self::DollyZoom => "of the distance",
            Self::Zoom => "x",
            Self::Handheld => "% of the frame",
            Self::Reframe => "of the way",
        }
    }

    /// The amounts that are accepted, lowest and highest.
    pub const fn range(self) -> (f64, f64) {
        match self {
            Self::Static => (-1e6, 1e6),
            Self::Pan | Self::Tilt | Self::Roll | Self::Orbit | Self::Elevation => (-36_000.0, 36_000.0),
            Self::Truck | Self::Pedestal | Self::Crane => (-1000.0, 1000.0),
            Self::Dolly | Self::DollyZoom => (-1000.0, 1.0),
            Self::Zoom => (0.001, 1000.0),
            Self::Handheld => (0.0, 100.0),
            Self::Reframe => (0.0, 1.0),
        }
    }

    /// The amount of one whole step of the dial, for the kinds whose dial is linear.
    const fn step_tenths(self) -> f64 {
        // Ten steps' amount; a dial of d tenths is d * this / 100.
        match self {
            Self::Static => 0.0,
            Self::Pan | Self::Roll | Self::Orbit => 45.0,
            Self::Tilt | Self::Elevation => 30.0,
            Self::Truck | Self::Pedestal | Self::Crane | Self::Reframe | Self::Zoom => 1.0,
            Self::Dolly | Self::DollyZoom => 0.5,
            Self::Handheld => 5.0,
        }
    }

    /// The amount that a dial stands for. The dial of a zoom is logarithmic: 10 is 4x and -10 a quarter. The dials of
    /// handheld and reframe know no negative side: below 0 is 0.
    pub fn amount(self, dial: Dial) -> f64 {
        let tenths = f64::from(dial.0);
        match self {
            Self::Zoom => (tenths / 50.0).exp2(),
            Self::Handheld | Self::Reframe => tenths.max(0.0) * self.step_tenths() / 100.0,
            _ => tenths * self.step_tenths() / 100.0,
        }
    }

    /// The dial that comes nearest to an amount, -10 or 10 for what is beyond.
    pub fn dial(self, amount: f64) -> Dial {
        let steps = match self {
            Self::Static => 0.0,
            Self::Zoom => {
                if amount > 0.0 {
                    amount.log2() * 5.0
                } else {
                    -10.0
                }
            }
            Self::Handheld | Self::Reframe => amount.max(0.0) * 10.0 / self.step_tenths(),
            _ => amount * 10.0 / self.step_tenths(),
        };
        Dial::nearest(steps)
    }
}

/// A dial as people see it: -10.0 to 10.0 with one decimal, 0 at rest. Kept as tenths, so that a dial is exactly what it
/// shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(into = "f64", from = "f64")]
pub struct Dial(i16);

impl Dial {
    /// The nearest dial to a number; -10 or 10 for what is beyond, 0 for what is not a number.
    pub fn nearest(steps: f64) -> Self {
        // The cast takes NaN to 0.
        Self((steps * 10.0).round().clamp(-100.0, 100.0) as i16)
    }

    /// What it shows.
    pub fn value(self) -> f64 {
        f64::from(self.0) / 10.0
    }
}

impl From<Dial> for f64 {
    fn from(dial: Dial) -> Self {
        dial.value()
    }
}

impl From<f64> for Dial {
    fn from(steps: f64) -> Self {
        Self::nearest(steps)
    }
}

impl std::fmt::Display for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1}", self.value())
    }
}

/// A point in space as seen from the camera at rest: x in frame widths to the right, y in frame heights upwards, z in
/// distances of the picture plane forwards. The frame's centre is (0, 0, 1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pivot {
    /// Frame widths to the right.
    pub x: f64,
    /// Frame heights upwards.
    pub y: f64,
    /// Distances of the picture plane forwards.
    pub z: f64,
}

impl Default for Pivot {
    fn default() -> Self {
        Self { x: 0.0, y: 0.0, z: 1.0 }
    }
}

/// One move of the camera. Before `from` the amount is `start`, from `to` on it is `end`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// Which.
    pub kind: MoveKind,
    /// The picture at which it begins, from 0: the delay.
    pub from: f64,
    /// The picture at which it is complete, at least `from`.
    pub to: f64,
    /// The amount at the beginning, in the kind's unit.
    pub start: f64,
    /// The amount at the end, in the kind's unit.
    pub end: f64,
    /// How it gets from the one to the other.
    #[serde(default)]
    pub easing: Easing,
    /// What orbit and elevation go around.
    #[serde(default)]
    pub pivot: Pivot,
    /// How many times a second the slowest part of handheld changes its direction, 0.01..=30.
    #[serde(default = "default_hertz")]
    pub hertz: f64,
    /// The rectangles of a reframe: what fills the picture at 0, and what at 1. Of a rectangle with other proportions than
    /// the output's, the middle is shown.
    #[serde(default)]
    pub boxes: Option<[Rect; 2]>,
}

/// The pace of a calm hand.
const fn default_hertz() -> f64 {
    0.8
}

impl Move {
    /// A move with the usual easing.
    pub fn new(kind: MoveKind, from: f64, to: f64, start: f64, end: f64) -> Self {
        Self {
            kind,
            from,
            to,
            start,
            end,
            easing: Easing::default(),
            pivot: Pivot::default(),
            hertz: default_hertz(),
            boxes: None,
        }
    }

    /// A move from rest to what a dial says.
    pub fn from_dial(kind: MoveKind, from: f64, to: f64, dial: Dial) -> Self {
        Self::new(kind, from, to, kind.rest(), kind.amount(dial))
    }

    /// A reframe from one rectangle of the canvas to another.
    pub fn reframe(from: f64, to: f64, start: Rect, end: Rect) -> Self {
        Self { boxes: Some([start, end]), ..Self::new(MoveKind::Reframe, from, to, 0.0, 1.0) }
    }

    /// The same with another easing.
    #[must_use]
    pub fn eased(self, easing: Easing) -> Self {
        Self { easing, ..self }
    }

    /// The amount at a time in pictures.
    pub fn amount_at(&self, time: f64) -> f64 {
        let progress = progress(self.from, self.to, time);
        let eased = self.easing.at(progress);
        if self.kind == MoveKind::Zoom {
            crate::easing::mix_log(self.start, self.end, eased)
        } else {
            crate::easing::mix(self.start, self.end, eased)
        }
    }

    pub(crate) fn check(&self, index: usize) -> Result<(), Error> {
        let what = |part: &'static str| move || format!("Move {index}: {part}");
        check(what("from"), self.from, 0.0, 1e7, "0 to 10,000,000")?;
        check(what("to"), self.to, self.from, 1e7, "from its beginning to 10,000,000")?;
        let (low, high) = self.kind.range();
        check(what("start"), self.start, low, high, "in the range of its kind")?;
        check(what("end"), self.end, low, high, "in the range of its kind")?;
        self.easing.check(&what("easing"))?;
        for value in [self.pivot.x, self.pivot.y, self.pivot.z] {
            check(what("pivot"), value, -1e6, 1e6, "-1,000,000 to 1,000,000")?;
        }
        check(what("hertz"), self.hertz, 0.01, 30.0, "0.01 to 30")?;
        if self.kind == MoveKind::Reframe {
            for rect in self.boxes.ok_or(Error::NoBoxes { index })? {
                check_rect(what("box"), &rect)?;
            }
        }
        Ok(())
    }
}

/// How far the time is between two times: 0 before, 1 after.
pub(crate) fn progress(from: f64, to: f64, time: f64) -> f64 {
    if time >= to {
        1.0
    } else if time <= from {
        0.0
    } else {
        (time - from) / (to - from)
    }
}

pub(crate) fn check_rect(what: impl Fn() -> String + Copy, rect: &Rect) -> Result<(), Error> {
    for value in [rect.x, rect.y] {
        check(what, value, -1.1e12, 1.1e12, "a coordinate of the canvas")?;
    }
    for value in [rect.width, rect.height] {
        check(what, value, 1e-3, 1e9, "a positive size of at most 1e9 pixels")?;
    }
    Ok(())
}

//! How a value gets from one amount to the next.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::check;

/// How a value gets from one amount to the next. The curves named in, out and in-out are those of the CSS Easing
/// Functions, level 1: `ease-in`, `ease-out` and `ease-in-out`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Easing {
    /// Evenly.
    Linear,
    /// Starts slowly: cubic-bezier(.42, 0, 1, 1).
    In,
    /// Ends slowly: cubic-bezier(0, 0, .58, 1).
    Out,
    /// Starts and ends slowly: cubic-bezier(.42, 0, .58, 1).
    #[default]
    InOut,
    /// Not before the end.
    Hold,
    /// By a cubic curve through (0, 0) and (1, 1) with the two handles x1, y1, x2, y2. Both x are 0..=1, so that there is
    /// one value at each time; both y are -10..=10, so that overshooting is possible.
    CubicBezier([f64; 4]),
}

impl Easing {
    /// What After Effects calls Easy Ease: no speed at either end, each with an influence of a third.
    pub const EASY_EASE: Self = Self::CubicBezier([0.333, 0.0, 0.667, 1.0]);

    /// The progress of the value, at the progress `t` of time. Exactly 0 at 0 or before and exactly 1 at 1 or after.
    pub fn at(self, t: f64) -> f64 {
        if t >= 1.0 {
            return 1.0;
        }
        if t.is_nan() || t <= 0.0 {
            return 0.0;
        }
        match self {
            Self::Linear => t,
            Self::In => bezier([0.42, 0.0, 1.0, 1.0], t),
            Self::Out => bezier([0.0, 0.0, 0.58, 1.0], t),
            Self::InOut => bezier([0.42, 0.0, 0.58, 1.0], t),
            Self::Hold => 0.0,
            Self::CubicBezier(handles) => bezier(handles, t),
        }
    }

    /// Whether its handles are in range. `what` names the place for the message.
    pub(crate) fn check(self, what: &dyn Fn() -> String) -> Result<(), Error> {
        if let Self::CubicBezier([x1, y1, x2, y2]) = self {
            for x in [x1, x2] {
                check(|| format!("{}: x of a handle", what()), x, 0.0, 1.0, "0 to 1")?;
            }
            for y in [y1, y2] {
                check(|| format!("{}: y of a handle", what()), y, -10.0, 10.0, "-10 to 10")?;
            }
        }
        Ok(())
    }
}

/// One coordinate of the curve through 0, `a`, `b` and 1 at the parameter `s`.
fn curve(a: f64, b: f64, s: f64) -> f64 {
    let r = 1.0 - s;
    3.0 * r * r * s * a + 3.0 * r * s * s * b + s * s * s
}

/// The y of the curve where its x is `t`, for 0 < t < 1: Newton's steps, each kept within the bracket that bisection has
/// found so far, so that a curve with a vertical or level piece is solved as well.
fn bezier([x1, y1, x2, y2]: [f64; 4], t: f64) -> f64 {
    let (mut low, mut high, mut s) = (0.0_f64, 1.0_f64, t);
    for _ in 0..128 {
        let miss = curve(x1, x2, s) - t;
        if miss == 0.0 {
            break;
        }
        if miss < 0.0 {
            low = s;
        } else {
            high = s;
        }
        if high - low <= f64::EPSILON * high {
            break;
        }
        let r = 1.0 - s;
        let slope = 3.0 * r * r * x1 + 6.0 * r * s * (x2 - x1) + 3.0 * s * s * (1.0 - x2);
        let newton = s - miss / slope;
        let next = if newton > low && newton < high { newton } else { f64::midpoint(low, high) };
        if next == s {
            break;
        }
        s = next;
    }
    curve(y1, y2, s)
}

/// From `a` to `b`; exactly `a` at 0 and `b` at 1.
pub(crate) fn mix(a: f64, b: f64, t: f64) -> f64 {
    if t == 1.0 { b } else { a + (b - a) * t }
}

/// From `a` to `b`, both positive, by equal factors in equal times; exactly `a` at 0 and `b` at 1.
pub(crate) fn mix_log(a: f64, b: f64, t: f64) -> f64 {
    if t == 1.0 {
        b
    } else if t == 0.0 || a == b {
        a
    } else {
        a * (t * (b / a).ln()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ends_are_exact_and_known_values_hold() {
        for easing in
            [Easing::Linear, Easing::In, Easing::Out, Easing::InOut, Easing::Hold, Easing::EASY_EASE, Easing::default()]
        {
            assert!(easing.at(0.0) == 0.0 && easing.at(-3.0) == 0.0 && easing.at(f64::NAN) == 0.0);
            assert!(easing.at(1.0) == 1.0 && easing.at(7.0) == 1.0);
        }
        assert!((Easing::InOut.at(0.5) - 0.5).abs() < 1e-12);
        assert!((Easing::EASY_EASE.at(0.5) - 0.5).abs() < 1e-12);
        assert_eq!(Easing::Hold.at(0.999_999), 0.0);
        // The degenerate curve with both handles at the far ends in x: level, then nearly vertical in the middle.
        assert!((Easing::CubicBezier([1.0, 0.0, 0.0, 1.0]).at(0.5) - 0.5).abs() < 1e-9);
        assert!((Easing::CubicBezier([0.0, 0.0, 1.0, 1.0]).at(0.3) - 0.3).abs() < 1e-12);
    }

    #[test]
    fn serialised_as_the_document_does() {
        assert_eq!(serde_json::to_string(&Easing::InOut).unwrap(), "\"in-out\"");
        assert_eq!(serde_json::to_string(&Easing::EASY_EASE).unwrap(), "{\"cubic-bezier\":[0.333,0.0,0.667,1.0]}");
    }

    proptest! {
        #[test]
        fn rises_steadily(x1 in 0.0..=1.0, x2 in 0.0..=1.0, y1 in 0.0..=1.0, y2 in 0.0..=1.0, a in 0.0..=1.0, b in 0.0..=1.0) {
            let (early, late): (f64, f64) = if a < b { (a, b) } else { (b, a) };
            for easing in [Easing::Linear, Easing::In, Easing::Out, Easing::InOut, Easing::Hold, Easing::EASY_EASE,
                           Easing::CubicBezier([x1, y1, x2, y2])] {
                prop_assert!(easing.at(early) <= easing.at(late) + 1e-9);
                prop_assert!((-1e-12..=1.0 + 1e-12).contains(&easing.at(a)));
            }
        }

        #[test]
        fn the_curve_goes_through_what_was_solved(x1 in 0.0..=1.0, x2 in 0.0..=1.0, s in 0.001..0.999) {
            // With y equal to x on both handles the curve is the diagonal.
            let t = curve(x1, x2, s);
            prop_assert!((bezier([x1, x1, x2, x2], t) - t).abs() < 1e-12);
        }
    }
}

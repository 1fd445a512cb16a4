//! Where to paint, and how much known picture to show the model.

use outframe_document::Rect;

/// A side of a rectangle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Towards smaller x.
    Left,
    /// Towards larger x.
    Right,
    /// Towards smaller y.
    Up,
    /// Towards larger y.
    Down,
}

impl Side {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
            Self::Up => "up",
            Self::Down => "down",
        }
    }

    /// The strip of `amount` pixels beyond this side of `rect`.
    pub fn strip(self, rect: Rect, amount: u32) -> Rect {
        let (right, bottom) = (rect.x + i64::from(rect.width), rect.y + i64::from(rect.height));
        match self {
            Self::Left => Rect { x: rect.x - i64::from(amount), width: amount, ..rect },
            Self::Right => Rect { x: right, width: amount, ..rect },
            Self::Up => Rect { y: rect.y - i64::from(amount), height: amount, ..rect },
            Self::Down => Rect { y: bottom, height: amount, ..rect },
        }
    }

    /// `rect` grown by `amount` pixels on this side.
    pub fn grow(self, rect: Rect, amount: u32) -> Rect {
        match self {
            Self::Left => Rect { x: rect.x - i64::from(amount), width: rect.width + amount, ..rect },
            Self::Right => Rect { width: rect.width + amount, ..rect },
            Self::Up => Rect { y: rect.y - i64::from(amount), height: rect.height + amount, ..rect },
            Self::Down => Rect { height: rect.height + amount, ..rect },
        }
    }
}

/// The sizes that a model works at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelSize {
    /// Side in pixels of the square that it was trained on.
    pub native: u32,
    /// Widths and heights must be multiples of this many pixels.
    pub multiple: u32,
}

impl ModelSize {
    /// The smallest permitted length that is not below `length`.
    pub fn round_up(self, length: u32) -> u32 {
        length.max(1).div_ceil(self.multiple) * self.multiple
    }
}

/// One run of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What the model sees.
    pub context: Rect,
    /// What is kept of its result; lies inside `context`.
    pub region: Rect,
    /// Width in pixels at which the model works on the context.
    pub width: u32,
    /// Height likewise.
    pub height: u32,
}

/// Lays out the windows that extend `known` by `amount` pixels on one side, in the order in which to run them.
///
/// At most half of a window is new, so that there is always as much known picture as painted one. A window has the model's
/// native length along the direction of growth; across, it spans the whole picture up to 1.5 native lengths. Pictures larger
/// than that are scaled down to the model as long as there is enough known picture to show; what does not fit
/// then is split into windows that overlap by a quarter and run from the middle outwards, each seeing its predecessors' results.
pub fn plan_extension(known: Rect, side: Side, amount: u32, model: ModelSize) -> Vec<Window> {
    let (depth, across) = match side {
        Side::Left | Side::Right => (known.width, known.height),
        Side::Up | Side::Down => (known.height, known.width),
    };
    if amount == 0 || depth == 0 || across == 0 {
        return Vec::new();
    }
    let native = model.round_up(model.native);
    let longest = model.round_up(native + native / 2);
    // Canvas pixels per model pixel. Below 1.25 the loss by resampling is worse than a split.
    let by_width = f64::from(across) / f64::from(longest);
    let by_depth = (f64::from(depth) + f64::from(amount)) / f64::from(native);
    let scale = Some(by_width.min(by_depth)).filter(|scale| *scale > 1.25).unwrap_or(1.0);
    let on_canvas = |length: u32| (f64::from(length) * scale).round() as u32;

    let along = on_canvas(native);
    let rounds = amount.div_ceil((along / 2).max(1));
    let step = amount.div_ceil(rounds);
    let splits = split_across(across, scale, model, native, longest);

    let mut windows = Vec::new();
    let mut painted = 0;
    while painted < amount {
        let end = (painted + step).min(amount);
        for split in &splits {
            let region =
                Strip { from: i64::from(painted), until: i64::from(end), first: split.paint.0, last: split.paint.1 };
            let context = Strip {
                from: i64::from(end) - i64::from(along),
                until: i64::from(end),
                first: split.see.0,
                last: split.see.1,
            };
            let (width, height) = match side {
                Side::Left | Side::Right => (native, split.model),
                Side::Up | Side::Down => (split.model, native),
            };
            windows.push(Window {
                context: context.place(known, side),
                region: region.place(known, side),
                width,
                height,
            });
        }
        painted = end;
    }
    windows
}

/// A part of the picture's breadth.
struct Split {
    /// What the window sees, from..until, in canvas pixels from the picture's start across.
    see: (i64, i64),
    /// What it paints.
    paint: (i64, i64),
    /// Its length at the model.
    model: u32,
}

fn split_across(across: u32, scale: f64, model: ModelSize, native: u32, longest: u32) -> Vec<Split> {
    let needed = model.round_up((f64::from(across) / scale).ceil() as u32);
    let across = i64::from(across);
    if needed <= longest {
        let needed = needed.max(native);
        let see = ((f64::from(needed) * scale).round() as i64).max(across);
        let first = (across - see).div_euclid(2);
        return vec![Split { see: (first, first + see), paint: (0, across), model: needed }];
    }
    let see = (f64::from(native) * scale).round() as i64;
    let stride = see - see / 4;
    let count = (across - see / 4).div_euclid(stride) + i64::from((across - see / 4).rem_euclid(stride) != 0);
    let start = |index: i64| if count > 1 { (across - see) * index / (count - 1) } else { 0 };
    let middle = (count - 1) / 2;
    let mut splits: Vec<Split> = Vec::new();
    let (mut low, mut high) = (across, 0);
    for turn in 0..count {
        // middle, middle + 1, middle - 1, middle + 2, ...
        let index = if turn % 2 == 1 { middle + (turn + 1) / 2 } else { middle - turn / 2 };
        let (first, last) = (start(index), start(index) + see);
        let paint = if splits.is_empty() {
            (first, last)
        } else if last > high {
            (high, last)
        } else {
            (first, low)
        };
        low = low.min(first);
        high = high.max(last);
        splits.push(Split { see: (first, last), paint, model: native });
    }
    splits
}

/// A rectangle in the coordinates of an extension: `from..until` outwards from the side, `first..last` across.
struct Strip {
    from: i64,
    until: i64,
    first: i64,
    last: i64,
}

impl Strip {
    fn place(&self, known: Rect, side: Side) -> Rect {
        let (long, wide) = ((self.until - self.from) as u32, (self.last - self.first) as u32);
        let (right, bottom) = (known.x + i64::from(known.width), known.y + i64::from(known.height));
        match side {
            Side::Right => Rect { x: right + self.from, y: known.y + self.first, width: long, height: wide },
            Side::Left => Rect { x: known.x - self.until, y: known.y + self.first, width: long, height: wide },
            Side::Down => Rect { x: known.x + self.first, y: bottom + self.from, width: wide, height: long },
            Side::Up => Rect { x: known.x + self.first, y: known.y - self.until, width: wide, height: long },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STARTER: ModelSize = ModelSize { native: 256, multiple: 32 };

    fn rect(x: i64, y: i64, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    #[test]
    fn a_native_picture_grows_by_one_unscaled_window() {
        let plan = plan_extension(rect(0, 0, 256, 256), Side::Right, 128, STARTER);
        assert_eq!(
            plan,
            [Window { context: rect(128, 0, 256, 256), region: rect(256, 0, 128, 256), width: 256, height: 256 }]
        );
        let plan = plan_extension(rect(0, 0, 384, 256), Side::Up, 96, STARTER);
        assert_eq!(
            plan,
            [Window { context: rect(0, -96, 384, 256), region: rect(0, -96, 384, 96), width: 384, height: 256 }]
        );
    }

    #[test]
    fn a_large_picture_is_scaled_to_the_model() {
        let plan = plan_extension(rect(0, 0, 1024, 1024), Side::Left, 300, STARTER);
        assert_eq!(plan.len(), 1);
        assert_eq!((plan[0].width, plan[0].height), (256, 384));
        assert_eq!(plan[0].region, rect(-300, 0, 300, 1024));
    }

    proptest! {
        #[test]
        fn windows_cover_the_strip_once_and_always_see_known_picture(
            width in 1u32..2000, height in 1u32..2000, x in -500i64..500, y in -500i64..500, amount in 1u32..900,
            side in prop::sample::select(vec![Side::Left, Side::Right, Side::Up, Side::Down]),
            native in prop::sample::select(vec![256u32, 512, 1024]), multiple in prop::sample::select(vec![8u32, 32, 64]),
        ) {
            let known = rect(x, y, width, height);
            let model = ModelSize { native, multiple };
            let plan = plan_extension(known, side, amount, model);
            let strip = side.strip(known, amount);
            let mut area = 0u64;
            for (index, window) in plan.iter().enumerate() {
                prop_assert_eq!(window.width % multiple, 0);
                prop_assert_eq!(window.height % multiple, 0);
                prop_assert!(window.width <= 2 * native && window.height <= 2 * native);
                let (c, r) = (window.context, window.region);
                prop_assert!(r.width > 0 && r.height > 0);
                let inside = |outer: Rect, inner: Rect| inner.x >= outer.x && inner.y >= outer.y
                    && inner.x + i64::from(inner.width) <= outer.x + i64::from(outer.width)
                    && inner.y + i64::from(inner.height) <= outer.y + i64::from(outer.height);
                prop_assert!(inside(c, r), "{c:?} {r:?}");
                prop_assert!(inside(strip, r), "{strip:?} {r:?}");
                area += u64::from(r.width) * u64::from(r.height);
                for other in &plan[..index] {
                    let o = other.region;
                    let apart = o.x + i64::from(o.width) <= r.x || r.x + i64::from(r.width) <= o.x
                        || o.y + i64::from(o.height) <= r.y || r.y + i64::from(r.height) <= o.y;
                    prop_assert!(apart, "{o:?} and {r:?} overlap");
                }
                let outwards = match side { Side::Left | Side::Right => (r.width, c.width), _ => (r.height, c.height) };
                prop_assert!(outwards.0 * 2 <= outwards.1 + 1, "{outwards:?}");
            }
            prop_assert_eq!(area, u64::from(strip.width) * u64::from(strip.height));
        }
    }
}

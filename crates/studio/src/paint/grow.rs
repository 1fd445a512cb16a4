//! What makes the frame larger: extending, zooming out, reframing.

use outframe_document::{Frame, GenerationKind, Project, Rect};

use super::{
    Common, FillPlan, FrameGrowth, Target, Task, WindowPlan, check_sheet, check_takes, model_size, scene_prompt,
};
use crate::{
    Pictures, Settings, StudioError,
    fill::{Side, plan_extension},
    session::ReadyModel,
    texts::Prompt,
};

/// Most pixels that one side grows by in one request.
const MAX_AMOUNT: u32 = 8192;
/// Longest side of the frame afterwards, in pixels.
const MAX_FRAME: u32 = 32_768;

/// What to extend.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtendRequest {
    /// Pixels to add on each side.
    pub left: u32,
    /// Likewise.
    pub right: u32,
    /// Likewise.
    pub up: u32,
    /// Likewise.
    pub down: u32,
    /// What the new area shows; the prompt of the picture's last generation when absent.
    pub prompt: Option<String>,
    /// How.
    pub settings: Settings,
    /// Denoising strength, 0 to 1; the model's recommendation when absent.
    pub strength: Option<f64>,
    /// How many takes, 1 to [`MAX_FILL_TAKES`](crate::MAX_FILL_TAKES).
    pub takes: u32,
}

impl Default for ExtendRequest {
    fn default() -> Self {
        Self {
            left: 0,
            right: 0,
            up: 0,
            down: 0,
            prompt: None,
            settings: Settings::default(),
            strength: None,
            takes: 1,
        }
    }
}

/// How far to zoom out: the frame grows about its centre on all four sides.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoomOutRequest {
    /// By which factor the frame's sides grow: above 1, at most 4. An odd pixel goes to the right and to the bottom.
    pub factor: f64,
    /// As in [`ExtendRequest`].
    pub prompt: Option<String>,
    /// Likewise.
    pub settings: Settings,
    /// Likewise.
    pub strength: Option<f64>,
    /// Likewise.
    pub takes: u32,
}

/// Which proportions the frame shall have: its shorter direction grows about the centre, and nothing is cut off.
#[derive(Debug, Clone, PartialEq)]
pub struct ReframeRequest {
    /// Width and height in any unit, such as 16 and 9; each 1 to 10,000.
    pub aspect: (u32, u32),
    /// As in [`ExtendRequest`].
    pub prompt: Option<String>,
    /// Likewise.
    pub settings: Settings,
    /// Likewise.
    pub strength: Option<f64>,
    /// Likewise.
    pub takes: u32,
}

/// What a request would do, known without a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The frame now.
    pub before: Rect,
    /// The frame afterwards.
    pub after: Rect,
    /// What would be painted, in the order of the work: left, right, up, down.
    pub painted: Vec<Rect>,
}

/// The sides that grow, and by how much.
struct Growth {
    frame: FrameGrowth,
    sides: Vec<(Side, u32)>,
}

impl ExtendRequest {
    /// Checks the request against the project and says what it would do.
    pub fn outline(&self, project: &Project) -> Result<Outline, StudioError> {
        Ok(self.growth(project)?.outline())
    }

    fn growth(&self, project: &Project) -> Result<Growth, StudioError> {
        let sides = [(Side::Left, self.left), (Side::Right, self.right), (Side::Up, self.up), (Side::Down, self.down)];
        if sides.iter().all(|(_, amount)| *amount == 0) {
            return Err(StudioError::InvalidRequest(
                "Say on which side to extend and by how many pixels (left, right, up, down).".into(),
            ));
        }
        Growth::new(project, |_| Ok(sides), &self.settings, self.prompt.as_deref(), self.takes)
    }

    fn step(&self) -> String {
        let sides = [("left", self.left), ("right", self.right), ("up", self.up), ("down", self.down)];
        let names: Vec<_> = sides.into_iter().filter(|(_, amount)| *amount > 0).map(|(name, _)| name).collect();
        format!("Extend {}", names.join(", "))
    }
}

impl ZoomOutRequest {
    /// Checks the request against the project and says what it would do.
    pub fn outline(&self, project: &Project) -> Result<Outline, StudioError> {
        Ok(self.growth(project)?.outline())
    }

    fn growth(&self, project: &Project) -> Result<Growth, StudioError> {
        let factor = self.factor;
        if !(factor > 1.0 && factor <= 4.0) {
            return Err(StudioError::InvalidRequest(format!("Zoom out by {factor}: choose more than 1, at most 4.")));
        }
        let sides = |frame: Rect| {
            let grown = |side: u32| (f64::from(side) * factor).round() as u32;
            let (width, height) = (grown(frame.width), grown(frame.height));
            if width == frame.width && height == frame.height {
                return Err(StudioError::InvalidRequest(format!(
                    "Zooming out by {factor} adds less than a pixel. Choose a larger factor."
                )));
            }
            Ok(about_centre(frame, width, height))
        };
        Growth::new(project, sides, &self.settings, self.prompt.as_deref(), self.takes)
    }
}

impl ReframeRequest {
    /// Checks the request against the project and says what it would do.
    pub fn outline(&self, project: &Project) -> Result<Outline, StudioError> {
        Ok(self.growth(project)?.outline())
    }

    fn growth(&self, project: &Project) -> Result<Growth, StudioError> {
        let (a, b) = self.aspect;
        if !(1..=10_000).contains(&a) || !(1..=10_000).contains(&b) {
            return Err(StudioError::InvalidRequest(format!(
                "An aspect ratio of {a}:{b}: choose 1 to 10000 for each."
            )));
        }
        let sides = |frame: Rect| {
            let (width, height) = reframed(frame.width, frame.height, a, b);
            if (width, height) == (u64::from(frame.width), u64::from(frame.height)) {
                return Err(StudioError::InvalidRequest(format!(
                    "The frame has the shape {a}:{b} already, at {}x{} pixels. Choose another, or zoom out.",
                    frame.width, frame.height
                )));
            }
            let side = |length: u64| u32::try_from(length).unwrap_or(u32::MAX);
            Ok(about_centre(frame, side(width), side(height)))
        };
        Growth::new(project, sides, &self.settings, self.prompt.as_deref(), self.takes)
    }
}

/// The smallest size of the proportions a : b that holds `width` x `height`, to the nearest pixel.
fn reframed(width: u32, height: u32, a: u32, b: u32) -> (u64, u64) {
    let [width, height, a, b] = [width, height, a, b].map(u64::from);
    let nearest = |of: u64, by: u64| (2 * of + by) / (2 * by);
    // What came out once must not grow again.
    if nearest(height * a, b) == width || nearest(width * b, a) == height {
        return (width, height);
    }
    if width * b < height * a { (nearest(height * a, b), height) } else { (width, nearest(width * b, a)) }
}

/// How much each side grows to reach a size about the centre; what is odd goes to the right and to the bottom.
fn about_centre(frame: Rect, width: u32, height: u32) -> [(Side, u32); 4] {
    let (more_width, more_height) = (width.saturating_sub(frame.width), height.saturating_sub(frame.height));
    [
        (Side::Left, more_width / 2),
        (Side::Right, more_width - more_width / 2),
        (Side::Up, more_height / 2),
        (Side::Down, more_height - more_height / 2),
    ]
}

impl Growth {
    fn new(
        project: &Project,
        sides: impl FnOnce(Rect) -> Result<[(Side, u32); 4], StudioError>,
        settings: &Settings,
        prompt: Option<&str>,
        takes: u32,
    ) -> Result<Self, StudioError> {
        settings.check(prompt.unwrap_or_default())?;
        check_takes(takes)?;
        let frame = frame(project)?;
        let before = frame.1;
        let sides: Vec<_> = sides(before)?.into_iter().filter(|(_, amount)| *amount > 0).collect();
        if let Some((side, amount)) = sides.iter().find(|(_, amount)| *amount > MAX_AMOUNT) {
            return Err(StudioError::InvalidRequest(format!(
                "{amount} pixels to the {}: at most {MAX_AMOUNT} at a time.",
                side.name()
            )));
        }
        let after = sides.iter().fold(before, |rect, (side, amount)| side.grow(rect, *amount));
        if after.width > MAX_FRAME || after.height > MAX_FRAME {
            return Err(StudioError::InvalidRequest(format!(
                "The picture would grow to {}x{} pixels; {MAX_FRAME} a side is the most.",
                after.width, after.height
            )));
        }
        let growth = Self { frame: FrameGrowth { id: frame.0, before, after }, sides };
        check_sheet(growth.sheet())?;
        Ok(growth)
    }

    /// Each side's strip, and the picture that it is added to.
    fn strips(&self) -> Vec<(Side, u32, Rect, Rect)> {
        let mut grown = self.frame.before;
        let mut strips = Vec::new();
        for (side, amount) in &self.sides {
            strips.push((*side, *amount, grown, side.strip(grown, *amount)));
            grown = side.grow(grown, *amount);
        }
        strips
    }

    fn outline(&self) -> Outline {
        let painted = self.strips().into_iter().map(|(.., strip)| strip).collect();
        Outline { before: self.frame.before, after: self.frame.after, painted }
    }

    /// What is painted in one piece: the strip of a single side, else the whole frame, in which what is known is hidden.
    fn sheet(&self) -> Rect {
        match self.sides.as_slice() {
            [(side, amount)] => side.strip(self.frame.before, *amount),
            _ => self.frame.after,
        }
    }
}

/// The frame to extend: the first one; without one, the bounds of what is there.
fn frame(project: &Project) -> Result<(Option<outframe_document::FrameId>, Rect), StudioError> {
    let document = project.document();
    let bounds = document.bounds().ok_or(StudioError::NoPicture)?;
    match document.frames.first() {
        Some(Frame { id, rect, .. }) if rect.intersection(&bounds).is_some() => Ok((Some(*id), *rect)),
        Some(_) => Err(StudioError::NoPicture),
        None => Ok((None, bounds)),
    }
}

/// What the three requests have in common.
struct Asked<'a> {
    kind: GenerationKind,
    step: String,
    prompt: Option<&'a String>,
    settings: &'a Settings,
    strength: Option<f64>,
    takes: u32,
}

impl FillPlan {
    /// Plans the extension of the project's frame on the given sides, painted in the order left, right, up, down. Known
    /// pixels are never written, also where the canvas has some beyond the frame.
    pub fn extend(project: &Project, request: &ExtendRequest, model: &ReadyModel) -> Result<Self, StudioError> {
        let ExtendRequest { prompt, settings, strength, takes, .. } = request;
        let asked = Asked {
            kind: GenerationKind::Extend,
            step: request.step(),
            prompt: prompt.as_ref(),
            settings,
            strength: *strength,
            takes: *takes,
        };
        Self::grow(project, &request.growth(project)?, asked, model)
    }

    /// Plans a zoom out: the frame grows about its centre by a factor.
    pub fn zoom_out(project: &Project, request: &ZoomOutRequest, model: &ReadyModel) -> Result<Self, StudioError> {
        let ZoomOutRequest { prompt, settings, strength, takes, .. } = request;
        let asked = Asked {
            kind: GenerationKind::ZoomOut,
            step: "Zoom out".into(),
            prompt: prompt.as_ref(),
            settings,
            strength: *strength,
            takes: *takes,
        };
        Self::grow(project, &request.growth(project)?, asked, model)
    }

    /// Plans another shape of the frame. It is an error when it has that shape already.
    pub fn reframe(project: &Project, request: &ReframeRequest, model: &ReadyModel) -> Result<Self, StudioError> {
        let ReframeRequest { aspect, prompt, settings, strength, takes } = request;
        let asked = Asked {
            kind: GenerationKind::Extend,
            step: format!("Reframe to {}:{}", aspect.0, aspect.1),
            prompt: prompt.as_ref(),
            settings,
            strength: *strength,
            takes: *takes,
        };
        Self::grow(project, &request.growth(project)?, asked, model)
    }

    fn grow(project: &Project, growth: &Growth, asked: Asked<'_>, model: &ReadyModel) -> Result<Self, StudioError> {
        let before = growth.frame.before;
        let prompt = Prompt::of(asked.prompt.map(String::as_str), || scene_prompt(project, before));
        let common = Common {
            kind: asked.kind,
            step: asked.step,
            prompt,
            settings: asked.settings,
            strength: asked.strength.unwrap_or(model.loaded.info.defaults.fill_strength),
            takes: asked.takes,
            model,
        };
        let mut plan = Self::new(project, common, Target::Ground(before))?;
        let size = model_size(model);
        let mut pictures = Pictures::new(project);
        let mut windows = Vec::new();
        for (side, amount, known, strip) in growth.strips() {
            for window in plan_extension(known, side, amount, size) {
                windows.push(WindowPlan {
                    context: window.context,
                    size: (window.width, window.height),
                    scene: pictures.painted(window.context, &|_| true)?,
                    task: Task::Unknown(vec![window.region]),
                });
            }
            plan.painted.push(strip);
        }
        plan.add_sheet(growth.sheet(), windows)?;
        plan.steer(asked.settings, growth.frame.after)?;
        plan.frame = Some(growth.frame.clone());
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zooming_out_keeps_the_centre() {
        let sides = about_centre(Rect::new(0, 0, 256, 255), 384, 383);
        assert_eq!(sides.map(|(_, amount)| amount), [64, 64, 64, 64]);
        let sides = about_centre(Rect::new(0, 0, 100, 100), 103, 100);
        assert_eq!(sides.map(|(_, amount)| amount), [1, 2, 0, 0]);
    }

    proptest! {
        #[test]
        fn reframing_is_exact_to_a_pixel_and_cuts_nothing(width in 1u32..5000, height in 1u32..5000, a in 1u32..100, b in 1u32..100) {
            let (w, h) = reframed(width, height, a, b);
            prop_assert!(w >= u64::from(width) && h >= u64::from(height));
            prop_assert!(w == u64::from(width) || h == u64::from(height));
            let (exact_w, exact_h) = (h as f64 * f64::from(a) / f64::from(b), w as f64 * f64::from(b) / f64::from(a));
            prop_assert!((w as f64 - exact_w).abs() <= 0.5 || (h as f64 - exact_h).abs() <= 0.5, "{w}x{h}");
            // And then it has that shape.
            prop_assert_eq!(reframed(w as u32, h as u32, a, b), (w, h));
        }
    }
}

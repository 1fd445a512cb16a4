//! Varying a region: it is made anew, like what was there or not, and continues what surrounds it.

use image::{GrayImage, Luma};
use outframe_document::{GenerationKind, Project, Rect};

use super::{Common, FillPlan, Target, Task, WindowPlan, check_takes, last_prompt, model_size};
use crate::{
    Pictures, Region, Settings, StudioError,
    fill::{Mask, ModelSize},
    region::trimmed,
    session::ReadyModel,
    texts::Prompt,
};

/// Denoising strength of a variation unless another is asked for.
pub const VARY_STRENGTH: f64 = 0.6;
/// How wide the transition is at full strength, as a part of the region's diagonal.
const FEATHER: f64 = 0.1;
/// The least freedom that the model has in the transition, of 255: at the region's very edge.
const LEAST_FREEDOM: f32 = 128.0;

/// What to vary.
#[derive(Debug, Clone, PartialEq)]
pub struct VaryRequest {
    /// Where. A region larger than the model's native size is worked on scaled down, and what is painted there is
    /// softer than its surroundings.
    pub region: Region,
    /// What the region shows; the prompt of the topmost generation there when absent.
    pub prompt: Option<String>,
    /// How much may change, above 0 to 1: at 1 nothing of what was there counts. [`VARY_STRENGTH`] when absent.
    pub strength: Option<f64>,
    /// How.
    pub settings: Settings,
    /// How many takes, 1 to [`MAX_FILL_TAKES`](crate::MAX_FILL_TAKES).
    pub takes: u32,
}

impl VaryRequest {
    /// Checks what can be checked without a project and a model.
    pub fn check(&self) -> Result<(), StudioError> {
        self.settings.check(self.prompt.as_deref().unwrap_or_default())?;
        check_takes(self.takes)?;
        let strength = self.strength.unwrap_or(VARY_STRENGTH);
        if !(strength > 0.0 && strength <= 1.0) {
            return Err(StudioError::InvalidRequest(format!(
                "A strength of {strength}: choose more than 0, which would change nothing, and at most 1."
            )));
        }
        self.area().map(|_| ())
    }

    /// The region as pixels.
    fn area(&self) -> Result<(Rect, GrayImage), StudioError> {
        self.region
            .rasterise()?
            .ok_or_else(|| StudioError::InvalidRequest("The region is empty. Mark what to vary.".into()))
    }
}

impl FillPlan {
    /// Plans the variation of a region. Outside of it nothing changes, to the bit; the transition lies inside.
    ///
    /// The model sees the region in the middle of enough known picture: half the region's mean side more on each side, and
    /// at full strength at least its native size. Denoising starts from the original pixels; unpainted ones in the region are
    /// made up as in an extension.
    pub fn vary(project: &Project, request: &VaryRequest, model: &ReadyModel) -> Result<Self, StudioError> {
        request.check()?;
        let strength = request.strength.unwrap_or(VARY_STRENGTH);
        let (rect, region) = request.area()?;
        let prompt = Prompt::of(request.prompt.as_deref(), || last_prompt(project, rect));
        let common = Common {
            kind: GenerationKind::Vary,
            step: "Vary region".into(),
            prompt,
            settings: &request.settings,
            strength,
            takes: request.takes,
            model,
        };
        let mut plan = Self::new(project, common, Target::Topmost(rect))?;
        let picture = project.document().bounds().ok_or(StudioError::NoPicture)?;
        let (context, size) = surroundings(rect, strength, picture, model_size(model));
        let scene = Pictures::new(project).painted(context, &|_| true)?;
        let opaque = Mask::from_fn(context.width, context.height, |x, y| scene.get_pixel(x, y).0[3] == 255);
        if !opaque.any() {
            return Err(StudioError::InvalidRequest(
                "There is no picture in or near the region. Mark a part of the picture.".into(),
            ));
        }
        let (dx, dy) = ((rect.x - context.x) as u32, (rect.y - context.y) as u32);
        let marked = |x: u32, y: u32| match (x.checked_sub(dx), y.checked_sub(dy)) {
            (Some(u), Some(v)) if u < rect.width && v < rect.height => region.get_pixel(u, v).0[0],
            _ => 0,
        };
        let reach = Reach::new(&opaque, &marked, FEATHER * diagonal(rect) * strength);
        let freedom = GrayImage::from_fn(context.width, context.height, |x, y| {
            let inside = LEAST_FREEDOM + (255.0 - LEAST_FREEDOM) * reach.at(x, y);
            Luma([if marked(x, y) == 0 { 0 } else { inside.round() as u8 }])
        });
        let shown = GrayImage::from_fn(rect.width, rect.height, |u, v| {
            let (x, y) = (u + dx, v + dy);
            let t = if opaque.get(x, y) { reach.at(x, y) } else { 1.0 };
            Luma([(f32::from(marked(x, y)) * t * t * (3.0 - 2.0 * t)).round() as u8])
        });
        // A region thinner than a pixel shows nothing.
        let Some((rect, shown)) = trimmed(rect, &shown) else {
            return Err(StudioError::InvalidRequest("The region is too thin. Mark a wider one.".into()));
        };
        let task = Task::Change { region: freedom, shown };
        plan.add_sheet(rect, vec![WindowPlan { context, size, scene, task }])?;
        let frame = project.document().frames.first().map(|frame| frame.rect);
        plan.steer(&request.settings, frame.filter(|frame| frame.intersection(&rect).is_some()).unwrap_or(picture))?;
        plan.painted.push(rect);
        Ok(plan)
    }
}

fn diagonal(rect: Rect) -> f64 {
    f64::from(rect.width).hypot(f64::from(rect.height))
}

/// How far inside the region each pixel lies, as seen from the known picture around it: 0 there, 1 beyond the transition.
struct Reach {
    /// The nearest known pixel outside and its distance; nothing where there is none to join.
    field: Option<Vec<(usize, f32)>>,
    width: u32,
    feather: f32,
}

impl Reach {
    fn new(opaque: &Mask, marked: &impl Fn(u32, u32) -> u8, feather: f64) -> Self {
        let (width, height) = (opaque.width(), opaque.height());
        let outside = Mask::from_fn(width, height, |x, y| opaque.get(x, y) && marked(x, y) == 0);
        let field = outside.nearest(1.0);
        let deepest = field.iter().flatten().enumerate().fold(0.0_f32, |most, (index, (_, distance))| {
            let (x, y) = (index as u32 % width, index as u32 / width);
            if marked(x, y) > 0 { most.max(*distance) } else { most }
        });
        // The middle of a thin region, too, must change wholly.
        let feather = (feather as f32).min(deepest / 2.0).max(1.0);
        Self { field, width, feather }
    }

    fn at(&self, x: u32, y: u32) -> f32 {
        match &self.field {
            Some(field) => (field[(y * self.width + x) as usize].1 / self.feather).clamp(0.0, 1.0),
            None => 1.0,
        }
    }
}

/// What the model sees of the canvas around a region, and the size at which it works on that. Lies within `picture` where that
/// is possible.
fn surroundings(region: Rect, strength: f64, picture: Rect, model: ModelSize) -> (Rect, (u32, u32)) {
    let native = model.round_up(model.native);
    let longest = model.round_up(native + native / 2);
    let (width, height) = (f64::from(region.width), f64::from(region.height));
    let pad = (width.max(height) / 16.0).max(f64::midpoint(width, height) / 2.0);
    // Less strength needs less to see, and so the model may look closer.
    let least = f64::from(native) * f64::midpoint(1.0, strength);
    let (wide, high) = ((width + 2.0 * pad).max(least), (height + 2.0 * pad).max(least));
    let fits = |side: f64| side <= f64::from(longest) && side >= f64::from(native);
    // Canvas pixels per model pixel.
    let scale = if fits(wide) && fits(high) {
        1.0
    } else {
        (wide.min(high) / f64::from(native)).max(wide.max(high) / f64::from(longest))
    };
    let at_model = |side: f64| model.round_up((side / scale - 1e-6).ceil() as u32).clamp(model.multiple, longest);
    let size = (at_model(wide), at_model(high));
    let on_canvas = |side: u32, least: u32| ((f64::from(side) * scale).round() as u32).max(least);
    let (wide, high) = (on_canvas(size.0, region.width), on_canvas(size.1, region.height));
    let x = along(region.x, region.width, wide, picture.x, picture.width);
    let y = along(region.y, region.height, high, picture.y, picture.height);
    (Rect::new(x, y, wide, high), size)
}

/// Where a span of `length` begins: it holds `inner`, has it in its middle if possible, and shows as much as possible of `outer`.
pub(super) fn along(inner: i64, inner_length: u32, length: u32, outer: i64, outer_length: u32) -> i64 {
    let [inner_length, length, outer_length] = [inner_length, length, outer_length].map(i64::from);
    let middle = inner - (length - inner_length) / 2;
    let (first, last) = (outer, outer + outer_length - length);
    let shown = middle.clamp(first.min(last), first.max(last));
    shown.clamp(inner + inner_length - length, inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STARTER: ModelSize = ModelSize { native: 256, multiple: 32 };

    #[test]
    fn a_region_of_a_native_picture_is_seen_unscaled_with_all_of_it() {
        let picture = Rect::new(0, 0, 256, 256);
        let found = surroundings(Rect::new(150, 20, 60, 80), 1.0, picture, STARTER);
        assert_eq!(found, (picture, (256, 256)));
    }

    proptest! {
        #[test]
        fn the_model_sees_the_region_with_enough_around_it(
            x in -900i64..900, y in -900i64..900, width in 1u32..3000, height in 1u32..3000, strength in 0.05f64..1.0,
            native in prop::sample::select(vec![256u32, 512, 1024]), multiple in prop::sample::select(vec![8u32, 32, 64]),
        ) {
            let model = ModelSize { native, multiple };
            let region = Rect::new(x, y, width, height);
            let picture = Rect::new(-1000, -1000, 2000, 2000);
            let (context, size) = surroundings(region, strength, picture, model);
            prop_assert!(context.contains(&region), "{context:?}");
            prop_assert!(size.0 % multiple == 0 && size.1 % multiple == 0);
            prop_assert!(size.0 <= native * 3 / 2 + multiple && size.1 <= native * 3 / 2 + multiple);
            let mean = f64::midpoint(f64::from(width), f64::from(height));
            // Extreme shapes do not fit into what the model can work on with all of their surroundings.
            if width < 3 * height && height < 3 * width {
                prop_assert!(f64::from(context.width) + 2.0 >= (f64::from(width) + mean).min(f64::from(native)));
                let (across, down) = (f64::from(context.width) / f64::from(size.0), f64::from(context.height) / f64::from(size.1));
                prop_assert!((across / down - 1.0).abs() < 0.05, "{across} {down}");
            }
        }
    }
}

//! Painting what a shot lacks.

use outframe_camera::PixelRect;
use outframe_document::{GenerationKind, Project, Rect, Shot};

use super::{Common, FillPlan, Target, Task, WindowPlan, model_size, scene_prompt, vary::along};
use crate::{
    Pictures, Settings, StudioError, controls,
    session::ReadyModel,
    shots::{plan_fills, to_camera, view_of},
    surface::is_plain,
    texts::Prompt,
};

/// How to paint what a shot lacks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CoverRequest {
    /// What the new area shows; the prompt of the picture's last generation when absent.
    pub prompt: Option<String>,
    /// How.
    pub settings: Settings,
    /// Denoising strength, 0 to 1; the model's recommendation when absent.
    pub strength: Option<f64>,
}

impl FillPlan {
    /// Plans what a shot lacks, as [`shots::coverage`](crate::shots::coverage) tells it and a little beside it, in an order that always has
    /// context. Frames stay as they are. It is an error when nothing is missing.
    pub fn cover(
        project: &Project,
        shot: &Shot,
        request: &CoverRequest,
        model: &ReadyModel,
    ) -> Result<Self, StudioError> {
        controls::refuse(&request.settings.controls, "Painting what a shot lacks")?;
        let size = model_size(model);
        let native = size.round_up(size.native);
        let Some((fills, ground, scale)) = plan_fills(project, shot, native)? else {
            return Err(StudioError::InvalidRequest(format!(
                "The shot “{}” lacks nothing: there is picture wherever it looks.",
                shot.name
            )));
        };
        let document = project.document();
        let view = view_of(&to_camera(document, shot)?);
        let prompt = Prompt::of(request.prompt.as_deref(), || scene_prompt(project, view));
        let common = Common {
            kind: GenerationKind::Fill,
            step: "Paint what is missing".into(),
            prompt,
            settings: &request.settings,
            strength: request.strength.unwrap_or(model.loaded.info.defaults.fill_strength),
            takes: 1,
            model,
        };
        let mut plan = Self::new(project, common, Target::AtDepth(ground.depth, view))?;
        let on_plane = |layer: &outframe_document::Layer| {
            layer.depth.total_cmp(&ground.depth).is_eq() && is_plain(document, layer)
        };
        let mut known = ground.opaque.iter().copied().reduce(|all, rect| all.union(&rect)).unwrap_or(view);
        let mut pictures = Pictures::new(project);
        let side = (f64::from(native) * scale).round() as u32;
        for fill in &fills {
            let window = canvas_rect(&fill.window)?;
            let paint = fill.paint.iter().map(canvas_rect).collect::<Result<Vec<_>, _>>()?;
            let Some(sheet) = paint.iter().copied().reduce(|all, rect| all.union(&rect)) else { continue };
            let (wide, high) = (side.max(window.width), side.max(window.height));
            let context = Rect::new(
                along(window.x, window.width, wide, known.x, known.width),
                along(window.y, window.height, high, known.y, known.height),
                wide,
                high,
            );
            let scene = pictures.painted(context, &on_plane)?;
            plan.painted.extend(paint.iter().copied());
            let task = Task::Unknown(paint);
            plan.add_sheet(sheet, vec![WindowPlan { context, size: (native, native), scene, task }])?;
            known = known.union(&sheet);
        }
        Ok(plan)
    }
}

fn canvas_rect(rect: &PixelRect) -> Result<Rect, StudioError> {
    match (u32::try_from(rect.width()), u32::try_from(rect.height())) {
        (Ok(width), Ok(height)) => Ok(Rect::new(rect.x0, rect.y0, width, height)),
        _ => Err(StudioError::InvalidRequest("The shot sees more than can be painted. Make its moves smaller.".into())),
    }
}

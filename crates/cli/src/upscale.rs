//! `outframe upscale`: the same picture with more pixels.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use outframe_document::Project;
use outframe_studio::{UpscaleMode, UpscalePlan, UpscaleRequest, Upscaled};
use serde::Serialize;

use crate::{
    arguments,
    commands::{change, on_runtime, studio, writable},
    progress::Progress,
    report,
};

#[derive(Debug, Serialize)]
struct Report {
    /// The picture or the new project.
    file: PathBuf,
    mode: &'static str,
    factor: u32,
    width: u32,
    height: u32,
    upscaler: String,
    seconds: f64,
}

pub(crate) fn upscale(options: &arguments::Upscale, json: bool, show: &Progress) -> anyhow::Result<()> {
    let (mode, named) = match options.mode.as_str() {
        "creative" => (UpscaleMode::Creative, "creative"),
        _ => (UpscaleMode::Subtle, "subtle"),
    };
    let request = UpscaleRequest {
        factor: options.factor,
        mode,
        upscaler: options.upscaler.clone(),
        rect: options.rect,
        layer: None,
        prompt: options.prompt.clone(),
        strength: options.strength,
        settings: options.sampling.settings(),
    };
    // Before the work, so that a name that cannot be written costs no minutes of computing.
    let target = match (&options.out, &options.to) {
        (Some(out), _) => {
            Upscaled::check_name(out)?;
            out.clone()
        }
        (None, Some(to)) => to.clone(),
        (None, None) => beside(&options.file, options.factor),
    };
    if options.out.is_none() && target.exists() {
        bail!("{} exists already. Give another name with --to, or remove it first.", target.display());
    }
    writable(&target)?;
    // Read only, and closed before the work: the project stays free meanwhile.
    let plan = UpscalePlan::new(&Project::open_read_only(&options.file)?, &request)?;
    let (width, height) = plan.size();
    let studio = studio(&options.sampling.engine);
    let upscaled = on_runtime(async |cancel| {
        let upscaled = studio.upscale(plan, &mut |event| show.show(event), cancel).await;
        studio.engine().shutdown().await;
        Ok(upscaled?)
    })?;
    show.finish();

    let (upscaler, seconds) = (upscaled.upscaler.clone(), upscaled.seconds);
    if options.out.is_some() {
        upscaled.write(&target, options.strip_metadata)?;
    } else {
        change(&target, None, |project| upscaled.place(project))
            .with_context(|| format!("{} could not be made", target.display()))?;
    }
    let told = Report { file: target, mode: named, factor: options.factor, width, height, upscaler, seconds };
    report::print(json, &told, |told| {
        let Report { file, width, height, upscaler, seconds, .. } = told;
        format!("{}: {width}x{height}, by {upscaler}, {seconds:.1} s", file.display())
    })
}

/// `NAME-2x.outframe` beside the project.
fn beside(project: &Path, factor: u32) -> PathBuf {
    let stem = project.file_stem().unwrap_or_default().to_string_lossy();
    project.with_file_name(format!("{stem}-{factor}x.outframe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_project_lies_beside_the_old_one() {
        assert_eq!(beside(Path::new("a/sea.outframe"), 4), Path::new("a/sea-4x.outframe"));
    }
}

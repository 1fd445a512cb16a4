//! What each command does.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use image::{DynamicImage, GrayImage, Luma};
use outframe_document::Project;
use outframe_studio::{
    CancellationToken, DeepZoomOptions, ExportOptions, ExtendRequest, FillPlan, GenerateRequest, ImportOptions,
    ModelEntry, Models, Placed, ReadyModel, ReframeRequest, Region, Shape, Studio, StudioError, TakeImage, Texts,
    VaryRequest, ZoomOutRequest, can_write, encode_png, engine::EngineOptions, export_tiles, import_pictures,
    thumbnail, write_whole,
};

use crate::{
    arguments::{self, Arguments, Command, ModelsCommand},
    models,
    progress::Progress,
    project,
    report::{self, Exported, Generated, GeneratedTake, Info, Model, Moved, Painted},
    shot, upscale,
};

pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { json, quiet, command } = arguments;
    let show = Progress::new(quiet || json);
    match command {
        Command::Generate(options) => generate(&options, json, &show),
        Command::Extend(options) => extend(&options, json, &show),
        Command::ZoomOut(options) => zoom_out(&options, json, &show),
        Command::Reframe(options) => reframe(&options, json, &show),
        Command::Vary(options) => vary(&options, json, &show),
        Command::Upscale(options) => upscale::upscale(&options, json, &show),
        Command::Import(options) => import(&options, json),
        Command::Export(options) => export(options, json, &show),
        Command::Tiles(options) => tiles(options, json, &show),
        Command::Info { file } => report::print(json, &Info::of(&Project::open_read_only(&file)?)?, report::info),
        Command::Undo { file } => step(&file, json, "undone", "There is nothing to undo.", Project::undo),
        Command::Redo { file } => step(&file, json, "redone", "There is nothing to redo.", Project::redo),
        Command::Layer { file, command } => project::layer(&file, command, json),
        Command::Shot { file, command } => shot::shot(&file, &command, json),
        Command::Cover(options) => shot::cover(&options, json, &show),
        Command::Film(options) => shot::film(&options, json, &show),
        Command::Take { file, command } => project::take(&file, &command, json),
        Command::History { file, go_to, forget, dry_run } => project::history(&file, go_to, forget, dry_run, json),
        Command::Milestone { file, command } => project::milestone(&file, command, json),
        Command::Doctor { file, repair } => project::doctor(&file, repair.as_deref(), json),
        Command::Copy { file, to } => project::copy(&file, &to, json),
        Command::Compact { file } => project::compact(&file, json),
        Command::Styles => styles(json),
        Command::Models { command } => models(command, json, &show),
    }
}

fn models(command: ModelsCommand, json: bool, show: &Progress) -> anyhow::Result<()> {
    match command {
        ModelsCommand::List { catalog: false } => list_models(json),
        ModelsCommand::List { catalog: true } => models::catalogue(json),
        ModelsCommand::Info { model } => report::print(json, &models::find(&model)?, models::describe),
        ModelsCommand::Verify { model, sha256, accept } => {
            models::verify(&model, sha256.as_deref(), accept, json, show)
        }
        ModelsCommand::Add { path, link: _, copy, name } => models::add(&path, copy, name.as_deref(), json, show),
        ModelsCommand::Remove { model, yes } => models::remove(&model, yes, json),
        ModelsCommand::Download { model, file, full, name } => {
            models::download(&model, file.as_deref(), full, name.as_deref(), json, show)
        }
    }
}

/// Runs a use-case on a runtime of its own; Ctrl-C cancels it cleanly.
pub(crate) fn on_runtime<T>(work: impl AsyncFnOnce(&CancellationToken) -> anyhow::Result<T>) -> anyhow::Result<T> {
    runtime()?.block_on(async {
        let cancel = CancellationToken::new();
        heed_interrupts(&cancel).await;
        work(&cancel).await
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("the runtime could not be started")
}

/// Lets Ctrl-C cancel from here on.
async fn heed_interrupts(cancel: &CancellationToken) {
    let mut interrupt = Box::pin(tokio::signal::ctrl_c());
    // The first look at it installs the handler: before anything is begun that an interrupt would leave half done.
    tokio::select! {
        biased;
        _ = &mut interrupt => cancel.cancel(),
        () = std::future::ready(()) => {
            let cancel = cancel.clone();
            tokio::spawn(async move {
                if interrupt.await.is_ok() {
                    eprintln!("\nCancelling after this step…");
                    cancel.cancel();
                }
            });
        }
    }
}

pub(crate) fn studio(options: &arguments::Engine) -> Studio {
    let engine = EngineOptions {
        device: options.device.clone(),
        precision: options.precision.clone(),
        threads: options.threads,
        ..EngineOptions::default()
    };
    Studio::new(engine, Models::discover())
}

/// The project, opened for changes; nothing where there is none yet.
fn existing(file: &Path) -> anyhow::Result<Option<Project>> {
    Ok(if file.exists() { Some(Project::open(file)?) } else { None })
}

/// Changes a project and closes it. One that is not there is made, and taken away again when the change fails: empty it would
/// only be in the way.
pub(crate) fn change<T>(
    file: &Path,
    existing: Option<Project>,
    work: impl FnOnce(&mut Project) -> Result<T, StudioError>,
) -> anyhow::Result<T> {
    let is_new = existing.is_none();
    let mut project = match existing {
        Some(project) => project,
        None => Project::create(file, &file.file_stem().unwrap_or_default().to_string_lossy())?,
    };
    let worked = work(&mut project);
    let closed = if worked.is_ok() { finish(project) } else { project.close().map_err(Into::into) };
    if worked.is_err() && is_new {
        let _ = std::fs::remove_file(file);
    }
    let value = worked?;
    closed?;
    Ok(value)
}

fn generate(options: &arguments::Generate, json: bool, show: &Progress) -> anyhow::Result<()> {
    let request = GenerateRequest {
        prompt: options.prompt.clone(),
        settings: options.sampling.settings(),
        size: options.size,
        takes: match options.count {
            Some(count) => count,
            None => u32::try_from(outframe_studio::prompts::permutations(&options.prompt)?.len())?,
        },
    };
    // Before the work, so that a locked or foreign file costs no minutes of computing.
    let project = match &options.project {
        Some(file) => existing(file)?,
        None => None,
    };
    if let (None, Some(file)) = (&project, &options.project) {
        writable(file)?;
    }
    if let Some(out) = &options.out {
        writable(out)?;
    }
    let studio = studio(&options.sampling.engine);
    let painting = on_runtime(async |cancel| {
        let painting = studio.generate(&request, &mut |event| show.show(event), cancel).await;
        studio.engine().shutdown().await;
        Ok(painting?)
    })?;
    show.finish();

    let model = painting.provenance.request.model_name.clone();
    // What can be kept is kept: a picture file that cannot be written does not cost the project its takes.
    let written = write_takes(&painting.takes, options.out.as_deref());
    if let Some(file) = &options.project {
        change(file, project, |project| painting.place(project))?;
    }
    let takes = written?;
    let done = Generated { prompt: options.prompt.clone(), model, takes, project: options.project.clone() };
    report::print(json, &done, report::generated)
}

/// Writes the takes where asked to.
fn write_takes(takes: &[TakeImage], out: Option<&Path>) -> anyhow::Result<Vec<GeneratedTake>> {
    let mut told = Vec::new();
    for (index, take) in takes.iter().enumerate() {
        let file = out.map(|out| numbered(out, index, takes.len()));
        if let Some(file) = &file {
            write_whole(file, &encode_png(&DynamicImage::ImageRgb8(take.image.clone()))?)?;
        }
        let (width, height) = take.image.dimensions();
        told.push(GeneratedTake {
            prompt: take.prompt.clone(),
            seed: take.seed,
            width,
            height,
            seconds: take.seconds,
            file,
        });
    }
    Ok(told)
}

/// `FILE.png`, or `FILE-1.png` and so on when there are several takes.
fn numbered(out: &Path, index: usize, count: usize) -> PathBuf {
    if count <= 1 {
        return out.into();
    }
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    let extension = out.extension().unwrap_or("png".as_ref()).to_string_lossy();
    out.with_file_name(format!("{stem}-{}.{extension}", index + 1))
}

/// Finds out before the work whether a file can be written where it shall go.
pub(crate) fn writable(out: &Path) -> anyhow::Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if out.is_dir() {
        anyhow::bail!("{} is a folder. Give the name of a file.", out.display());
    }
    can_write(folder).with_context(|| {
        format!("{} cannot be written. Choose a folder that exists and where you may write", out.display())
    })
}

/// Paints on a project's canvas in the three parts that the studio has for it. `check` finds out what is wrong with the request
/// before a model is loaded.
pub(crate) fn paint(
    file: &Path,
    sampling: &arguments::Sampling,
    show: &Progress,
    check: impl FnOnce(&Project) -> Result<(), StudioError>,
    plan: impl FnOnce(&Project, &ReadyModel) -> Result<FillPlan, StudioError>,
) -> anyhow::Result<Placed> {
    let mut project = Project::open(file)?;
    check(&project)?;
    let studio = studio(&sampling.engine);
    let settings = sampling.settings();
    let placed = on_runtime(async |cancel| {
        let mut events = |event| show.show(event);
        let work = async {
            let model = studio.ready(&settings, &mut events).await?;
            let plan = plan(&project, &model)?;
            let painted = studio.paint(plan, &mut events, cancel).await?;
            painted.place(&mut project)
        };
        let placed = work.await;
        studio.engine().shutdown().await;
        Ok(placed?)
    })?;
    show.finish();
    finish(project)?;
    Ok(placed)
}

fn extend(options: &arguments::Extend, json: bool, show: &Progress) -> anyhow::Result<()> {
    let request = ExtendRequest {
        left: options.left,
        right: options.right,
        up: options.up,
        down: options.down,
        prompt: options.brush.prompt.clone(),
        settings: options.brush.sampling.settings(),
        strength: options.brush.strength,
        takes: options.brush.takes,
    };
    let placed = paint(
        &options.file,
        &options.brush.sampling,
        show,
        |project| request.outline(project).map(|_| ()),
        |project, model| FillPlan::extend(project, &request, model),
    )?;
    report::print(json, &Painted::new(&options.file, placed), report::painted)
}

fn zoom_out(options: &arguments::ZoomOut, json: bool, show: &Progress) -> anyhow::Result<()> {
    let request = ZoomOutRequest {
        factor: options.factor,
        prompt: options.brush.prompt.clone(),
        settings: options.brush.sampling.settings(),
        strength: options.brush.strength,
        takes: options.brush.takes,
    };
    let placed = paint(
        &options.file,
        &options.brush.sampling,
        show,
        |project| request.outline(project).map(|_| ()),
        |project, model| FillPlan::zoom_out(project, &request, model),
    )?;
    report::print(json, &Painted::new(&options.file, placed), report::painted)
}

fn reframe(options: &arguments::Reframe, json: bool, show: &Progress) -> anyhow::Result<()> {
    let request = ReframeRequest {
        aspect: options.aspect,
        prompt: options.brush.prompt.clone(),
        settings: options.brush.sampling.settings(),
        strength: options.brush.strength,
        takes: options.brush.takes,
    };
    let placed = paint(
        &options.file,
        &options.brush.sampling,
        show,
        |project| request.outline(project).map(|_| ()),
        |project, model| FillPlan::reframe(project, &request, model),
    )?;
    report::print(json, &Painted::new(&options.file, placed), report::painted)
}

fn vary(options: &arguments::Vary, json: bool, show: &Progress) -> anyhow::Result<()> {
    let mask = options.mask.as_deref().map(read_mask).transpose()?;
    let region = |project: &Project| -> Result<Region, StudioError> {
        if let Some(rect) = options.rect {
            return Ok(rect.into());
        }
        let document = project.document();
        let corner = document.frames.first().map(|frame| frame.rect).or_else(|| document.bounds());
        let corner = corner.ok_or(StudioError::NoPicture)?;
        match &mask {
            Some(mask) => Ok(Region::of(Shape::Picture { x: corner.x, y: corner.y, mask: mask.clone() })),
            None => Ok(corner.into()),
        }
    };
    let request = |region| VaryRequest {
        region,
        prompt: options.brush.prompt.clone(),
        strength: options.brush.strength,
        settings: options.brush.sampling.settings(),
        takes: options.brush.takes,
    };
    let placed = paint(
        &options.file,
        &options.brush.sampling,
        show,
        |project| request(region(project)?).check(),
        |project, model| FillPlan::vary(project, &request(region(project)?), model),
    )?;
    report::print(json, &Painted::new(&options.file, placed), report::painted)
}

/// Reads the picture of a mask: white marks. Its alpha, where it has one, counts as well.
fn read_mask(path: &Path) -> anyhow::Result<GrayImage> {
    let bytes = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let image = image::load_from_memory(&bytes)
        .with_context(|| format!("{} cannot be read as the picture of a mask", path.display()))?
        .into_luma_alpha8();
    Ok(GrayImage::from_fn(image.width(), image.height(), |x, y| {
        let [value, alpha] = image.get_pixel(x, y).0;
        Luma([(u16::from(value) * u16::from(alpha) / 255) as u8])
    }))
}

fn import(options: &arguments::Import, json: bool) -> anyhow::Result<()> {
    let paths: Vec<&Path> = options.images.iter().map(PathBuf::as_path).collect();
    let how = ImportOptions { at: options.at, each_as_layer: options.each_as_layer };
    let imported = change(&options.file, existing(&options.file)?, |project| import_pictures(project, &paths, how))?;
    for warning in imported.iter().flat_map(|one| &one.warnings) {
        eprintln!("note: {warning}");
    }
    let files: Vec<report::ImportedFile> = imported.into_iter().map(Into::into).collect();
    report::print(json, files.as_slice(), report::imported)
}

fn export(options: arguments::Export, json: bool, show: &Progress) -> anyhow::Result<()> {
    let out = if options.ora { options.out.with_extension("ora") } else { options.out };
    let project = Project::open_read_only(&options.file)?;
    let rect = match &options.frame {
        Some(name) => Some(frame(&project, name)?),
        None => options.rect,
    };
    let shown = || {
        let document = project.document();
        rect.or_else(|| document.frames.first().map(|frame| frame.rect)).or_else(|| document.bounds())
    };
    let scaled = |side: u32, scale: f64| ((f64::from(side) * scale).round() as u32).max(1);
    let size = options.scale.zip(shown());
    let how = ExportOptions {
        rect,
        size: size.map(|(scale, rect)| (scaled(rect.width, scale), scaled(rect.height, scale))),
        deep: options.depth == "16",
        strip_metadata: options.strip_metadata,
        quality: options.quality,
        adapter: options.adapter,
    };
    let done = blocking(|cancel| {
        Ok(outframe_studio::export_with(&project, &out, &how, &mut |event| show.show(event), cancel)?)
    })?;
    show.finish();
    let (width, height) = done.size;
    report::print(
        json,
        &Exported { file: out, rect: done.rect, width, height, adapter: done.adapter },
        report::exported,
    )
}

fn tiles(options: arguments::Tiles, json: bool, show: &Progress) -> anyhow::Result<()> {
    let project = Project::open_read_only(&options.file)?;
    let how = DeepZoomOptions { rect: options.rect, level: options.level, adapter: options.adapter };
    let done =
        blocking(|cancel| Ok(export_tiles(&project, &options.out, &how, &mut |event| show.show(event), cancel)?))?;
    show.finish();
    let row = serde_json::json!({
        "folder": options.out, "rect": done.rect, "levels": done.levels, "tiles": done.tiles,
    });
    report::print(json, &row, |_| {
        format!("{}: {} tiles in {} levels", options.out.display(), done.tiles, done.levels.len())
    })
}

fn frame(project: &Project, name: &str) -> anyhow::Result<outframe_document::Rect> {
    let frames = &project.document().frames;
    let found = frames.iter().find(|frame| frame.name == name);
    found.map(|frame| frame.rect).with_context(|| {
        let names: Vec<_> = frames.iter().map(|frame| format!("“{}”", frame.name)).collect();
        format!(
            "There is no frame “{name}”. The project has {}.",
            if names.is_empty() { "none".into() } else { names.join(", ") }
        )
    })
}

/// Runs a use-case that blocks; Ctrl-C cancels it cleanly.
pub(crate) fn blocking<T>(work: impl FnOnce(&CancellationToken) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let cancel = CancellationToken::new();
    runtime.block_on(heed_interrupts(&cancel));
    work(&cancel)
}

/// Closes a project that was changed, with a new small picture for file managers.
pub(crate) fn finish(mut project: Project) -> anyhow::Result<()> {
    // Only for show: a project without one is as good.
    if let Ok(Some(small)) = thumbnail(&project) {
        let _ = project.set_thumbnail(&small);
    }
    Ok(project.close()?)
}

fn step(
    file: &Path,
    json: bool,
    done: &str,
    nothing: &str,
    go: impl FnOnce(&mut Project) -> Result<Option<String>, outframe_document::Error>,
) -> anyhow::Result<()> {
    let mut project = Project::open(file)?;
    let step = go(&mut project)?;
    let moved =
        Moved { step, can_undo: project.can_undo().map(Into::into), can_redo: project.can_redo().map(Into::into) };
    finish(project)?;
    report::print(json, &moved, |moved| match &moved.step {
        Some(step) => format!("{done}: {step}"),
        None => nothing.to_owned(),
    })
}

fn styles(json: bool) -> anyhow::Result<()> {
    report::print(json, Texts::discover().styles()?.as_slice(), |styles: &[outframe_studio::Style]| {
        styles.iter().map(|style| format!("{}\n    {}\n", style.name, style.prompt)).collect()
    })
}

fn list_models(json: bool) -> anyhow::Result<()> {
    let studio = Studio::new(EngineOptions::default(), Models::discover());
    let models = on_runtime(async |_| {
        let mut models = Vec::new();
        for entry in studio.models().list() {
            let (info, problem) = match studio.engine().inspect(&entry.path).await {
                Ok(info) => (Some(info), None),
                Err(error) => (None, Some(error.to_string())),
            };
            models.push(Model { entry, info, problem, item: None });
        }
        // What needs no engine to be told: files that go with a model.
        for item in studio.models().library().into_iter().filter(|item| !item.paints()) {
            let entry = ModelEntry { name: item.name.clone(), path: item.path.clone() };
            models.push(Model { entry, info: None, problem: item.problem.clone(), item: Some(item) });
        }
        studio.engine().shutdown().await;
        Ok(models)
    })?;
    report::print(json, models.as_slice(), report::models)
}

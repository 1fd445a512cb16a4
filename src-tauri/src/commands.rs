//! The commands of the front end: each is one call of the desk.

#![allow(clippy::needless_pass_by_value, reason = "Tauri hands over what it has read from the message, by value")]

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use tauri::{AppHandle, State, WebviewWindow, ipc::InvokeBody};

use crate::{
    api::{
        AdaptersView, AppInfo, CatalogueItem, CommandError, ControlPicture, ControlPreview, CoverageView, DragOut,
        EngineView, ExportInput, ExtendInput, ExtendPlan, FilmInput, FoundModel, GenerateInput, HistoryStep,
        ImportedView, JobView, LayerChange, LibraryEntry, ModelDefaults, ModelView, MoveKindInfo, ProjectView,
        RecentProject, Rect, ReframeInput, Settings, ShotInput, ShotPreview, StyleView, UpscaleInput, VaryInput,
        ZoomOutInput,
    },
    clipboard::{self, Clip},
    desk::Desk,
    drag,
    error::Answer,
    monitor::Monitors,
    views,
};

type Hand<'a> = State<'a, Desk>;

/// Does something that may take a while on a thread that may wait.
async fn slowly<T: Send + 'static>(desk: &Hand<'_>, work: impl FnOnce(&Desk) -> T + Send + 'static) -> Answer<T> {
    let desk = desk.inner().clone();
    Ok(tokio::task::spawn_blocking(move || work(&desk)).await?)
}

#[tauri::command]
pub(crate) async fn app_info(desk: Hand<'_>) -> Answer<AppInfo> {
    slowly(&desk, Desk::app_info).await
}

#[tauri::command]
pub(crate) async fn recent_projects(desk: Hand<'_>) -> Answer<Vec<RecentProject>> {
    slowly(&desk, Desk::recent_projects).await
}

#[tauri::command(async)]
pub(crate) fn forget_recent(desk: Hand<'_>, path: String) {
    desk.forget_recent(&path);
}

#[tauri::command]
pub(crate) async fn models(desk: Hand<'_>) -> Answer<Vec<ModelView>> {
    slowly(&desk, Desk::models).await
}

#[tauri::command]
pub(crate) async fn model_defaults(desk: Hand<'_>, model: Option<String>) -> Answer<ModelDefaults> {
    desk.model_defaults(model.as_deref()).await
}

#[tauri::command]
pub(crate) async fn adapters(desk: Hand<'_>) -> Answer<AdaptersView> {
    slowly(&desk, Desk::adapters).await
}

#[tauri::command]
pub(crate) async fn library(desk: Hand<'_>) -> Answer<Vec<LibraryEntry>> {
    slowly(&desk, Desk::library).await
}

#[tauri::command]
pub(crate) async fn models_among(desk: Hand<'_>, paths: Vec<PathBuf>) -> Answer<Vec<String>> {
    slowly(&desk, move |_| Desk::models_among(paths)).await
}

#[tauri::command]
pub(crate) async fn examine_model(desk: Hand<'_>, path: PathBuf) -> Answer<FoundModel> {
    slowly(&desk, move |_| Desk::examine_model(&path)).await?
}

#[tauri::command]
pub(crate) async fn link_model(desk: Hand<'_>, path: PathBuf) -> Answer<()> {
    slowly(&desk, move |desk| desk.link_model(&path)).await?
}

#[tauri::command]
pub(crate) async fn copy_model(desk: Hand<'_>, path: PathBuf) -> Answer<u64> {
    slowly(&desk, move |desk| desk.copy_model(path)).await?
}

#[tauri::command]
pub(crate) async fn remove_model(desk: Hand<'_>, path: String) -> Answer<()> {
    slowly(&desk, move |desk| desk.remove_model(&path)).await?
}

#[tauri::command]
pub(crate) async fn catalogue(desk: Hand<'_>) -> Answer<Vec<CatalogueItem>> {
    slowly(&desk, Desk::catalogue).await?
}

#[tauri::command(async)]
pub(crate) fn download_model(desk: Hand<'_>, name: String) -> Answer<u64> {
    desk.download_model(name)
}

#[tauri::command]
pub(crate) async fn preview_control(
    desk: Hand<'_>,
    picture: ControlPicture,
    canny: Option<(u32, u32)>,
) -> Answer<ControlPreview> {
    slowly(&desk, move |desk| desk.preview_control(&picture, canny)).await?
}

#[tauri::command]
pub(crate) async fn styles(desk: Hand<'_>) -> Answer<Vec<StyleView>> {
    slowly(&desk, Desk::styles).await?
}

#[tauri::command]
pub(crate) async fn upscale(desk: Hand<'_>, input: UpscaleInput) -> Answer<u64> {
    slowly(&desk, move |desk| desk.upscale(input)).await?
}

#[tauri::command]
pub(crate) async fn engine_status(desk: Hand<'_>) -> Answer<EngineView> {
    Ok(desk.engine_status().await)
}

#[tauri::command(async)]
pub(crate) fn current_project(desk: Hand<'_>) -> Option<ProjectView> {
    desk.current_project()
}

#[tauri::command]
pub(crate) async fn new_project(desk: Hand<'_>, path: Option<PathBuf>) -> Answer<ProjectView> {
    desk.new_project(path).await
}

#[tauri::command]
pub(crate) async fn open_project(desk: Hand<'_>, path: PathBuf) -> Answer<ProjectView> {
    desk.open_project(path).await
}

#[tauri::command]
pub(crate) async fn close_project(desk: Hand<'_>) -> Answer<()> {
    desk.close_project().await
}

#[tauri::command]
pub(crate) async fn save_project_as(desk: Hand<'_>, path: PathBuf) -> Answer<ProjectView> {
    desk.save_project_as(path).await
}

#[tauri::command(async)]
pub(crate) fn rename_project(desk: Hand<'_>, title: String) -> Answer<ProjectView> {
    desk.rename_project(&title)
}

#[tauri::command(async)]
pub(crate) fn undo(desk: Hand<'_>) -> Answer<ProjectView> {
    desk.undo()
}

#[tauri::command(async)]
pub(crate) fn redo(desk: Hand<'_>) -> Answer<ProjectView> {
    desk.redo()
}

#[tauri::command(async)]
pub(crate) fn history(desk: Hand<'_>) -> Answer<Vec<HistoryStep>> {
    desk.history()
}

#[tauri::command(async)]
pub(crate) fn go_to_step(desk: Hand<'_>, step: String) -> Answer<ProjectView> {
    desk.go_to_step(&step)
}

#[tauri::command]
pub(crate) async fn generate(desk: Hand<'_>, input: GenerateInput) -> Answer<u64> {
    slowly(&desk, move |desk| desk.generate(input)).await?
}

#[tauri::command]
pub(crate) async fn extend(desk: Hand<'_>, input: ExtendInput) -> Answer<u64> {
    slowly(&desk, move |desk| desk.extend(input)).await?
}

#[tauri::command]
pub(crate) async fn zoom_out(desk: Hand<'_>, input: ZoomOutInput) -> Answer<u64> {
    slowly(&desk, move |desk| desk.zoom_out(input)).await?
}

#[tauri::command]
pub(crate) async fn reframe(desk: Hand<'_>, input: ReframeInput) -> Answer<u64> {
    slowly(&desk, move |desk| desk.reframe(input)).await?
}

#[tauri::command]
pub(crate) async fn vary(desk: Hand<'_>, input: VaryInput) -> Answer<u64> {
    slowly(&desk, move |desk| desk.vary(input)).await?
}

#[tauri::command(async)]
pub(crate) fn plan_extend(desk: Hand<'_>, input: ExtendInput) -> Answer<ExtendPlan> {
    desk.plan_extend(&input)
}

#[tauri::command(async)]
pub(crate) fn cancel_job(desk: Hand<'_>, job: u64) {
    desk.cancel_job(job);
}

#[tauri::command(async)]
pub(crate) fn clear_jobs(desk: Hand<'_>) {
    desk.clear_jobs();
}

#[tauri::command(async)]
pub(crate) fn jobs(desk: Hand<'_>) -> Vec<JobView> {
    desk.jobs()
}

#[tauri::command(async)]
pub(crate) fn choose_take(desk: Hand<'_>, generation: String, take: String) -> Answer<ProjectView> {
    desk.choose_take(&generation, &take)
}

#[tauri::command(async)]
pub(crate) fn place_take(desk: Hand<'_>, generation: String, take: String, x: f64, y: f64) -> Answer<ProjectView> {
    desk.place_take(&generation, &take, x, y)
}

#[tauri::command(async)]
pub(crate) fn set_layer(desk: Hand<'_>, layer: String, change: LayerChange) -> Answer<ProjectView> {
    desk.set_layer(&layer, change)
}

#[tauri::command(async)]
pub(crate) fn move_layer(desk: Hand<'_>, layer: String, index: usize) -> Answer<ProjectView> {
    desk.move_layer(&layer, index)
}

#[tauri::command(async)]
pub(crate) fn offset_layer(desk: Hand<'_>, layer: String, dx: f64, dy: f64) -> Answer<ProjectView> {
    desk.offset_layer(&layer, dx.round() as i64, dy.round() as i64)
}

#[tauri::command(async)]
pub(crate) fn remove_layer(desk: Hand<'_>, layer: String) -> Answer<ProjectView> {
    desk.remove_layer(&layer)
}

#[tauri::command(async)]
pub(crate) fn set_frame(desk: Hand<'_>, frame: String, rect: Rect) -> Answer<ProjectView> {
    desk.set_frame(&frame, rect.into())
}

#[tauri::command]
pub(crate) async fn import_files(
    desk: Hand<'_>,
    paths: Vec<PathBuf>,
    x: Option<f64>,
    y: Option<f64>,
) -> Answer<Vec<ImportedView>> {
    slowly(&desk, move |desk| desk.import_files(&paths, x.zip(y))).await?
}

/// A picture as bytes: the raw body, its name and place in headers.
#[tauri::command]
pub(crate) async fn import_bytes(desk: Hand<'_>, request: tauri::ipc::Request<'_>) -> Answer<Vec<ImportedView>> {
    let InvokeBody::Raw(bytes) = request.body() else {
        return Err(CommandError::invalid("The picture's bytes are missing."));
    };
    let bytes = bytes.clone();
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let name = header("x-name").unwrap_or_default();
    let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
    let number = |name: &str| header(name).and_then(|value| value.parse::<f64>().ok());
    let at = number("x-x").zip(number("x-y"));
    slowly(&desk, move |desk| desk.import_bytes(&bytes, &name, at)).await?
}

/// Imports what another program has put on the clipboard: files, or a picture.
#[tauri::command]
pub(crate) async fn paste_picture(
    desk: Hand<'_>,
    window: WebviewWindow,
    x: Option<f64>,
    y: Option<f64>,
) -> Answer<Vec<ImportedView>> {
    let at = x.zip(y);
    match clipboard::read(&window).await? {
        Clip::Files(files) => slowly(&desk, move |desk| desk.import_files(&files, at)).await?,
        Clip::Picture { bytes, name } => slowly(&desk, move |desk| desk.import_bytes(&bytes, &name, at)).await?,
        Clip::Nothing => Err(CommandError::invalid(
            "There is no picture on the clipboard. Copy one in another program, or a picture's file in the file manager.",
        )),
    }
}

#[tauri::command(async)]
pub(crate) fn export_picture(desk: Hand<'_>, input: ExportInput) -> Answer<u64> {
    desk.export_picture(&input)
}

#[tauri::command]
pub(crate) async fn drag_out(
    desk: Hand<'_>,
    dragged: State<'_, drag::Dragged>,
    window: WebviewWindow,
    what: DragOut,
) -> Answer<()> {
    let folder = dragged.folder()?;
    let file = slowly(&desk, move |desk| desk.picture_to_drag(&what, &folder)).await??;
    drag::start(&window, file).await
}

#[tauri::command]
pub(crate) fn move_kinds() -> Vec<MoveKindInfo> {
    views::move_kinds()
}

#[tauri::command(async)]
pub(crate) fn add_shot(desk: Hand<'_>) -> Answer<ProjectView> {
    desk.add_shot()
}

#[tauri::command(async)]
pub(crate) fn set_shot(desk: Hand<'_>, shot: ShotInput) -> Answer<ProjectView> {
    desk.set_shot(&shot)
}

#[tauri::command(async)]
pub(crate) fn preview_shot(desk: Hand<'_>, shot: ShotInput) -> Answer<ShotPreview> {
    desk.preview_shot(&shot)
}

#[tauri::command(async)]
pub(crate) fn remove_shot(desk: Hand<'_>, shot: String) -> Answer<ProjectView> {
    desk.remove_shot(&shot)
}

#[tauri::command]
pub(crate) async fn coverage(desk: Hand<'_>, shot: String) -> Answer<CoverageView> {
    desk.coverage(&shot).await
}

#[tauri::command(async)]
pub(crate) fn cover(desk: Hand<'_>, shot: String, settings: Settings, prompt: Option<String>) -> Answer<u64> {
    desk.cover(&shot, settings, prompt)
}

#[tauri::command(async)]
pub(crate) fn export_film(desk: Hand<'_>, input: FilmInput) -> Answer<u64> {
    desk.export_film(&input)
}

#[tauri::command(async)]
pub(crate) fn open_monitor(desk: Hand<'_>, monitors: State<'_, Monitors>, shot: String) -> Answer<()> {
    let path = desk.path().ok_or_else(CommandError::no_project)?;
    monitors.open(&path, &shot)
}

#[tauri::command(async)]
pub(crate) fn reveal(_app: AppHandle, path: PathBuf) -> Answer<()> {
    if !path.exists() {
        return Err(CommandError::not_found(format!("{} is not there any more.", path.display())));
    }
    tauri_plugin_opener::reveal_item_in_dir(&path).map_err(|error| {
        CommandError::failed(format!("{} cannot be shown in the file manager: {error}.", path.display()))
    })
}

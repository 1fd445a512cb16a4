//! Outframe's window: Tauri around the desk, which does the work.

// A graphical program has no console on Windows.
#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod api;
#[cfg(test)]
mod bindings;
mod clipboard;
mod commands;
mod desk;
mod drag;
mod error;
mod menu;
mod monitor;
mod protocol;
mod views;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context as _, bail};
use outframe_studio::{Models, Studio, engine::EngineOptions};
use tauri::{AppHandle, Emitter as _, Manager as _, RunEvent, WebviewWindowBuilder};
use tauri_plugin_window_state::StateFlags;

use crate::desk::{Desk, DeskEvent, Folders};

/// How long ending may take: the project is tidied and the engine told.
const FAREWELL: Duration = Duration::from_secs(10);

/// What is seen before the front end has drawn anything.
const BACKGROUND: tauri::utils::config::Color = tauri::utils::config::Color(0x16, 0x18, 0x1d, 0xff);

const HELP: &str = "\
Outframe: generative pictures and moving shots.

Usage: outframe-desktop [FILE]

FILE is a project (.outframe) to open, or a picture to begin with.

Environment:
  OUTFRAME_ADAPTER   the graphics adapter that draws: auto, software, or a part of its name
  OUTFRAME_ENGINE    the engine's program, if it is not beside this one
  OUTFRAME_MONITOR   the monitor's program, likewise
  OUTFRAME_MODELS    more folders with models, separated as in PATH
  WEBKIT_DISABLE_DMABUF_RENDERER=1   (Linux) draw the window without DMA buffers: smoother without a graphics card, and
                     of help where the window stays blank; set by itself where there is no graphics device";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outframe-desktop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let mut file = None;
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("-h" | "--help") => {
                println!("{HELP}");
                return Ok(());
            }
            Some("-V" | "--version") => {
                println!("outframe-desktop {}", env!("CARGO_PKG_VERSION"));
                return Ok(());
            }
            Some(option) if option.starts_with('-') && option.len() > 1 => {
                bail!("the option {option} is not known. See --help.")
            }
            _ => file = Some(std::path::absolute(PathBuf::from(argument)).context("the file's name is empty")?),
        }
    }
    #[cfg(target_os = "linux")]
    prepare_renderer()?;
    start(file)
}

/// Without a display the toolkit would panic, and without a graphics device `WebKit`'s way through DMA buffers is a slow detour
/// over software: a third of the frame rate, and half again the memory. `WebKit` reads the variable when it is loaded and it cannot be
/// set safely later, so the program starts itself anew with it, in the same process.
#[cfg(target_os = "linux")]
fn prepare_renderer() -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    const VARIABLE: &str = "WEBKIT_DISABLE_DMABUF_RENDERER";
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if !is_set("DISPLAY") && !is_set("WAYLAND_DISPLAY") {
        bail!(
            "there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set. Start it from a desktop, or use the command line \
             program `outframe`."
        );
    }
    let has_device = std::fs::read_dir("/dev/dri")
        .is_ok_and(|found| found.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("renderD")));
    if has_device || std::env::var_os(VARIABLE).is_some() {
        return Ok(());
    }
    let own = std::env::current_exe().context("this program's own file cannot be found")?;
    let error = std::process::Command::new(own).args(std::env::args_os().skip(1)).env(VARIABLE, "1").exec();
    Err(error).context("this program could not be started anew")
}

fn start(file: Option<PathBuf>) -> anyhow::Result<()> {
    let folders = Folders::of_user()?;
    let app = tauri::Builder::default()
        .plugin(tauri_plugin_single_instance::init(|app, arguments, folder| {
            if let Some(window) = app.get_webview_window("main") {
                let _ = window.unminimize();
                let _ = window.set_focus();
            }
            let file = arguments.into_iter().skip(1).find(|argument| !argument.starts_with('-'));
            if let Some(file) = file {
                open_file(app, Path::new(&folder).join(file));
            }
        }))
        .plugin(
            tauri_plugin_window_state::Builder::new()
                .with_state_flags(
                    StateFlags::SIZE | StateFlags::POSITION | StateFlags::MAXIMIZED | StateFlags::FULLSCREEN,
                )
                .build(),
        )
        .plugin(tauri_plugin_dialog::init())
        .manage(monitor::Monitors::default())
        .manage(drag::Dragged::default())
        .register_asynchronous_uri_scheme_protocol("stage", |context, request, responder| {
            let Some(desk) = context.app_handle().try_state::<Desk>() else {
                return responder.respond(protocol::missing("The program is not ready yet."));
            };
            let uri = request.uri();
            desk.picture(uri.path(), uri.query().unwrap_or_default(), move |reply| {
                responder.respond(protocol::response(reply));
            });
        })
        .invoke_handler(answer())
        .setup(move |app| Ok(set_up(app, folders, file)?))
        .build(tauri::generate_context!())
        .context("the window cannot be opened")?;
    app.run(|app, event| {
        if let RunEvent::Exit = event {
            end(app);
        }
    });
    Ok(())
}

/// Answers what the front end asks.
fn answer() -> impl Fn(tauri::ipc::Invoke<tauri::Wry>) -> bool + Send + Sync + 'static {
    tauri::generate_handler![
        commands::app_info,
        commands::recent_projects,
        commands::forget_recent,
        commands::models,
        commands::model_defaults,
        commands::adapters,
        commands::preview_control,
        commands::library,
        commands::models_among,
        commands::examine_model,
        commands::link_model,
        commands::copy_model,
        commands::remove_model,
        commands::catalogue,
        commands::download_model,
        commands::styles,
        commands::upscale,
        commands::engine_status,
        commands::current_project,
        commands::new_project,
        commands::open_project,
        commands::close_project,
        commands::save_project_as,
        commands::rename_project,
        commands::undo,
        commands::redo,
        commands::history,
        commands::go_to_step,
        commands::generate,
        commands::extend,
        commands::zoom_out,
        commands::reframe,
        commands::vary,
        commands::plan_extend,
        commands::cancel_job,
        commands::clear_jobs,
        commands::jobs,
        commands::choose_take,
        commands::place_take,
        commands::set_layer,
        commands::move_layer,
        commands::offset_layer,
        commands::remove_layer,
        commands::set_frame,
        commands::import_files,
        commands::import_bytes,
        commands::paste_picture,
        commands::export_picture,
        commands::drag_out,
        commands::move_kinds,
        commands::add_shot,
        commands::set_shot,
        commands::preview_shot,
        commands::remove_shot,
        commands::coverage,
        commands::cover,
        commands::export_film,
        commands::open_monitor,
        commands::reveal,
    ]
}

/// Makes the desk, and then the window, whose front end finds it ready.
fn set_up(app: &mut tauri::App, folders: Folders, file: Option<PathBuf>) -> anyhow::Result<()> {
    let handle = app.handle().clone();
    let studio = Studio::new(EngineOptions::default(), Models::discover());
    let adapter = std::env::var("OUTFRAME_ADAPTER").unwrap_or_default();
    let teller = Teller { app: handle.clone(), shown: Mutex::default() };
    let runtime = tauri::async_runtime::handle().inner().clone();
    let desk = Desk::new(runtime, studio, folders, adapter, move |event| teller.tell(event))?;
    let (menu, recent) = menu::build(&handle, &desk.recent_titles())?;
    desk.warm_up();
    app.manage(desk);
    app.manage(recent);
    app.set_menu(menu)?;
    app.on_menu_event(|app, event| menu::chosen(app, &event));
    for window in &app.config().app.windows.clone() {
        let window = WebviewWindowBuilder::from_config(&handle, window)?.build()?;
        // Of the web view alone: the menu keeps the colours of the desktop.
        let view: &tauri::Webview = window.as_ref();
        view.set_background_color(Some(BACKGROUND))?;
    }
    if let Some(file) = file {
        open_file(&handle, file);
    }
    Ok(())
}

/// Leaves everything tidy: the project's file, the engine, monitors, files that were put aside.
fn end(app: &AppHandle) {
    app.state::<monitor::Monitors>().close();
    app.state::<drag::Dragged>().clear();
    if let Some(desk) = app.try_state::<Desk>() {
        let desk = desk.inner().clone();
        let runtime = desk.runtime().clone();
        if runtime.block_on(async { tokio::time::timeout(FAREWELL, desk.shut_down()).await }).is_err() {
            eprintln!(
                "outframe-desktop: ending took too long; the project is safe, its file is tidied at the next opening."
            );
        }
    }
}

/// Opens a project, or begins one with a picture.
pub(crate) fn open_file(app: &AppHandle, file: PathBuf) {
    let Some(desk) = app.try_state::<Desk>() else { return };
    let desk = desk.inner().clone();
    tauri::async_runtime::spawn(async move {
        if let Err(error) = desk.open_any(file).await {
            desk.problem(error.message);
        }
    });
}

/// Tells the front end what the desk tells, and keeps title and menu up to date.
struct Teller {
    app: AppHandle,
    /// Key and title of the project that is shown.
    shown: Mutex<Option<(String, String)>>,
}

impl Teller {
    fn tell(&self, event: DeskEvent) {
        let told = match event {
            DeskEvent::Project(event) => {
                let now = event.view.as_ref().map(|view| (view.key.clone(), view.title.clone()));
                self.show(now);
                self.app.emit("project", event)
            }
            DeskEvent::Jobs(jobs) => self.app.emit("jobs", jobs),
            DeskEvent::Engine(engine) => self.app.emit("engine", engine),
            DeskEvent::Library => self.app.emit("library", ()),
            DeskEvent::Problem(problem) => {
                eprintln!("outframe-desktop: {problem}");
                self.app.emit("problem", problem)
            }
        };
        if let Err(error) = told {
            eprintln!("outframe-desktop: the window could not be told of a change: {error}");
        }
    }

    fn show(&self, now: Option<(String, String)>) {
        let mut shown = self.shown.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if *shown == now {
            return;
        }
        if let Some(window) = self.app.get_webview_window("main") {
            let title = now.as_ref().map_or_else(|| "Outframe".to_owned(), |(_, title)| format!("{title} – Outframe"));
            let _ = window.set_title(&title);
        }
        *shown = now;
        drop(shown);
        menu::refresh(&self.app);
    }
}

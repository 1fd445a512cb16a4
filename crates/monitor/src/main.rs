//! `outframe-monitor`: a shot's film pictures at full rate in a window of their own, beside the editor.
//!
//! It reads the project beside whoever writes it, renders the shot with the editor's own compositor into memory and plays
//! it against the clock: late pictures are dropped and counted, time does not drift. It follows the project's changes.

mod cache;
mod clock;
mod feed;
mod icons;
mod orders;
mod window;

use std::{path::PathBuf, process::ExitCode, sync::mpsc::channel};

use anyhow::anyhow;
use clap::Parser;
use eframe::egui;
use outframe_document::ShotId;

use crate::{feed::Feed, window::Window};

/// Plays a shot of an Outframe project.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The project's file.
    project: PathBuf,
    /// The shot's number; the project's first shot unless given.
    #[arg(long)]
    shot: Option<ShotId>,
    /// Take orders as lines of JSON from standard input, and close when it ends.
    #[arg(long)]
    parent_stdin: bool,
    /// How much memory rendered pictures may take, in megabytes.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    cache: u64,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { project, shot, parent_stdin, cache } = arguments;
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Outframe monitor")
            .with_app_id("outframe-monitor")
            .with_inner_size([1280.0, 800.0])
            .with_min_inner_size([520.0, 320.0]),
        ..eframe::NativeOptions::default()
    };
    let feed = Feed::new(shot, cache << 20);
    let start = move |ctx: &egui::Context| -> anyhow::Result<Window> {
        let threads = feed.start(project, ctx)?;
        let (sender, orders) = channel();
        if parent_stdin {
            orders::listen(sender, ctx)?;
        }
        Ok(Window::new(feed, Some(threads), orders, ctx))
    };
    let ran = eframe::run_native("outframe-monitor", options, Box::new(|cc| Ok(Box::new(start(&cc.egui_ctx)?))));
    ran.map_err(|error| {
        anyhow!("The monitor's window cannot be opened: {error}. It needs a desktop with a graphics driver (Vulkan, Metal, DirectX 12 or OpenGL).")
    })
}

//! `outframe`: generate, extend, import and export without a window.

mod arguments;
mod commands;
mod control;
mod models;
mod progress;
mod project;
mod report;
mod shot;
mod upscale;

use std::process::ExitCode;

use clap::Parser as _;
use outframe_studio::StudioError;

use arguments::Arguments;

/// Something failed; the message says what.
const FAILED: u8 = 1;
/// The person stopped it, as shells report an interrupt.
const CANCELLED: u8 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    match commands::run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let cancelled = error.downcast_ref::<StudioError>().is_some_and(StudioError::is_cancelled);
            if json {
                report::error(&error, cancelled);
            } else {
                eprintln!("outframe: {}", report::in_words(&error));
            }
            ExitCode::from(if cancelled { CANCELLED } else { FAILED })
        }
    }
}

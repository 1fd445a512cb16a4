//! Progress for people: bars on a terminal, none where standard error is no terminal. What a person should know is said in
//! either case, on standard error.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use outframe_studio::{Event, engine::JobEvent};

/// Shows the events of a use-case.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// With a bar, or for scripts and who does not want one, without.
    pub(crate) fn new(hidden: bool) -> Self {
        Self { bar: if hidden { ProgressBar::hidden() } else { ProgressBar::new_spinner() } }
    }

    pub(crate) fn show(&self, event: Event) {
        match event {
            Event::Loading { model } => {
                self.bar.set_message(format!("loading {model}"));
                self.bar.enable_steady_tick(Duration::from_millis(120));
            }
            Event::Loaded(loaded) => {
                self.bar.disable_steady_tick();
                self.bar.set_style(style());
                self.bar.set_message(format!("{} on {}", loaded.info.name, loaded.device));
            }
            Event::Place { .. } => {}
            Event::Job { index, count, event: JobEvent::Step { step, steps, .. } } => {
                let steps = u64::from(steps);
                // An upscaler is not announced as loaded.
                if self.bar.length().is_none() {
                    self.bar.disable_steady_tick();
                    self.bar.set_style(style());
                }
                self.bar.set_length(steps * count as u64);
                self.bar.set_position(steps * index as u64 + u64::from(step));
                if count > 1 {
                    self.bar.set_message(format!("{} of {count}", index + 1));
                }
            }
            Event::Job { event: JobEvent::Restarted { reason }, .. } => {
                self.say(&format!("{reason} The engine was restarted; the job begins again."));
            }
            Event::Film { done, count } => {
                if done == 0 || self.bar.length().is_none() {
                    self.bar.set_style(film_style());
                    self.bar.set_length(u64::from(count));
                }
                self.bar.set_position(u64::from(done));
            }
            Event::Export { done, count } => {
                if self.bar.length().is_none() {
                    self.bar.set_style(export_style());
                    self.bar.set_length(u64::from(count));
                }
                self.bar.set_position(u64::from(done));
            }
            Event::Tiles { done, count } => {
                self.bar.set_style(tiles_style());
                self.bar.set_length(count);
                self.bar.set_position(done);
            }
            Event::Warning(text) => self.say(&text),
        }
    }

    /// Bytes of a copy or a download.
    pub(crate) fn bytes(&self, done: u64, all: u64, what: &str) {
        if self.bar.length() != Some(all) {
            self.bar.set_style(bytes_style());
            self.bar.set_length(all);
            // What was there already is no speed.
            self.bar.reset_eta();
        }
        self.bar.set_message(what.to_owned());
        self.bar.set_position(done);
    }

    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("note: {text}"));
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn export_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} rows, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn bytes_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn tiles_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} tiles, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn film_style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} pictures, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The template is a constant; should it ever be wrong, indicatif's own bar is shown instead.
fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left  {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

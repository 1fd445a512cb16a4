//! Measures what people wait for when pictures are drawn and written: tiles, frames, films, exports, against named peers.
//!
//! `cargo run --release -p outframe-studio --example bench_export [-- PART...]`
//!
//! The parts are `drawing`, `film`, `smoothness`, `flat` and `project`; all of them when none is named. `OUTFRAME_ADAPTER`
//! chooses the adapter, in software if it is not set. Prints a table and writes `out/bench-export.json`. On a machine that others
//! use too, processor seconds say more than the clock; both are told. Peers that are not installed are left out.

mod drawing;
mod film;
mod flat;
mod project;
mod report;

use std::{error::Error, path::Path};

use outframe_compositor::{AdapterChoice, Compositor, Options};
use pollster::block_on;
use report::Report;

/// What goes wrong ends the bench.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// A part of the bench, and what measures it.
type Part = (&'static str, fn(&mut Report) -> Outcome);

const PARTS: [Part; 5] = [
    ("drawing", drawing::measure),
    ("film", film::measure),
    ("smoothness", film::smoothness),
    ("flat", flat::measure),
    ("project", project::measure),
];

fn adapter() -> AdapterChoice {
    let Ok(choice) = std::env::var("OUTFRAME_ADAPTER").unwrap_or_else(|_| "software".into()).parse();
    choice
}

fn compositor() -> Outcome<Compositor> {
    Ok(block_on(Compositor::new(Options { adapter: adapter(), ..Options::default() }))?)
}

fn main() -> Outcome {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    // The bench runs itself for what is measured as a process of its own.
    if let [child, what, paths @ ..] = asked.as_slice()
        && child == "--child"
    {
        let paths: Vec<&Path> = paths.iter().map(Path::new).collect();
        return match (what.as_str(), paths.as_slice()) {
            ("film", [project, out]) => film::write(project, out),
            ("flat", [folder, out]) => flat::compose(folder, out),
            ("export", [project, out]) => project::export_alone(project, out),
            _ => Err(format!("no such child: {asked:?}").into()),
        };
    }
    if let Some(unknown) = asked.iter().find(|name| !PARTS.iter().any(|(part, _)| part == name)) {
        return Err(format!("There is no part “{unknown}”: {:?}", PARTS.map(|(part, _)| part)).into());
    }
    let mut report = Report::default();
    report.note("adapter", compositor()?.adapter().name);
    report.note("threads", std::thread::available_parallelism()?.get());
    report.note("build", if cfg!(debug_assertions) { "with debug assertions" } else { "release" });
    for (part, measure) in PARTS {
        if asked.is_empty() || asked.iter().any(|name| name == part) {
            report.part(part);
            measure(&mut report)?;
        }
    }
    report.write(Path::new("out/bench-export.json"))
}

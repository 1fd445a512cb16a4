//! The window, driven as a person does: the real program on a virtual display, its real worker and the starter model.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "also the helpers beside the tests fail the test when they cannot go on")]

use std::{collections::BTreeMap, fs, path::Path};

use fantoccini::key::Key;
use outframe_tests::{Place, gradient, linux, window::Window};
use serde_json::{Value, json};

/// The parameters that another program leaves in its pictures.
const FOREIGN: &str = "a red barn in a field\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 64x64";

fn start(place: &Place, home: &Path, arguments: &[&str]) -> Window {
    Window::start(place, home, arguments)
}

/// What the window's program answers to a command.
fn ask(window: &Window, command: &str, arguments: Value) -> Value {
    let script = "const done = arguments[2]; window.__TAURI_INTERNALS__.invoke(arguments[0], arguments[1]) \
                  .then(value => done({ value }), error => done({ error }))";
    let answer = window.script_async(script, vec![json!(command), arguments]);
    assert!(answer["error"].is_null(), "{command}: {}", answer["error"]);
    answer["value"].clone()
}

/// The hash of every tile of the picture, as the stage gets them.
fn tiles(window: &Window) -> BTreeMap<String, String> {
    let script = r"
        const done = arguments[0];
        (async () => {
            const project = await window.__TAURI_INTERNALS__.invoke('current_project');
            const found = {};
            const { x, y, width, height } = project.bounds ?? { x: 0, y: 0, width: 0, height: 0 };
            for (let row = Math.floor(y / 512); row * 512 < y + height; row++)
                for (let column = Math.floor(x / 512); column * 512 < x + width; column++) {
                    const address = `stage://localhost/${project.key}/${project.revision}/tile/0/${column}/${row}`;
                    const bytes = await (await fetch(address)).arrayBuffer();
                    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
                    found[`${column},${row}`] = Array.from(hash, byte => byte.toString(16).padStart(2, '0')).join('');
                }
            return found;
        })().then(done, error => done({ error: String(error) }))";
    let found = window.script_async(script, vec![]);
    assert!(found["error"].is_null(), "{found}");
    found.as_object().unwrap().iter().map(|(tile, hash)| (tile.clone(), hash.as_str().unwrap().to_owned())).collect()
}

fn project(window: &Window) -> Value {
    ask(window, "current_project", json!({}))
}

/// Waits until every job is over and returns the last one.
fn jobs_done(window: &Window) -> Value {
    window.wait("the jobs end", |window| {
        let jobs = ask(window, "jobs", json!({}));
        let jobs = jobs.as_array()?;
        let over = |job: &Value| !["queued", "running"].contains(&job["state"].as_str().unwrap_or_default());
        (!jobs.is_empty() && jobs.iter().all(over)).then(|| jobs.last().cloned())?
    })
}

fn done(window: &Window) -> Value {
    let job = jobs_done(window);
    assert_eq!(job["state"], "done", "{job}");
    job
}

fn id(name: &str) -> String {
    format!("[data-testid=\"{name}\"]")
}

/// A point of the canvas in the page's pixels.
fn on_page(window: &Window, x: f64, y: f64) -> (f64, f64) {
    let outline = window.script(
        "const box = document.querySelector('[data-testid=\"frame-outline\"]').getBoundingClientRect(); \
         return [box.x, box.y, box.width, box.height]",
        vec![],
    );
    let number = |index: usize| outline[index].as_f64().unwrap();
    let frame = project(window)["frames"][0]["rect"].clone();
    let side = |name: &str| frame[name].as_f64().unwrap();
    (
        number(0) + (x - side("x")) / side("width") * number(2),
        number(1) + (y - side("y")) / side("height") * number(3),
    )
}

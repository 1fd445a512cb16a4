//! Takes the pictures of the window in `docs/screenshots`: drives the real program through a short piece of work.
//!
//! `cargo run -p outframe-tests --example screenshots -- [FOLDER [WIDTHxHEIGHT]]` (after `cargo build --workspace --bins`).

#[cfg(target_os = "linux")]
fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "docs/screenshots".into());
    let size = std::env::args().nth(2);
    let size = size.as_deref().and_then(|size| size.split_once('x'));
    let size = size.and_then(|(wide, high)| Some((wide.parse().ok()?, high.parse().ok()?)));
    scenes::take(std::path::Path::new(&folder), size.as_slice());
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("The window is driven through WebKit's driver, which is there on Linux only.");
}

#[cfg(target_os = "linux")]
mod scenes {
    #![allow(
        clippy::expect_used,
        clippy::unwrap_used,
        reason = "a tool of the developers, which stops with the reason"
    )]

    use std::{
        fs,
        path::{Path, PathBuf},
        thread::sleep,
        time::Duration,
    };

    use fantoccini::key::Key;
    use outframe_tests::{Place, control_network, window::Window};
    use serde_json::{Value, json};

    /// The size that the window begins with, and that of a large display.
    const SIZES: [(u32, u32); 2] = [(1440, 900), (1920, 1080)];
    /// Time for tiles and animations to come to rest.
    const REST: Duration = Duration::from_millis(1500);

    fn id(name: &str) -> String {
        format!("[data-testid=\"{name}\"]")
    }

    fn jobs_done(window: &Window) {
        window.wait("the jobs end", |window| {
            let jobs = window.ask("jobs", json!({}));
            let over = |job: &Value| !["queued", "running"].contains(&job["state"].as_str().unwrap_or_default());
            jobs.as_array()?.iter().all(over).then_some(())
        });
    }

    pub(super) fn take(folder: &Path, sizes: &[(u32, u32)]) {
        fs::create_dir_all(folder).expect("the folder for the pictures");
        let place = Place::new();
        let project = |name: &str, prompt: &str, seed: &str| {
            let file = format!("{name}.outframe");
            place.run(&["generate", prompt, "--seed", seed, "--project", &file]).ok();
            file
        };
        let harbour = project("Quiet harbour", "sunset over a calm sea, orange and pink sky", "4");
        let hills = project("Green hills", "green hills under a clear blue sky", "11");
        place.run(&["extend", &hills, "--right", "128", "--seed", "5"]).ok();
        let sizes = if sizes.is_empty() { &SIZES } else { sizes };
        for &size in sizes {
            let home = place.aside(&format!("home-{}", size.0));
            fs::create_dir_all(&home).expect("a home");
            control_network(&home.join("data/outframe/models/pale-edges"));
            let shown = |name: &str| folder.join(format!("{name}-{}.png", size.0));
            // A visit to each fills the list of recent projects.
            for file in [&harbour, &hills] {
                let window = Window::start_sized(&place, &home, &[file], size, &[]);
                window.wait_for(&id("stage"));
                sleep(REST);
                window.close();
            }
            let window = Window::start_sized(&place, &home, &[], size, &[]);
            window.wait_for(&id("recent"));
            window.fill_display();
            sleep(REST);
            window.screenshot(&shown("start"));

            window.click(&id("new"));
            window.wait_for(&id("stage"));
            sleep(REST);
            window.screenshot(&shown("empty"));
            window.fill(&id("prompt"), "snowy mountains behind a lake at dawn, soft light");
            window.fill(&id("takes"), "4");
            window.click(&id("settings"));
            window.fill(&id("seed"), "11");
            window.click(&id("settings"));
            // The button moves up while the settings close; a click on where it was would be lost.
            sleep(REST);
            window.click(&id("generate"));
            window.wait("the third take is being painted", |window| {
                let job = window.ask("jobs", json!({})).as_array()?.last()?.clone();
                (job["progress"].as_f64()? > 0.6).then_some(())
            });
            window.screenshot(&shown("generating"));
            jobs_done(&window);
            window.click(&id("zoom-fit"));

            window.click(&id("tool-extend"));
            sleep(REST);
            let (x, y, ..) = window.middle(&id("extend-right"));
            window.drag(&[(x, y), (x + 60.0, y), (x + 150.0, y)]);
            let (x, y, ..) = window.middle(&id("extend-right"));
            window.hover(x, y);
            sleep(REST);
            window.screenshot(&shown("extending"));
            window.click(&id("extend-paint"));
            sleep(REST);
            jobs_done(&window);
            window.click(&id("zoom-fit"));
            sleep(REST);

            window.click(&id("tool-brush"));
            let (x, y, width, height) = window.middle(&id("stage"));
            let stroke: Vec<_> = (0..7)
                .map(|step| {
                    (x + width * (0.02 * f64::from(step) - 0.1), y + height * (0.1 + 0.01 * f64::from(step % 3)))
                })
                .collect();
            window.drag(&stroke);
            window.fill(&id("region-prompt"), "a small red boat");
            sleep(REST);
            window.screenshot(&shown("region"));
            window.click(&id("region-vary"));
            sleep(REST);
            jobs_done(&window);

            let picture = place.path("pines.png");
            place.run(&["generate", "dark pine forest", "--seed", "3", "--size", "128x128", "--out", "pines.png"]).ok();
            window.drop_files(&[picture], x - width * 0.2, y + height * 0.1);
            sleep(REST);
            window.click(&id("layer"));
            sleep(REST);
            window.screenshot(&shown("layers"));
            window.click(&id("undo"));

            settings_and_dialogs(&window, &shown);
            directing(&window, &shown);
            window.close();
        }
    }

    /// What is opened beside the picture.
    fn settings_and_dialogs(window: &Window, shown: &dyn Fn(&str) -> PathBuf) {
        window.click(&id("advanced"));
        window.click(&id("control-add"));
        window.wait_for("[data-select-item][data-highlighted]");
        window.keys(&[], &char::from(Key::Enter).to_string());
        window.wait_for(&id("control-preview"));
        window.script("document.querySelector(arguments[0]).scrollIntoView()", vec![json!(id("advanced"))]);
        sleep(REST);
        window.screenshot(&shown("advanced"));
        window.click(&id("advanced"));
        sleep(REST);
        for (open, tab, name) in [
            ("models-open", Some("models-library"), "models"),
            ("models-open", Some("models-catalogue"), "catalogue"),
            ("picture-upscale", None, "upscale"),
        ] {
            window.click(&id(open));
            if let Some(tab) = tab {
                window.click(&id(tab));
            }
            sleep(REST);
            window.screenshot(&shown(name));
            window.keys(&[], &char::from(Key::Escape).to_string());
            sleep(REST);
        }
    }

    /// A shot, and the other theme.
    fn directing(window: &Window, shown: &dyn Fn(&str) -> PathBuf) {
        window.click(&id("mode-director"));
        window.click(&id("add-shot"));
        window.wait_for(&id("dial-truck"));
        for (dial, keys) in [("truck", 30), ("zoom", 20)] {
            window.script("document.querySelector(arguments[0]).focus()", vec![json!(id(&format!("dial-{dial}")))]);
            window.keys(&[], &char::from(Key::Up).to_string().repeat(keys));
            sleep(REST);
        }
        sleep(REST);
        window.screenshot(&shown("director"));
        window.click(&id("theme"));
        sleep(REST);
        window.screenshot(&shown("dark"));
        window.click(&id("models-open"));
        window.click(&id("models-catalogue"));
        sleep(REST);
        window.screenshot(&shown("dark-catalogue"));
    }
}

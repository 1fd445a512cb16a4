//! Measures what a person feels in the window, on the real program with its real worker, and film export beside ffmpeg.
//!
//! `OUTFRAME_PROGRAMS=target/release cargo run -p outframe-tests --example bench_window` (`make bench` does it). Prints a table
//! and writes `out/bench-window.json`. The figures are those of this machine at this moment; what counts is the last ratio.

#[cfg(target_os = "linux")]
fn main() {
    bench::run();
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("The window is driven through WebKit's driver, which is there on Linux only.");
}

#[cfg(target_os = "linux")]
mod bench {
    #![allow(
        clippy::expect_used,
        clippy::unwrap_used,
        clippy::panic,
        reason = "a tool of the developers, which stops with the reason"
    )]

    use std::{
        fs,
        path::Path,
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use fantoccini::key::Key;
    use outframe_tests::{Place, linux, window::Window};
    use serde_json::{Map, Value, json};

    const STARTS: usize = 5;
    const FILMS: usize = 3;
    /// The film that both sides make: a slow zoom to the right over three seconds.
    const FILM: (u32, u32, u32) = (1280, 720, 72);

    fn id(name: &str) -> String {
        format!("[data-testid=\"{name}\"]")
    }

    fn jobs_over(window: &Window) -> bool {
        let jobs = window.ask("jobs", json!({}));
        let over = |job: &Value| !["queued", "running"].contains(&job["state"].as_str().unwrap_or_default());
        jobs.as_array().is_some_and(|jobs| jobs.iter().all(over))
    }

    fn median(mut all: Vec<f64>) -> f64 {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn load() -> String {
        fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
    }

    #[derive(Default)]
    struct Table(Map<String, Value>);

    impl Table {
        fn tell(&mut self, what: &str, value: f64, unit: &str) {
            println!("{what:<64} {value:>9.2} {unit}");
            self.0.insert(what.to_owned(), json!({ "value": value, "unit": unit }));
        }
    }

    pub(super) fn run() {
        let mut table = Table::default();
        println!("load average {}", load());
        table.0.insert("load average".into(), json!(load()));
        let place = Place::new();
        let home = place.aside("home");
        fs::create_dir_all(&home).expect("a home");
        let file = "coast.outframe";
        place.run(&["generate", "sunset over a calm sea", "--seed", "4", "--size", "256x256", "--project", file]).ok();
        place.run(&["extend", file, "--right", "128", "--left", "128", "--seed", "5"]).ok();

        let starts = (0..STARTS).map(|_| cold_start(&place, &home)).collect();
        table.tell("start until a person can work, median", median(starts), "s");
        stage(&place, &home, file, &mut table);
        films(&place, file, &mut table);

        fs::create_dir_all("out").expect("the folder out");
        fs::write("out/bench-window.json", serde_json::to_string_pretty(&table.0).unwrap())
            .expect("the figures are kept");
        println!("Written: out/bench-window.json");
    }

    /// Seconds from the start of the process to the mark that the page sets when everything is there.
    fn cold_start(place: &Place, home: &Path) -> f64 {
        let window = Window::start(place, home, &[]);
        let marked = window.wait("the page says that it is ready", |window| {
            let script = "const mark = performance.getEntriesByName('interactive')[0]; \
                          return mark ? performance.timeOrigin + mark.startTime : null";
            window.script(script, vec![]).as_f64()
        });
        let began = linux::started_at(window.pid());
        window.close();
        marked / 1000.0 - began
    }

    /// Frames a second and the worst gap while the stage is panned for some seconds, by the page's own clock.
    fn pan(window: &Window) -> (f64, f64) {
        let script = r#"
            const done = arguments[0];
            const stage = document.querySelector('[data-testid="stage"]');
            const box = stage.getBoundingClientRect();
            const at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, cancelable: true };
            const gaps = [];
            let last = performance.now();
            const began = last;
            function turn(now) {
                gaps.push(now - last);
                last = now;
                const phase = (now - began) / 1000;
                stage.dispatchEvent(new WheelEvent('wheel', { ...at, deltaX: 9 * Math.cos(phase * 2), deltaY: 5 * Math.sin(phase * 3) }));
                if (now - began < 6000) requestAnimationFrame(turn);
                else done({ gaps: gaps.slice(5) });
            }
            requestAnimationFrame(turn);"#;
        let told = window.script_async(script, vec![]);
        let gaps: Vec<f64> = told["gaps"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
        let worst = gaps.iter().copied().fold(0.0, f64::max);
        (1000.0 * gaps.len() as f64 / gaps.iter().sum::<f64>(), worst)
    }

    /// Milliseconds from a click that changes the picture to other pixels on the stage.
    fn edit_to_pixels(window: &Window) -> f64 {
        let script = r#"
            const done = arguments[0];
            const canvas = document.querySelector('[data-testid="stage-canvas"]');
            const look = () => {
                const { data } = canvas.getContext('2d').getImageData(canvas.width / 2 - 2, canvas.height / 2 - 2, 4, 4);
                return data.join();
            };
            const before = look();
            const began = performance.now();
            document.querySelector('[data-testid="layer-visible"]').click();
            (function turn() {
                if (look() !== before) done(performance.now() - began);
                else if (performance.now() - began > 20000) done(null);
                else requestAnimationFrame(turn);
            })();"#;
        window.script_async(script, vec![]).as_f64().expect("the stage shows the edit")
    }

    fn stage(place: &Place, home: &Path, file: &str, table: &mut Table) {
        let window = Window::start(place, home, &[file]);
        window.wait_for(&id("stage"));
        let settled = "return document.querySelector('[data-testid=stage-canvas]').dataset.settled === 'true'";
        window.wait("the stage has its tiles", |window| (window.script(settled, vec![]) == true).then_some(()));
        std::thread::sleep(Duration::from_secs(2));

        let (rate, worst) = pan(&window);
        table.tell("panning, nothing else running: frames a second", rate, "/s");
        table.tell("panning, nothing else running: longest gap", worst, "ms");
        let edits = (0..10).map(|_| edit_to_pixels(&window)).collect();
        table.tell("a layer is hidden or shown: click to pixels, median", median(edits), "ms");

        window.click(&id("zoom-fit"));
        let long = json!({ "input": { "left": 0, "right": 64, "up": 0, "down": 0, "prompt": null, "takes": 1,
            "settings": { "model": null, "negative": "", "steps": 900, "guidance": null, "sampler": null, "seed": "3" } } });
        let job = window.ask("extend", long);
        window.wait("the job paints", |window| {
            let job = window.ask("jobs", json!({})).as_array()?.last()?.clone();
            (job["state"] == "running" && job["progress"].as_f64()? > 0.01).then_some(())
        });
        let (rate, worst) = pan(&window);
        table.tell("panning while a job computes: frames a second", rate, "/s");
        table.tell("panning while a job computes: longest gap", worst, "ms");
        let edits = (0..10).map(|_| edit_to_pixels(&window)).collect();
        assert!(!jobs_over(&window), "the job was over too soon to say anything");
        table.tell("the same edit while a job computes, median", median(edits), "ms");
        window.ask("cancel_job", json!({ "job": job }));
        window.wait("the job ends", |window| jobs_over(window).then_some(()));

        window.click(&id("mode-director"));
        window.click(&id("add-shot"));
        window.wait_for(&id("dial-truck"));
        for (dial, keys) in [("truck", 5), ("zoom", 10)] {
            window.script("document.querySelector(arguments[0]).focus()", vec![json!(id(&format!("dial-{dial}")))]);
            window.keys(&[], &char::from(Key::Up).to_string().repeat(keys));
        }
        window.wait("two moves", |window| {
            let project = window.ask("current_project", json!({}));
            (project["shots"][0]["moves"].as_array()?.len() == 2).then_some(())
        });
        std::thread::sleep(Duration::from_secs(1));
        let script = r"
            const done = arguments[0];
            (async () => {
                const project = await window.__TAURI_INTERNALS__.invoke('current_project');
                const shot = project.shots[0];
                const began = performance.now();
                let next = 0;
                const count = Math.min(48, shot.frames);
                const one = async () => {
                    while (next < count) {
                        const address = `stage://localhost/${project.key}/${project.revision}/shot/${shot.id}/${next++}?width=640`;
                        const answer = await fetch(address);
                        if (!answer.ok) throw new Error(await answer.text());
                        await createImageBitmap(await answer.blob());
                    }
                };
                await Promise.all([one(), one(), one()]);
                return count / ((performance.now() - began) / 1000);
            })().then(done, error => done({ error: String(error) }))";
        let rate = window.script_async(script, vec![]);
        table.tell(
            "preview of a shot, 640 wide: pictures a second",
            rate.as_f64().unwrap_or_else(|| panic!("{rate}")),
            "/s",
        );
        window.close();
        // The last thread of a program that was ended lets go of the project a moment later.
        std::thread::sleep(Duration::from_secs(2));
    }

    /// The same kind of film by both: a picture, a slow move, H.264 by the same encoder settings; and ours as AV1.
    fn films(place: &Place, file: &str, table: &mut Table) {
        let (width, height, frames) = FILM;
        let size = format!("{width}x{height}");
        let seconds = (f64::from(frames) / 24.0).to_string();
        let shot = [
            "shot",
            file,
            "add",
            "--name",
            "Bench",
            "--truck",
            "0.05",
            "--zoom",
            "1.25",
            "--size",
            &size,
            "--fps",
            "24",
            "--seconds",
            &seconds,
        ];
        place.run(&shot).ok();
        let still = place.aside("still.png");
        place.run(&["export", file, "--out", still.to_str().unwrap(), "--quiet"]).ok();
        // zoompan wants a large picture, as it moves in whole pixels of its input.
        let large =
            image::open(&still).expect("the still").resize_exact(width * 3, height * 3, image::imageops::CatmullRom);
        large.save(&still).expect("the still is written");
        let mut ours = Vec::new();
        let mut av1 = Vec::new();
        let mut theirs = Vec::new();
        let ffmpeg = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status().is_ok();
        for round in 0..FILMS {
            let film = place.aside(&format!("{round}.mp4"));
            let timed = |format: &str| {
                let began = Instant::now();
                place
                    .run(&["film", file, "Bench", "--out", film.to_str().unwrap(), "--format", format, "--quiet"])
                    .ok();
                f64::from(frames) / began.elapsed().as_secs_f64()
            };
            av1.push(timed("mp4-av1"));
            if !ffmpeg {
                continue;
            }
            ours.push(timed("mp4-h264"));
            let zoom = format!(
                "zoompan=z='1+0.25*on/{frames}':x='iw/2-(iw/zoom/2)+0.05*iw*on/{frames}':y='ih/2-(ih/zoom/2)':d={frames}:s={size}:fps=24"
            );
            let began = Instant::now();
            let status = Command::new("ffmpeg")
                .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-y", "-i"])
                .arg(&still)
                .args([
                    "-vf",
                    &zoom,
                    "-frames:v",
                    &frames.to_string(),
                    "-c:v",
                    "libx264",
                    "-preset",
                    "medium",
                    "-crf",
                    "18",
                ])
                .args(["-pix_fmt", "yuv420p"])
                .arg(place.aside("zoompan.mp4"))
                .status()
                .expect("ffmpeg runs");
            assert!(status.success(), "ffmpeg failed");
            theirs.push(f64::from(frames) / began.elapsed().as_secs_f64());
        }
        table.tell("film 1280x720, AV1 built in: pictures a second", median(av1), "/s");
        if ffmpeg {
            let (ours, theirs) = (median(ours), median(theirs));
            table.tell("film 1280x720, H.264: pictures a second", ours, "/s");
            table.tell("ffmpeg zoompan from a still, H.264: pictures a second", theirs, "/s");
            table.tell("ours for one of ffmpeg's", ours / theirs, "x");
        } else {
            println!("ffmpeg is not installed: nothing to compare the films with");
        }
    }
}

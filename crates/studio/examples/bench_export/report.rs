//! The table, its file, and processes that are timed.

use std::{
    ffi::OsStr,
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use serde_json::{Value, json};

use crate::Outcome;

/// What was measured so far.
#[derive(Default)]
pub(crate) struct Report {
    notes: serde_json::Map<String, Value>,
    part: String,
    rows: Vec<Value>,
}

impl Report {
    /// Something about the machine.
    pub(crate) fn note(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        println!("{name}: {value}");
        self.notes.insert(name.into(), value);
    }

    /// Begins a part.
    pub(crate) fn part(&mut self, name: &str) {
        println!("\n{name}");
        name.clone_into(&mut self.part);
    }

    /// One measurement: what, of which program, and how much.
    pub(crate) fn row(&mut self, what: impl Display, who: &str, value: f64, unit: &str) {
        let (what, digits) = (what.to_string(), if value.abs() < 1.0 { 4 } else { 2 });
        println!("  {what:<58} {who:<28} {value:>12.digits$} {unit}");
        self.rows.push(json!({"part": self.part, "what": what, "who": who, "value": value, "unit": unit}));
    }

    /// Says why something was not measured.
    pub(crate) fn left_out(&mut self, what: &str, why: &str) {
        println!("  {what}: left out, {why}");
        self.rows.push(json!({"part": self.part, "what": what, "left out": why}));
    }

    pub(crate) fn write(self, path: &Path) -> Outcome {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let all = json!({"machine": self.notes, "measurements": self.rows});
        fs::write(path, serde_json::to_string_pretty(&all)?)?;
        println!("\nWritten: {}", path.display());
        Ok(())
    }
}

/// What a process cost: seconds by the clock and of the processor, its children's included.
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
    pub(crate) said: String,
}

/// Runs a program to its end. Its processor time is read from the shell that runs it.
pub(crate) fn run<S: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = S>) -> Outcome<Cost> {
    let script = "TIMEFORMAT='%R %U %S'; time \"$@\"";
    let output = Command::new("bash").args(["-c", script, "bench"]).arg(program).args(arguments).output()?;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() {
        return Err(format!("{} failed: {errors}", program.display()).into());
    }
    let times: Vec<f64> =
        errors.lines().last().unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [wall, user, system] = times[..] else { return Err(format!("no times in {errors:?}").into()) };
    Ok(Cost { wall, cpu: user + system, said: String::from_utf8_lossy(&output.stdout).into_owned() })
}

/// Runs a part of this bench as a process of its own.
pub(crate) fn child(what: &str, paths: [&Path; 2]) -> Outcome<Cost> {
    let own = std::env::current_exe()?;
    let [first, second] = paths.map(Path::as_os_str);
    run(&own, [OsStr::new("--child"), OsStr::new(what), first, second])
}

/// A program in the `PATH`.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Seconds by the clock and of all of this process's threads that `work` takes.
pub(crate) fn timed<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<(f64, f64, T)> {
    let (clock, before) = (Instant::now(), processor_seconds());
    let done = work()?;
    Ok((clock.elapsed().as_secs_f64(), processor_seconds() - before, done))
}

/// Of this process, where the system tells it (Linux, in steps of 10 ms); 0 elsewhere.
fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The median of some times.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

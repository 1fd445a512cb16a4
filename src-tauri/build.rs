//! Builds the front end, which is embedded in the program, and then what Tauri needs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// What the front end is made from, relative to its folder.
const SOURCES: [&str; 6] = ["src", "public", "index.html", "package.json", "package-lock.json", "vite.config.ts"];
const MORE: [&str; 2] = ["svelte.config.js", "tsconfig.json"];

fn main() -> ExitCode {
    println!("cargo:rerun-if-env-changed=OUTFRAME_SKIP_UI");
    if let Err(problem) = front_end() {
        eprintln!("outframe-desktop: {problem}");
        return ExitCode::FAILURE;
    }
    tauri_build::build();
    ExitCode::SUCCESS
}

fn front_end() -> Result<(), String> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").ok_or("cargo does not say where the sources are")?;
    let ui = Path::new(&manifest).parent().map(|root| root.join("ui")).ok_or("the checkout has no root")?;
    for source in SOURCES.iter().chain(&MORE) {
        let path = ui.join(source);
        // Cargo would build anew each time for a path that is not there.
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    let built = ui.join("dist/index.html");
    if !built.is_file() {
        println!("cargo:rerun-if-changed={}", built.display());
    }
    if env::var_os("OUTFRAME_SKIP_UI").is_some() {
        return if built.is_file() {
            Ok(())
        } else {
            Err(format!(
                "OUTFRAME_SKIP_UI is set, but the front end has never been built: {} is missing. Unset it, or run \
                 `npm ci && npm run build` in {}.",
                built.display(),
                ui.display()
            ))
        };
    }
    if !ui.join("package.json").is_file() {
        return Err(format!("{} is missing: the checkout is incomplete.", ui.join("package.json").display()));
    }
    install(&ui)?;
    npm(&ui, &["run", "build"])
}

/// Installs the front end's packages when that has not been done for this lock file.
fn install(ui: &Path) -> Result<(), String> {
    let lock = ui.join("package-lock.json");
    let wanted = fs::read(&lock).map_err(|error| format!("{} cannot be read: {error}", lock.display()))?;
    let stamp: PathBuf = ui.join("node_modules/.outframe-lock");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    npm(ui, &["ci", "--no-audit", "--no-fund"])?;
    fs::write(&stamp, wanted).map_err(|error| format!("{} cannot be written: {error}", stamp.display()))
}

fn npm(ui: &Path, arguments: &[&str]) -> Result<(), String> {
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let output = Command::new(program).args(arguments).current_dir(ui).output().map_err(|error| {
        format!(
            "the front end cannot be built, because `npm` does not run ({error}). Install Node.js 20.19 or newer, or run \
             `make setup`."
        )
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "`npm {}` failed in {}:\n{}{}",
        arguments.join(" "),
        ui.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

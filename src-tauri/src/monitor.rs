//! The program monitor, a window of its own in a process of its own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use crate::{api::CommandError, error::Answer};

/// The monitors that this program has started. They end with it: their standard input closes.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    running: Mutex<Vec<Child>>,
}

impl Monitors {
    /// Shows a shot of a project in a monitor.
    pub(crate) fn open(&self, project: &Path, shot: &str) -> Answer<()> {
        let program = program().ok_or_else(|| {
            CommandError::not_found(
                "The monitor, outframe-monitor, is not beside this program. Build it with `make build`, or say where it is \
                 by OUTFRAME_MONITOR.",
            )
        })?;
        let child = Command::new(&program)
            .arg(project)
            .args(["--shot", shot, "--parent-stdin"])
            // Held open as long as this program lives.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| CommandError::failed(format!("{} does not start: {error}.", program.display())))?;
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that were closed meanwhile are forgotten.
        running.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        running.push(child);
        Ok(())
    }

    /// Ends them all.
    pub(crate) fn close(&self) {
        for mut child in self.running.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Given by `OUTFRAME_MONITOR`, or beside this program.
fn program() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("OUTFRAME_MONITOR") {
        return Some(given.into());
    }
    let name = format!("outframe-monitor{}", std::env::consts::EXE_SUFFIX);
    let own = std::env::current_exe().ok()?;
    own.parent().map(|folder| folder.join(name)).filter(|path| path.is_file())
}

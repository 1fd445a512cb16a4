//! Where the program keeps what is its own.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::error::Answer;

/// The folders of the program.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    /// Settings: the list of recent projects.
    pub(crate) config: PathBuf,
    /// Projects that the user has not named yet.
    pub(crate) unnamed: PathBuf,
}

impl Folders {
    /// The usual ones of this user.
    pub(crate) fn of_user() -> anyhow::Result<Self> {
        let folders = directories::ProjectDirs::from("", "", "outframe")
            .context("your home folder cannot be found; set HOME and start Outframe again")?;
        Ok(Self { config: folders.config_dir().into(), unnamed: folders.data_dir().join("projects") })
    }

    /// Whether a project is one that the user has not named yet.
    pub(crate) fn is_unnamed(&self, path: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
        path.parent().is_some_and(|folder| real(folder) == real(&self.unnamed))
    }

    /// A path for a new project without a name: "Untitled", "Untitled 2" and so on.
    pub(crate) fn next_unnamed(&self) -> Answer<PathBuf> {
        std::fs::create_dir_all(&self.unnamed).map_err(|error| {
            crate::api::CommandError::failed(format!(
                "{} cannot be made ({error}). Free some space or check its permissions, or save the project elsewhere.",
                self.unnamed.display()
            ))
        })?;
        let taken = |path: &Path| {
            let log = PathBuf::from(format!("{}-wal", path.display()));
            path.symlink_metadata().is_ok() || log.symlink_metadata().is_ok()
        };
        let name = |number: u32| if number == 1 { "Untitled".to_owned() } else { format!("Untitled {number}") };
        let path = (1..=u32::MAX).map(|number| self.unnamed.join(name(number) + ".outframe")).find(|path| !taken(path));
        path.ok_or_else(|| crate::api::CommandError::failed("There are too many unnamed projects; remove some."))
    }
}

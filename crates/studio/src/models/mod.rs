//! The model library: which models are there, and what they are.

mod hashes;
mod header;
mod kind;
mod library;

pub use hashes::{HashCache, Hashes};
#[cfg(test)]
pub(crate) use header::tests::file as header_of;
pub use kind::{Family, Kind};
pub use library::LibraryItem;

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::StudioError;

/// The file that makes a folder a model in diffusers layout.
const INDEX: &str = "model_index.json";
/// The model that ships inside.
const STARTER: &str = "starter";

/// An installed model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ModelEntry {
    /// The folder's name, by which the model is asked for.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
}

/// The folders in which models are looked for.
#[derive(Debug, Clone)]
pub struct Models {
    roots: Vec<PathBuf>,
}

impl Models {
    /// The usual folders: those of `OUTFRAME_MODELS` (separated as in `PATH`), the user's own, the installed one and,
    /// when run from a checkout, its `models` folder.
    pub fn discover() -> Self {
        let mut roots: Vec<PathBuf> = env::var_os("OUTFRAME_MODELS").iter().flat_map(env::split_paths).collect();
        if let Some(folders) = directories::ProjectDirs::from("", "", "outframe") {
            roots.push(folders.data_dir().join("models"));
        }
        if let Ok(own) = env::current_exe() {
            roots.extend(own.ancestors().skip(2).take(1).map(|prefix| prefix.join("share/outframe/models")));
            roots.extend(
                own.ancestors().map(|folder| folder.join("models")).find(|folder| is_model(&folder.join(STARTER))),
            );
        }
        // `cargo run` and tests may keep their programs elsewhere.
        roots.extend(env::var_os("CARGO_MANIFEST_DIR").iter().filter_map(|folder| {
            Path::new(folder)
                .ancestors()
                .map(|folder| folder.join("models"))
                .find(|folder| is_model(&folder.join(STARTER)))
        }));
        roots.extend(env::current_dir().ok().map(|folder| folder.join("models")));
        Self { roots }
    }

    /// Only these folders.
    pub fn at(roots: Vec<PathBuf>) -> Self {
        Self { roots }
    }

    /// The folders that were found.
    pub(crate) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// All models, the starter first, then by name; of two with one name, the first found counts.
    pub fn list(&self) -> Vec<ModelEntry> {
        let mut found: Vec<ModelEntry> = Vec::new();
        for root in &self.roots {
            let folders = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
            for path in folders.filter(|path| is_model(path)) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if !found.iter().any(|entry| entry.name == name) {
                    found.push(ModelEntry { name, path });
                }
            }
        }
        found.sort_by(|a, b| (a.name != STARTER, &a.name).cmp(&(b.name != STARTER, &b.name)));
        found
    }

    /// The model of this name or at this path; the starter model when none is asked for.
    pub fn resolve(&self, asked: Option<&str>) -> Result<ModelEntry, StudioError> {
        let name = asked.unwrap_or(STARTER);
        let installed = self.list();
        if let Some(entry) = installed.iter().find(|entry| entry.name == name) {
            return Ok(entry.clone());
        }
        let path = Path::new(name);
        if path.is_dir() {
            let path = path.canonicalize().map_err(StudioError::io("open", path))?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(ModelEntry { name, path });
        }
        let installed = installed.into_iter().map(|entry| entry.name).collect();
        Err(StudioError::UnknownModel { name: name.into(), installed })
    }
}

fn is_model(folder: &Path) -> bool {
    folder.join(INDEX).is_file()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_found_by_name_and_by_path() {
        let root = tempfile::tempdir().unwrap();
        for name in ["zebra", "starter", "alpha"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
            std::fs::write(root.path().join(name).join(INDEX), "{}").unwrap();
        }
        std::fs::create_dir(root.path().join("no-model")).unwrap();
        let models = Models::at(vec![root.path().into(), root.path().join("absent")]);
        let names: Vec<_> = models.list().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["starter", "alpha", "zebra"]);
        assert_eq!(models.resolve(None).unwrap().name, "starter");
        assert_eq!(models.resolve(root.path().join("zebra").to_str()).unwrap().name, "zebra");
        let error = models.resolve(Some("unicorn")).unwrap_err().to_string();
        assert!(error.contains("unicorn") && error.contains("alpha"), "{error}");
    }
}

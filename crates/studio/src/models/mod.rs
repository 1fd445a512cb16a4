//! The model library: which models are there, and what they are.

mod catalog;
mod download;
mod hashes;
mod header;
mod hub;
mod install;
mod kind;
mod library;
mod watch;

pub use catalog::{CatalogEntry, CatalogFile, CatalogSettings, catalog};
pub use download::{DownloadProgress, Order};
pub use hashes::{HashCache, Hashes};
#[cfg(test)]
pub(crate) use header::tests::file as header_of;
pub use hub::Hub;
pub use install::{Removed, Way};
pub use kind::{Family, Kind};
pub use library::LibraryItem;
pub use watch::{Changes, Watch};

use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::StudioError;

/// The file that makes a folder a model in diffusers layout.
const INDEX: &str = "model_index.json";
/// The model that ships inside.
const STARTER: &str = "starter";

/// An installed model.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ModelEntry {
    /// The name of the folder, or of the file without its ending, by which the model is asked for.
    pub name: String,
    /// The folder in diffusers layout, or the checkpoint in one file.
    pub path: PathBuf,
}

/// The folders in which models are looked for.
#[derive(Debug, Clone)]
pub struct Models {
    roots: Vec<PathBuf>,
    /// The one that belongs to the user.
    own: Option<PathBuf>,
    /// What the headers of the files said, kept over all clones.
    known: Arc<library::Known>,
}

impl Models {
    /// The usual folders: those of `OUTFRAME_MODELS` (separated as in `PATH`), the user's own, the installed one and,
    /// when run from a checkout, its `models` folder.
    pub fn discover() -> Self {
        let mut roots: Vec<PathBuf> = env::var_os("OUTFRAME_MODELS").iter().flat_map(env::split_paths).collect();
        let own = directories::ProjectDirs::from("", "", "outframe").map(|folders| folders.data_dir().join("models"));
        roots.extend(own.clone());
        if let Ok(program) = env::current_exe() {
            roots.extend(program.ancestors().skip(2).take(1).map(|prefix| prefix.join("share/outframe/models")));
            roots.extend(
                program.ancestors().map(|folder| folder.join("models")).find(|folder| is_model(&folder.join(STARTER))),
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
        Self { own, ..Self::at(roots) }
    }

    /// Only these folders.
    pub fn at(roots: Vec<PathBuf>) -> Self {
        Self { roots, own: None, known: Arc::default() }
    }

    /// With this folder as the user's own: models are added to and removed from there.
    #[must_use]
    pub fn owning(self, folder: PathBuf) -> Self {
        Self { own: Some(folder), ..self }
    }

    /// The folders in which is looked, the one that counts first before the others; some may be absent.
    pub(crate) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// All models that can paint: folders, and checkpoints in one file. The starter first, then by name; of two with one
    /// name, the first found counts, and the other can be asked for by its path.
    pub fn list(&self) -> Vec<ModelEntry> {
        let mut found: Vec<ModelEntry> = Vec::new();
        for LibraryItem { name, path, .. } in self.scan().into_iter().filter(LibraryItem::paints) {
            if !found.iter().any(|entry| entry.name == name) {
                found.push(ModelEntry { name, path });
            }
        }
        found.sort_by(|a, b| (a.name != STARTER, &a.name).cmp(&(b.name != STARTER, &b.name)));
        found
    }

    /// The model of this name (that of a file with or without its ending) or at this path; the starter model when none is
    /// asked for. What cannot paint, a `LoRA` for instance, is refused with what it is.
    pub fn resolve(&self, asked: Option<&str>) -> Result<ModelEntry, StudioError> {
        let name = asked.unwrap_or(STARTER);
        let installed = self.list();
        if let Some(entry) = installed.iter().find(|entry| entry.name == name || is_file_name(&entry.path, name)) {
            return Ok(entry.clone());
        }
        let path = Path::new(name);
        if path.exists() {
            let path = path.canonicalize().map_err(StudioError::io("open", path))?;
            if path.is_dir() {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Ok(ModelEntry { name, path });
            }
            let item = LibraryItem::at(&path)?;
            return item.paints_or_says_why().map(|()| ModelEntry { name: item.name, path });
        }
        // What is there under this name, but is something else.
        if let Some(item) = self.scan().into_iter().find(|item| item.name == name || is_file_name(&item.path, name)) {
            item.paints_or_says_why()?;
        }
        let installed = installed.into_iter().map(|entry| entry.name).collect();
        Err(StudioError::UnknownModel { name: name.into(), installed })
    }
}

/// Whether a file is called so, its ending included.
fn is_file_name(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|file| file == name)
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

    #[test]
    fn checkpoints_in_one_file_are_models_and_other_files_are_not() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir(at("checkpoints")).unwrap();
        std::fs::write(at("checkpoints/my.safetensors"), header::tests::checkpoint(768, 4)).unwrap();
        std::fs::write(at("refiner.safetensors"), header::tests::checkpoint(1280, 4)).unwrap();
        let lora = header::tests::file(&[("lora_unet_x_attn2_to_k.lora_down.weight", &[4, 2048])], &[]);
        std::fs::write(at("ink.safetensors"), lora).unwrap();
        std::fs::write(at("old.ckpt"), "pickle").unwrap();
        std::fs::write(at("broken.safetensors"), "no header").unwrap();
        let models = Models::at(vec![root.path().into()]);
        let names: Vec<_> = models.list().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["my"]);
        for asked in ["my", "my.safetensors", at("checkpoints/my.safetensors").to_str().unwrap()] {
            let entry = models.resolve(Some(asked)).unwrap();
            assert_eq!((entry.name.as_str(), entry.path.is_file()), ("my", true), "{asked}");
        }
        for (asked, word) in
            [("ink", "LoRA"), ("old", "pickle"), ("broken.safetensors", "header"), ("refiner", "refiner")]
        {
            let by_name = models.resolve(Some(asked)).unwrap_err().to_string();
            assert!(by_name.contains(word), "{asked}: {by_name}");
            let file = models.library().into_iter().find(|item| item.path.ends_with(asked) || item.name == asked);
            let by_path = models.resolve(file.unwrap().path.to_str()).unwrap_err().to_string();
            assert!(by_path.contains(word), "{asked}: {by_path}");
        }
    }
}

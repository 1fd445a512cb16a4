//! Which upscalers are there: `SafeTensors` files in the folder `upscale` beside the models.

use std::path::{Path, PathBuf};

use crate::{Models, StudioError};

/// The folder beside the models.
const FOLDER: &str = "upscale";
/// The upscaler that is taken when none is asked for.
const USUAL: &str = "realesr-animevideov3";

/// An installed upscaler.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct UpscalerEntry {
    /// The file's name without its ending, by which it is asked for.
    pub name: String,
    /// The file.
    pub path: PathBuf,
}

impl Models {
    /// All upscalers, the usual one first, then by name; of two with one name, the first found counts.
    pub fn upscalers(&self) -> Vec<UpscalerEntry> {
        let mut found: Vec<UpscalerEntry> = Vec::new();
        for root in self.roots() {
            let files = std::fs::read_dir(root.join(FOLDER)).into_iter().flatten().flatten().map(|entry| entry.path());
            for entry in files.filter_map(entry) {
                if !found.iter().any(|other| other.name == entry.name) {
                    found.push(entry);
                }
            }
        }
        found.sort_by(|a, b| (a.name != USUAL, &a.name).cmp(&(b.name != USUAL, &b.name)));
        found
    }

    /// The upscaler of this name or at this path; the usual one when none is asked for.
    pub fn upscaler(&self, asked: Option<&str>) -> Result<UpscalerEntry, StudioError> {
        let name = asked.unwrap_or(USUAL);
        let installed = self.upscalers();
        if let Some(entry) = installed.iter().find(|entry| entry.name == name) {
            return Ok(entry.clone());
        }
        let path = Path::new(name);
        if path.is_file() {
            let path = path.canonicalize().map_err(StudioError::io("open", path))?;
            if let Some(entry) = entry(path) {
                return Ok(entry);
            }
            return Err(StudioError::InvalidRequest(format!(
                "{name} is no SafeTensors file. Upscalers in other formats must be converted first."
            )));
        }
        let installed = installed.into_iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
        Err(StudioError::InvalidRequest(format!(
            "There is no upscaler “{name}”. Installed: {}. Give one of these names or the path of a .safetensors file.",
            if installed.is_empty() { "none" } else { &installed }
        )))
    }
}

fn entry(path: PathBuf) -> Option<UpscalerEntry> {
    let fits = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors")) && path.is_file();
    let name = path.file_stem()?.to_string_lossy().into_owned();
    fits.then_some(UpscalerEntry { name, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upscalers_are_found_by_name_and_by_path() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join(FOLDER)).unwrap();
        for name in ["b.safetensors", "realesr-animevideov3.safetensors", "a.safetensors", "a.json", "README.md"] {
            std::fs::write(root.path().join(FOLDER).join(name), "x").unwrap();
        }
        let models = Models::at(vec![root.path().join("absent"), root.path().into()]);
        let names: Vec<_> = models.upscalers().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["realesr-animevideov3", "a", "b"]);
        assert_eq!(models.upscaler(None).unwrap().name, "realesr-animevideov3");
        let path = root.path().join(FOLDER).join("b.safetensors");
        assert_eq!(models.upscaler(path.to_str()).unwrap().name, "b");
        let error = models.upscaler(Some("unicorn")).unwrap_err().to_string();
        assert!(error.contains("unicorn") && error.contains("a, b"), "{error}");
        let error = models.upscaler(root.path().join(FOLDER).join("README.md").to_str()).unwrap_err().to_string();
        assert!(error.contains("SafeTensors"), "{error}");
    }
}

//! The catalogue of well-known open models, `models/catalog.toml`, which is part of the program.

use serde::{Deserialize, Serialize};

use super::kind::{Family, Kind};
use crate::StudioError;

const TEXT: &str = include_str!("../../../../models/catalog.toml");

/// A model that can be downloaded by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogEntry {
    /// By which it is asked for.
    pub name: String,
    /// What it is, in words.
    pub title: String,
    /// What it is.
    pub kind: Kind,
    /// To which models it belongs.
    pub family: Family,
    /// Whether it was made for filling.
    #[serde(default)]
    pub inpainting: bool,
    /// Where it comes from: `owner/name` on the hub.
    pub repository: String,
    /// Its files; none for a folder, whose files are those of the repository that are needed.
    #[serde(default)]
    pub files: Vec<CatalogFile>,
    /// Its licence.
    pub licence: String,
    /// What the licence asks for, in words. Not legal advice.
    pub obligations: String,
    /// What its makers recommend.
    pub settings: Option<CatalogSettings>,
}

/// A file of a catalogue entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogFile {
    /// Its place in the repository.
    pub path: String,
    /// Its size, where it is known for sure.
    pub bytes: Option<u64>,
    /// Its SHA-256 in small hexadecimal letters, where it is known for sure.
    pub sha256: Option<String>,
}

/// Recommended settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogSettings {
    /// Denoising steps.
    pub steps: u32,
    /// Guidance scale; 1 is off.
    pub guidance: f64,
    /// Sampler name.
    pub sampler: String,
    /// The side for which it was trained, in pixels.
    pub size: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalog {
    model: Vec<CatalogEntry>,
}

/// All entries, in the order of the file.
pub fn catalog() -> Result<Vec<CatalogEntry>, StudioError> {
    let read: Result<Catalog, _> = toml::from_str(TEXT);
    read.map(|catalog| catalog.model).map_err(|error| StudioError::Internal(format!("the catalogue: {error}")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_catalogue_is_sound() {
        let entries = catalog().unwrap();
        assert!(entries.len() >= 15);
        let mut names = HashSet::new();
        for entry in &entries {
            let name = &entry.name;
            assert!(names.insert(name), "{name} twice");
            assert!(name.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.".contains(letter)), "{name}");
            let parts: Vec<_> = entry.repository.split('/').collect();
            assert!(parts.len() == 2 && parts.iter().all(|part| !part.is_empty()), "{name}");
            assert!(entry.licence.len() >= 3 && entry.obligations.len() > 20 && entry.title.len() > 5, "{name}");
            assert_eq!(entry.files.is_empty(), entry.kind == Kind::Folder, "{name}");
            for file in &entry.files {
                assert!(file.path.ends_with(".safetensors") && !file.path.starts_with('/'), "{name}");
                let hexadecimal = |text: &str| text.chars().all(|digit| matches!(digit, '0'..='9' | 'a'..='f'));
                assert!(file.sha256.as_deref().is_none_or(|hash| hash.len() == 64 && hexadecimal(hash)), "{name}");
                assert_eq!(file.bytes.is_some(), file.sha256.is_some(), "{name}");
            }
            let paints = matches!(entry.kind, Kind::Folder | Kind::Checkpoint);
            assert!(!paints || entry.settings.is_some(), "{name}");
            if let Some(settings) = &entry.settings {
                assert!((1..=100).contains(&settings.steps) && (1.0..=20.0).contains(&settings.guidance), "{name}");
                assert!([512, 768, 1024].contains(&settings.size), "{name}");
                let samplers = include_str!("../../../diffusion/src/scheduler/mod.rs");
                assert!(samplers.contains(&format!("    \"{}\",\n", settings.sampler)), "{name}: {}", settings.sampler);
            }
        }
    }
}

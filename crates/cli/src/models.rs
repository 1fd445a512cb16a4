//! `outframe models`: what is known about one model, and whether its weights are what they were.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use outframe_studio::{HashCache, Hashes, LibraryItem, Models};
use serde::Serialize;

use crate::{commands::on_runtime, progress::Progress, report};

#[derive(Debug, Serialize)]
struct Verified {
    file: PathBuf,
    #[serde(flatten)]
    hashes: Hashes,
    /// Whether there was a hash to compare with.
    compared: bool,
}

/// The item of this name, or at this path.
pub(crate) fn find(asked: &str) -> anyhow::Result<LibraryItem> {
    let library = Models::discover().library();
    let path = Path::new(asked).canonicalize().ok();
    let names: Vec<_> = library.iter().map(|item| item.name.clone()).collect();
    let same_place = |item: &LibraryItem| path.is_some() && item.path.canonicalize().ok() == path;
    library
        .into_iter()
        .find(|item| item.name == asked || same_place(item))
        .with_context(|| format!("There is no model “{asked}” in the library. It holds: {}.", names.join(", ")))
}

pub(crate) fn describe(item: &LibraryItem) -> String {
    let mut text = format!("{}: {}, {} MB\n", item.name, item.description(), item.bytes / 1_000_000);
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text += &format!("  {name}: {value}\n");
        }
    };
    line("path", Some(&item.path.display().to_string()));
    line("title", item.title.as_deref());
    line("licence", item.licence.as_deref());
    line("trigger words", Some(&item.trigger_words.join(", ")));
    line("cannot be used", item.problem.as_deref());
    text
}

/// Reads the weights of a model and compares them with the hash that was given, or the one that is recorded.
pub(crate) fn verify(asked: &str, sha256: Option<&str>, json: bool, show: &Progress) -> anyhow::Result<()> {
    let item = find(asked)?;
    let files = item.weights();
    if sha256.is_some() && files.len() != 1 {
        bail!("“{asked}” is a folder of {} weight files; one SHA-256 cannot stand for them.", files.len());
    }
    let verified = on_runtime(async |cancel| {
        let mut cache = HashCache::open();
        let mut verified = Vec::new();
        for file in files {
            let recorded = cache.recorded(&file);
            let expected = sha256.map(str::to_lowercase).or(recorded.map(|hashes| hashes.sha256));
            let hashes = cache.hashes(&file, true, cancel, |_, _| ())?;
            if let Some(expected) = expected.as_deref().filter(|expected| *expected != hashes.sha256) {
                bail!(
                    "{} is not what it should be: its SHA-256 is {}, expected was {expected}. It is damaged or another \
                     version; get it again.",
                    file.display(),
                    hashes.sha256
                );
            }
            verified.push(Verified { file, hashes, compared: expected.is_some() });
        }
        Ok(verified)
    });
    show.finish();
    report::print(json, verified?.as_slice(), |files| {
        let line = |one: &Verified| {
            let word = if one.compared { "as it should be" } else { "recorded; there was no hash to compare with" };
            format!("{}  {word}\n  sha256 {}\n  blake3 {}\n", one.file.display(), one.hashes.sha256, one.hashes.blake3)
        };
        files.iter().map(line).collect()
    })
}

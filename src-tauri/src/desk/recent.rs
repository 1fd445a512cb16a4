//! The projects that were open lately.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::Engine as _;
use outframe_document::Project;
use outframe_studio::write_whole;
use serde::{Deserialize, Serialize};

use crate::api::RecentProject;

/// How many are remembered.
const MOST: usize = 24;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    path: PathBuf,
    title: String,
    /// Milliseconds since 1970.
    opened_at: u64,
}

/// The list, the newest first. It is a convenience: that it cannot be read or written keeps nobody from working.
#[derive(Debug)]
pub(crate) struct Recent {
    file: PathBuf,
    entries: Mutex<Vec<Entry>>,
}

impl Recent {
    pub(crate) fn read(file: PathBuf) -> Self {
        let read = || serde_json::from_slice(&fs::read(&file).ok()?).ok();
        let entries = Mutex::new(read().unwrap_or_default());
        Self { file, entries }
    }

    /// Puts a project to the front of the list.
    pub(crate) fn touch(&self, path: &Path, title: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        self.change(|entries| {
            entries.retain(|entry| entry.path != path);
            entries.insert(0, Entry { path: path.into(), title: title.into(), opened_at: now });
            entries.truncate(MOST);
        });
    }

    pub(crate) fn forget(&self, path: &Path) {
        self.change(|entries| entries.retain(|entry| entry.path != path));
    }

    fn change(&self, work: impl FnOnce(&mut Vec<Entry>)) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        work(&mut entries);
        if let (Some(folder), Ok(bytes)) = (self.file.parent(), serde_json::to_vec_pretty(&*entries)) {
            let _ = fs::create_dir_all(folder);
            let _ = write_whole(&self.file, &bytes);
        }
    }

    /// Paths and titles of those that are still there, the newest first.
    pub(crate) fn titles(&self) -> Vec<(PathBuf, String)> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        entries.into_iter().filter(|entry| entry.path.is_file()).map(|entry| (entry.path, entry.title)).collect()
    }

    /// The list with thumbnails, which are read from the project files.
    pub(crate) fn list(&self) -> Vec<RecentProject> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let view = |entry: Entry| {
            let exists = entry.path.is_file();
            let png = if exists { Project::thumbnail_of(&entry.path).ok().flatten() } else { None };
            let thumbnail = png
                .map(|png| format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png)));
            let path = entry.path.to_string_lossy().into_owned();
            RecentProject { path, title: entry.title, opened_at: entry.opened_at, thumbnail, exists }
        };
        entries.into_iter().map(view).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_comes_first_and_the_list_survives() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config/recent.json");
        let recent = Recent::read(file.clone());
        let (a, b) = (folder.path().join("a.outframe"), folder.path().join("b.outframe"));
        let mut project = Project::create(&a, "A").unwrap();
        project.set_thumbnail(b"\x89PNG\r\n\x1a\nsmall").unwrap();
        project.close().unwrap();
        recent.touch(&a, "A");
        recent.touch(&b, "B");
        recent.touch(&a, "A again");
        let list = Recent::read(file.clone()).list();
        assert_eq!(list.iter().map(|entry| entry.title.as_str()).collect::<Vec<_>>(), ["A again", "B"]);
        assert!(list[0].exists && list[0].thumbnail.as_ref().unwrap().starts_with("data:image/png;base64,iVBORw0KG"));
        assert!(!list[1].exists && list[1].thumbnail.is_none());
        recent.forget(&a);
        assert_eq!(Recent::read(file.clone()).list().len(), 1);
        fs::write(&file, "damaged").unwrap();
        assert!(Recent::read(file).list().is_empty(), "a damaged list is a lost list, nothing more");
    }
}

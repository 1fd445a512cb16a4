//! A project file of any content opens, is repaired, or is refused; it never brings the program down.
//!
//! Good beginnings for the corpus are the files in `../tests/fixtures`.
#![no_main]

#[path = "../../tests/common/open_any.rs"]
mod open_any;

use std::path::Path;

libfuzzer_sys::fuzz_target!(|content: &[u8]| {
    // In memory where that is possible: thousands of files are written.
    let folder = tempfile::tempdir_in(Path::new("/dev/shm")).or_else(|_| tempfile::tempdir());
    let folder = folder.expect("a temporary folder");
    open_any::open_any(folder.path(), content);
});

//! The front end's types, generated from ours: `ui/src/lib/bindings/index.ts`.

use std::path::{Path, PathBuf};

use ts_rs::{Config, TS};

use crate::api;

/// Set to write the file instead of comparing it.
const BLESS: &str = "OUTFRAME_BLESS";

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/src/lib/bindings/index.ts")
}

fn declarations() -> String {
    let config = Config::new().with_large_int("number");
    let mut text = String::from(
        "// Generated from src-tauri/src/api.rs; do not edit. `OUTFRAME_BLESS=1 cargo test -p outframe-desktop bindings` writes it.\n",
    );
    macro_rules! declare {
        ($($name:ident)*) => {$(
            if let Some(docs) = api::$name::docs() {
                text += &format!("\n{}", docs.trim_end());
            }
            text += &format!("\nexport {}\n", api::$name::decl(&config));
        )*};
    }
    declare!(
        Rect Point AppInfo AdapterKind Os RecentProject ModelView EngineState EngineView ProjectView FrameView LayerView
        GenerationKind GenerationView TakeView MoveKind Easing MoveView ShotView ShotGeometry MoveKindInfo CoverageView JobState
        JobKind JobView JobPreview Settings ControlChoice ControlPicture ControlPreview Tuning LoraChoice EmbeddingChoice AdaptersView AdapterItem LibraryEntry FoundModel CatalogueItem StyleView UpscaleInput ModelDefaults GenerateInput ExtendInput ZoomOutInput ReframeInput VaryInput Region
        RegionShape LayerChange ShotInput FilmFormat FilmInput ExportInput ImportedView ErrorKind CommandError HistoryStep
        ExtendPlan ShotPreview DragOut ProjectEvent
    );
    text
}

#[test]
fn bindings_are_fresh() {
    let (file, now) = (file(), declarations());
    if std::env::var_os(BLESS).is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, now).unwrap();
        return;
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(there == now, "{} is stale: run this test with {BLESS}=1 and commit the file", file.display());
}

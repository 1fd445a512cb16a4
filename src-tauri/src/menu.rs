//! The native menu. Most items are told to the front end, which knows what is selected and asks what must be asked.

use std::path::PathBuf;

use tauri::{
    AppHandle, Emitter as _, Manager as _, Wry,
    menu::{Menu, MenuBuilder, MenuEvent, MenuItemBuilder, Submenu, SubmenuBuilder},
};

use crate::desk::Desk;

/// The event that tells the front end which item was chosen.
const EVENT: &str = "menu";
/// What the ids of recent projects begin with.
const RECENT: &str = "recent:";
/// How many recent projects the menu shows.
const SHOWN: usize = 12;
const FULL_SCREEN: &str = "full-screen";
const QUIT: &str = "quit";
/// The items that act on the focused text, with `WebKit`'s names for them.
#[cfg(target_os = "linux")]
const EDITING: [(&str, &str, &str); 3] = [("cut", "Cut", "Cut"), ("copy", "Copy", "Copy"), ("paste", "Paste", "Paste")];

/// The part of the menu that shows recent projects.
pub(crate) struct RecentMenu(Submenu<Wry>);

/// The menu with these recent projects.
pub(crate) fn build(app: &AppHandle, recent: &[(PathBuf, String)]) -> tauri::Result<(Menu<Wry>, RecentMenu)> {
    let opened = SubmenuBuilder::new(app, "Open recent").build()?;
    let menu = MenuBuilder::new(app).items(&[&file(app, &opened)?, &edit(app)?, &view(app)?, &help(app)?]).build()?;
    let opened = RecentMenu(opened);
    opened.show(app, recent)?;
    Ok((menu, opened))
}

impl RecentMenu {
    fn show(&self, app: &AppHandle, recent: &[(PathBuf, String)]) -> tauri::Result<()> {
        while self.0.remove_at(0)?.is_some() {}
        for (path, title) in recent.iter().take(SHOWN) {
            let folder = path.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
            // An ampersand would underline the next letter.
            let text = format!("{title} — {folder}").replace('&', "&&");
            self.0.append(&told(app, &format!("{RECENT}{}", path.display()), &text, "")?)?;
        }
        self.0.set_enabled(!recent.is_empty())
    }
}

/// An item that the front end is told of. Undo and redo have no accelerator, so that text fields keep theirs.
fn told(app: &AppHandle, id: &str, text: &str, accelerator: &str) -> tauri::Result<tauri::menu::MenuItem<Wry>> {
    let item = MenuItemBuilder::with_id(id, text);
    if accelerator.is_empty() { item.build(app) } else { item.accelerator(accelerator).build(app) }
}

fn file(app: &AppHandle, opened: &Submenu<Wry>) -> tauri::Result<Submenu<Wry>> {
    SubmenuBuilder::new(app, "File")
        .item(&told(app, "new", "New", "CmdOrCtrl+N")?)
        .item(&told(app, "open", "Open…", "CmdOrCtrl+O")?)
        .item(opened)
        .separator()
        .item(&told(app, "save-as", "Save As…", "CmdOrCtrl+S")?)
        .item(&told(app, "export", "Export picture…", "CmdOrCtrl+E")?)
        .item(&told(app, "film", "Film…", "CmdOrCtrl+Shift+E")?)
        .separator()
        .item(&told(app, "close", "Close", "CmdOrCtrl+W")?)
        .item(&told(app, QUIT, "Quit", "CmdOrCtrl+Q")?)
        .build()
}

fn edit(app: &AppHandle) -> tauri::Result<Submenu<Wry>> {
    let menu = SubmenuBuilder::new(app, "Edit")
        .item(&told(app, "undo", "Undo", "")?)
        .item(&told(app, "redo", "Redo", "")?)
        .separator();
    // GTK's own items would need a library that sends keys; the web view does the same when told.
    #[cfg(target_os = "linux")]
    let menu = {
        let mut menu = menu;
        for (id, text, _) in EDITING {
            menu = menu.item(&told(app, id, text, "")?);
        }
        menu
    };
    #[cfg(not(target_os = "linux"))]
    let menu = menu.cut().copy().paste();
    menu.item(&told(app, "select-all", "Select all", "")?).item(&told(app, "deselect", "Deselect", "")?).build()
}

fn view(app: &AppHandle) -> tauri::Result<Submenu<Wry>> {
    SubmenuBuilder::new(app, "View")
        .item(&told(app, "zoom-in", "Zoom in", "")?)
        .item(&told(app, "zoom-out", "Zoom out", "")?)
        .item(&told(app, "zoom-fit", "Fit", "")?)
        .item(&told(app, "zoom-100", "100 %", "")?)
        .separator()
        .item(&told(app, "picture", "Picture", "")?)
        .item(&told(app, "director", "Director", "")?)
        .separator()
        .item(&told(app, "models", "Models…", "")?)
        .separator()
        .item(&told(app, "theme", "Dark or light", "")?)
        .item(&told(app, FULL_SCREEN, "Full screen", "F11")?)
        .build()
}

fn help(app: &AppHandle) -> tauri::Result<Submenu<Wry>> {
    SubmenuBuilder::new(app, "Help")
        .item(&told(app, "shortcuts", "Keyboard shortcuts", "")?)
        .item(&told(app, "about", "About Outframe", "")?)
        .build()
}

/// Does what an item says.
pub(crate) fn chosen(app: &AppHandle, event: &MenuEvent) {
    let id = event.id().as_ref();
    if let Some(path) = id.strip_prefix(RECENT) {
        crate::open_file(app, path.into());
        return;
    }
    let window = app.get_webview_window("main");
    match id {
        QUIT => app.exit(0),
        FULL_SCREEN => {
            if let Some(window) = window {
                let full = window.is_fullscreen().unwrap_or(false);
                let _ = window.set_fullscreen(!full);
            }
        }
        _ => {
            #[cfg(target_os = "linux")]
            if let (Some((_, _, command)), Some(window)) = (EDITING.iter().find(|(known, _, _)| *known == id), window) {
                use webkit2gtk::WebViewExt as _;
                let _ = window.with_webview(|view| view.inner().execute_editing_command(command));
                // A picture is pasted by the front end, with our help.
                if id != "paste" {
                    return;
                }
            }
            if let Err(error) = app.emit(EVENT, id) {
                eprintln!("outframe-desktop: the menu item “{id}” was not told to the window: {error}");
            }
        }
    }
}

/// Shows the recent projects of now.
pub(crate) fn refresh(app: &AppHandle) {
    let Some(desk) = app.try_state::<Desk>() else { return };
    let recent = desk.recent_titles();
    let handle = app.clone();
    let _ = app.run_on_main_thread(move || {
        let shown = handle.try_state::<RecentMenu>().map(|menu| menu.show(&handle, &recent));
        if let Some(Err(error)) = shown {
            eprintln!("outframe-desktop: recent projects cannot be shown in the menu: {error}");
        }
    });
}

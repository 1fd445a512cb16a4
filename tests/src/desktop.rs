//! The desktop around the window, as a person's hand and the other programs on it: keys and mouse of the X server, other windows,
//! and a window that dragged files can be dropped on.

use std::{
    error::Error,
    sync::mpsc,
    thread::sleep,
    time::{Duration, Instant},
};

use x11rb::{
    COPY_DEPTH_FROM_PARENT, COPY_FROM_PARENT, CURRENT_TIME, NONE,
    connection::Connection as _,
    protocol::{
        Event,
        xproto::{
            AtomEnum, BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ClientMessageEvent, ConnectionExt as _,
            CreateWindowAux, EventMask, GetKeyboardMappingReply, InputFocus, KEY_PRESS_EVENT, KEY_RELEASE_EVENT,
            MOTION_NOTIFY_EVENT, MapState, PropMode, SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, Window, WindowClass,
        },
        xtest::ConnectionExt as _,
    },
    rust_connection::RustConnection,
    wrapper::ConnectionExt as _,
};

x11rb::atom_manager! {
    Atoms: AtomsCookie {
        CLIPBOARD, TARGETS,
        PNG: b"image/png",
        XdndAware, XdndSelection, XdndEnter, XdndPosition, XdndStatus, XdndDrop, XdndFinished, XdndActionCopy,
        URI_LIST: b"text/uri-list",
        OUTFRAME_TAKEN,
    }
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(30);
const SHIFT: u32 = 0xffe1;
const CONTROL: u32 = 0xffe3;
/// The key that ends a line.
pub const RETURN: u32 = 0xff0d;

/// A hand on keyboard and mouse.
#[derive(Debug)]
pub struct Desktop {
    server: RustConnection,
    root: Window,
    keys: GetKeyboardMappingReply,
    first_key: u8,
}

/// A window that is seen on the display.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub id: Window,
    /// Its width in pixels.
    pub width: u16,
    /// Its height in pixels.
    pub height: u16,
}

impl Desktop {
    /// Takes hold of a display.
    pub fn of(display: &str) -> Self {
        let (server, screen) = RustConnection::connect(Some(display)).expect("the display answers");
        let setup = server.setup();
        let (root, first_key) = (setup.roots[screen].root, setup.min_keycode);
        let count = setup.max_keycode - first_key + 1;
        let keys = server.get_keyboard_mapping(first_key, count).expect("asked").reply().expect("the keyboard's map");
        Self { server, root, keys, first_key }
    }

    /// The windows that stand on the display by themselves and are large enough to be looked at.
    pub fn windows(&self) -> Vec<Seen> {
        let seen = |id: Window| {
            let attributes = self.server.get_window_attributes(id).ok()?.reply().ok()?;
            let place = self.server.get_geometry(id).ok()?.reply().ok()?;
            let shown = attributes.map_state == MapState::VIEWABLE && place.width > 100 && place.height > 100;
            shown.then_some(Seen { id, width: place.width, height: place.height })
        };
        let all = self.server.query_tree(self.root).expect("asked").reply().expect("the windows").children;
        all.into_iter().filter_map(seen).collect()
    }

    /// Waits for a window that was not there before.
    pub fn new_window(&self, what: &str, before: &[Seen]) -> Seen {
        crate::wait_for(what, || self.windows().into_iter().find(|window| before.iter().all(|old| old.id != window.id)))
    }

    /// Waits until a window is gone.
    pub fn gone(&self, what: &str, window: Seen) {
        crate::wait_for(what, || self.windows().iter().all(|other| other.id != window.id).then_some(()));
    }

    /// Gives a window the keyboard.
    pub fn focus(&self, window: Seen) {
        self.server.set_input_focus(InputFocus::PARENT, window.id, CURRENT_TIME).expect("asked");
        self.settle();
    }

    fn settle(&self) {
        self.server.sync().expect("the display answers");
        sleep(Duration::from_millis(30));
    }

    /// The key for a symbol, and whether it needs the shift key.
    fn key(&self, symbol: u32) -> (u8, bool) {
        let wide = usize::from(self.keys.keysyms_per_keycode);
        let rows = self.keys.keysyms.chunks(wide).enumerate();
        let found = rows.filter_map(|(row, symbols)| {
            symbols.iter().take(2).position(|&one| one == symbol).map(|level| (row, level))
        });
        let (row, level) = found.min_by_key(|&(_, level)| level).unwrap_or_else(|| panic!("no key gives {symbol:#x}"));
        (self.first_key + u8::try_from(row).unwrap(), level == 1)
    }

    fn input(&self, kind: u8, detail: u8, at: (i16, i16)) {
        self.server.xtest_fake_input(kind, detail, CURRENT_TIME, self.root, at.0, at.1, 0).expect("asked");
        self.server.flush().expect("the display answers");
    }

    /// Presses a key, with others held.
    pub fn press(&self, symbol: u32, held: &[u32]) {
        let (key, shifted) = self.key(symbol);
        let mut held: Vec<u8> = held.iter().map(|&symbol| self.key(symbol).0).collect();
        if shifted {
            held.push(self.key(SHIFT).0);
        }
        for &key in &held {
            self.input(KEY_PRESS_EVENT, key, (0, 0));
        }
        self.input(KEY_PRESS_EVENT, key, (0, 0));
        self.input(KEY_RELEASE_EVENT, key, (0, 0));
        for &key in &held {
            self.input(KEY_RELEASE_EVENT, key, (0, 0));
        }
        self.settle();
    }

    /// Presses Ctrl and a letter.
    pub fn control(&self, letter: char) {
        self.press(u32::from(letter), &[CONTROL]);
    }

    /// Types a text of Latin letters, digits and signs.
    pub fn write(&self, text: &str) {
        for letter in text.chars() {
            self.press(u32::from(letter), &[]);
        }
    }

    /// Moves the mouse there, in small steps as a hand does.
    pub fn walk(&self, from: (i16, i16), to: (i16, i16)) {
        const STEPS: i16 = 24;
        let part =
            |from: i16, to: i16, step: i16| from + (i32::from(to - from) * i32::from(step) / i32::from(STEPS)) as i16;
        for step in 0..=STEPS {
            self.input(MOTION_NOTIFY_EVENT, 0, (part(from.0, to.0, step), part(from.1, to.1, step)));
            sleep(Duration::from_millis(15));
        }
    }

    /// Presses or lets go of the mouse's first button.
    pub fn button(&self, down: bool) {
        self.input(if down { BUTTON_PRESS_EVENT } else { BUTTON_RELEASE_EVENT }, 1, (0, 0));
        self.settle();
    }
}

fn window_of(server: &RustConnection, screen: usize, place: (i16, i16, u16, u16), on_top: bool) -> Result<Window> {
    let id = server.generate_id()?;
    let look = CreateWindowAux::new()
        .event_mask(EventMask::PROPERTY_CHANGE)
        .override_redirect(u32::from(on_top))
        .background_pixel(0x0033_6699);
    let (x, y, width, height) = place;
    let (depth, class) = (COPY_DEPTH_FROM_PARENT, WindowClass::INPUT_OUTPUT);
    server.create_window(
        depth,
        id,
        server.setup().roots[screen].root,
        x,
        y,
        width,
        height,
        0,
        class,
        COPY_FROM_PARENT,
        &look,
    )?;
    Ok(id)
}

/// A window of another program in the upper left corner, on which files can be dropped.
#[derive(Debug)]
pub struct DropTarget {
    taken: mpsc::Receiver<Vec<String>>,
    ready: mpsc::Receiver<()>,
}

impl DropTarget {
    /// The middle of the window.
    pub const MIDDLE: (i16, i16) = (60, 60);

    /// Puts it on the display.
    pub fn on(display: &str) -> Self {
        let (give, taken) = mpsc::channel();
        let (shown, ready) = mpsc::channel();
        let display = display.to_owned();
        std::thread::spawn(move || {
            if let Ok(files) = take(&display, &shown) {
                let _ = give.send(files);
            }
        });
        let target = Self { taken, ready };
        target.ready.recv_timeout(PATIENCE).expect("the target is shown");
        target
    }

    /// The addresses of the files that were dropped.
    pub fn files(self) -> Vec<String> {
        self.taken.recv_timeout(PATIENCE).expect("files are dropped")
    }
}

/// The target's side of drag and drop.
fn take(display: &str, shown: &mpsc::Sender<()>) -> Result<Vec<String>> {
    let (server, screen) = RustConnection::connect(Some(display))?;
    let atoms = Atoms::new(&server)?.reply()?;
    let window = window_of(&server, screen, (0, 0, 120, 120), true)?;
    server.change_property32(PropMode::REPLACE, window, atoms.XdndAware, AtomEnum::ATOM, &[5])?;
    server.map_window(window)?;
    server.sync()?;
    shown.send(())?;
    let tell = |to: Window, message: u32, data: [u32; 5]| -> Result<()> {
        server.send_event(false, to, EventMask::NO_EVENT, ClientMessageEvent::new(32, to, message, data))?;
        server.flush()?;
        Ok(())
    };
    let (started, mut source) = (Instant::now(), NONE);
    while started.elapsed() < PATIENCE {
        match server.poll_for_event()? {
            Some(Event::ClientMessage(event)) => {
                let data = event.data.as_data32();
                if event.type_ == atoms.XdndEnter {
                    source = data[0];
                } else if event.type_ == atoms.XdndPosition {
                    tell(data[0], atoms.XdndStatus, [window, 1, 0, 0, atoms.XdndActionCopy])?;
                } else if event.type_ == atoms.XdndDrop {
                    let (selection, target) = (atoms.XdndSelection, atoms.URI_LIST);
                    server.convert_selection(window, selection, target, atoms.OUTFRAME_TAKEN, data[2])?;
                    server.flush()?;
                }
            }
            Some(Event::SelectionNotify(event)) if event.property != NONE => {
                let answer = server.get_property(true, window, event.property, AtomEnum::ANY, 0, 1 << 16)?.reply()?;
                tell(source, atoms.XdndFinished, [window, 1, atoms.XdndActionCopy, 0, 0])?;
                let text = String::from_utf8(answer.value)?;
                return Ok(text.lines().map(str::to_owned).collect());
            }
            Some(_) => {}
            None => sleep(Duration::from_millis(5)),
        }
    }
    Err("nothing was dropped".into())
}

/// Puts a PNG file on the clipboard, as a program does in which somebody copies a picture. It answers as long as the test runs.
pub fn copy_picture(display: &str, png: Vec<u8>) {
    let (give, taken) = mpsc::channel();
    let display = display.to_owned();
    std::thread::spawn(move || {
        let _ = offer(&display, &png, &give);
    });
    taken.recv_timeout(PATIENCE).expect("the clipboard is ours");
}

/// The owner's side of the clipboard (Inter-Client Communication Conventions Manual, section 2).
fn offer(display: &str, png: &[u8], owned: &mpsc::Sender<()>) -> Result<()> {
    let (server, screen) = RustConnection::connect(Some(display))?;
    let atoms = Atoms::new(&server)?.reply()?;
    let window = window_of(&server, screen, (0, 0, 1, 1), true)?;
    server.set_selection_owner(window, atoms.CLIPBOARD, CURRENT_TIME)?;
    server.sync()?;
    owned.send(())?;
    loop {
        let Event::SelectionRequest(asked) = server.wait_for_event()? else { continue };
        let property = if asked.target == atoms.TARGETS {
            let offered = [atoms.TARGETS, atoms.PNG];
            server.change_property32(PropMode::REPLACE, asked.requestor, asked.property, AtomEnum::ATOM, &offered)?;
            asked.property
        } else if asked.target == atoms.PNG {
            server.change_property8(PropMode::REPLACE, asked.requestor, asked.property, atoms.PNG, png)?;
            asked.property
        } else {
            NONE
        };
        let answer = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: asked.time,
            requestor: asked.requestor,
            selection: asked.selection,
            target: asked.target,
            property,
        };
        server.send_event(false, asked.requestor, EventMask::NO_EVENT, answer)?;
        server.flush()?;
    }
}

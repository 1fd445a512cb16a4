//! The source's side of drag and drop on X11, as a file manager does it: <https://freedesktop.org/wiki/Specifications/XDND/>.

use std::{
    error::Error,
    path::PathBuf,
    time::{Duration, Instant},
};

use x11rb::{
    COPY_DEPTH_FROM_PARENT, COPY_FROM_PARENT, CURRENT_TIME, NONE,
    connection::Connection as _,
    protocol::{
        Event,
        xproto::{
            AtomEnum, ClientMessageEvent, ConnectionExt as _, CreateWindowAux, EventMask, PropMode,
            SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Window, WindowClass,
        },
    },
    rust_connection::RustConnection,
    wrapper::ConnectionExt as _,
};

x11rb::atom_manager! {
    Atoms: AtomsCookie {
        XdndAware, XdndSelection, XdndEnter, XdndPosition, XdndStatus, XdndDrop, XdndFinished, XdndActionCopy,
        URI_LIST: b"text/uri-list",
        TARGETS,
    }
}

const VERSION: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(30);

struct Drag<'a> {
    server: &'a RustConnection,
    atoms: Atoms,
    source: Window,
    target: Window,
    uris: String,
}

/// Drags files onto a point of the display and lets go.
pub(crate) fn drop(display: &str, files: &[PathBuf], at: (i16, i16)) -> Result<(), Box<dyn Error>> {
    let (server, screen) = RustConnection::connect(Some(display))?;
    let root = server.setup().roots[screen].root;
    let atoms = Atoms::new(&server)?.reply()?;
    let source = server.generate_id()?;
    let events = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
    let (depth, class) = (COPY_DEPTH_FROM_PARENT, WindowClass::INPUT_OUTPUT);
    server.create_window(depth, source, root, 0, 0, 1, 1, 0, class, COPY_FROM_PARENT, &events)?;
    let target = aware(&server, &atoms, root, at)?.ok_or("no window below the pointer takes drops")?;
    let uris = files.iter().map(|file| format!("file://{}\r\n", file.display())).collect();
    server.set_selection_owner(source, atoms.XdndSelection, CURRENT_TIME)?;
    let drag = Drag { server: &server, atoms, source, target, uris };
    drag.run(at)
}

impl Drag<'_> {
    fn run(&self, at: (i16, i16)) -> Result<(), Box<dyn Error>> {
        let Atoms { XdndEnter, XdndPosition, XdndDrop, XdndActionCopy, URI_LIST, .. } = self.atoms;
        self.tell(XdndEnter, [self.source, VERSION << 24, URI_LIST, NONE, NONE])?;
        let place = (u32::from(at.0.cast_unsigned()) << 16) | u32::from(at.1.cast_unsigned());
        // A hand moves: several positions, each answered, until the target takes the drop.
        let started = Instant::now();
        let mut taken = 0;
        while taken < 3 {
            self.tell(XdndPosition, [self.source, 0, place, CURRENT_TIME, XdndActionCopy])?;
            taken += u32::from(self.wait(self.atoms.XdndStatus)?.is_some_and(|answer| answer[1] & 1 == 1));
            if started.elapsed() > PATIENCE {
                return Err("the window does not take the drop".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.tell(XdndDrop, [self.source, 0, CURRENT_TIME, 0, 0])?;
        self.wait(self.atoms.XdndFinished)?.ok_or("the window did not finish the drop")?;
        Ok(())
    }

    fn tell(&self, message: u32, data: [u32; 5]) -> Result<(), Box<dyn Error>> {
        let event = ClientMessageEvent::new(32, self.target, message, data);
        self.server.send_event(false, self.target, EventMask::NO_EVENT, event)?;
        self.server.flush()?;
        Ok(())
    }

    /// Serves the target until it sends that message; nothing when it does not for a while.
    fn wait(&self, message: u32) -> Result<Option<[u32; 5]>, Box<dyn Error>> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(5) {
            match self.server.poll_for_event()? {
                Some(Event::ClientMessage(event)) if event.type_ == message => {
                    return Ok(Some(event.data.as_data32()));
                }
                Some(Event::SelectionRequest(request)) => self.hand_over(&request)?,
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        Ok(None)
    }

    fn hand_over(&self, request: &SelectionRequestEvent) -> Result<(), Box<dyn Error>> {
        let Atoms { URI_LIST, TARGETS, .. } = self.atoms;
        let (window, property) = (request.requestor, request.property);
        let given = if request.target == URI_LIST {
            self.server.change_property8(PropMode::REPLACE, window, property, URI_LIST, self.uris.as_bytes())?;
            property
        } else if request.target == TARGETS {
            self.server.change_property32(PropMode::REPLACE, window, property, AtomEnum::ATOM, &[TARGETS, URI_LIST])?;
            property
        } else {
            NONE
        };
        let answer = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: window,
            selection: request.selection,
            target: request.target,
            property: given,
        };
        self.server.send_event(false, window, EventMask::NO_EVENT, answer)?;
        self.server.flush()?;
        Ok(())
    }
}

/// The top window at that point that takes drops; without a window manager they are children of the root.
fn aware(
    server: &RustConnection,
    atoms: &Atoms,
    root: Window,
    at: (i16, i16),
) -> Result<Option<Window>, Box<dyn Error>> {
    for window in server.query_tree(root)?.reply()?.children.into_iter().rev() {
        let takes = server.get_property(false, window, atoms.XdndAware, AtomEnum::ATOM, 0, 1)?.reply()?;
        let place = server.get_geometry(window)?.reply()?;
        let beside = |from: i16, size: u16, at: i16| at < from || i32::from(at) >= i32::from(from) + i32::from(size);
        if takes.value_len > 0 && !beside(place.x, place.width, at.0) && !beside(place.y, place.height, at.1) {
            return Ok(Some(window));
        }
    }
    Ok(None)
}

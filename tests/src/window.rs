//! Drives the real window: a virtual display, the web view's driver, and the program as a person starts it.

use std::{
    io::Read as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    actions::{Actions, InputSource as _, KeyAction, KeyActions, MouseActions, PointerAction},
    elements::Element,
    key::Key,
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use x11rb::{
    connection::Connection as _,
    protocol::xproto::{ConnectionExt as _, ImageFormat},
};

use crate::{Place, models, program, wait_for, xdnd};

/// The virtual display's size, which the window fills.
pub const DISPLAY: (u32, u32) = (1440, 900);
/// How long the window may take for what a person waits for; the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_mins(3);

/// Ends with its owner, whatever happens in the test.
#[derive(Debug)]
struct Tool(Child);

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A virtual display of its own.
#[derive(Debug)]
pub struct Display {
    name: String,
    _server: Tool,
}

impl Display {
    /// Starts one; the server chooses a number that is free.
    pub fn start(width: u32, height: u32) -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0", &format!("{width}x{height}x24")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb runs (make setup installs it)");
        let mut told = server.stdout.take().expect("its output is piped");
        let server = Tool(server);
        let mut number = Vec::new();
        let mut byte = [0];
        while told.read(&mut byte).expect("Xvfb tells its display") == 1 && byte[0] != b'\n' {
            number.push(byte[0]);
        }
        Self { name: format!(":{}", String::from_utf8(number).expect("a number")), _server: server }
    }

    /// What `DISPLAY` is to be.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The running window and what drives it. Field order is drop order: the session ends before its driver and its display.
#[derive(Debug)]
pub struct Window {
    client: Client,
    runtime: Runtime,
    pid: u32,
    _driver: Tool,
    display: Display,
}

impl Window {
    /// Starts the program with these arguments in the place's folder. Everything that it keeps of itself (recent projects, the
    /// window's size) stays in `home`, so that a second start finds it.
    pub fn start(place: &Place, home: &Path, arguments: &[&str]) -> Self {
        Self::start_sized(place, home, arguments, DISPLAY, &[])
    }

    /// The same on a display of that size and with these variables.
    pub fn start_sized(
        place: &Place,
        home: &Path,
        arguments: &[&str],
        size: (u32, u32),
        variables: &[(&str, &str)],
    ) -> Self {
        let display = Display::start(size.0, size.1);
        let port = free_port();
        let driver = Command::new("WebKitWebDriver")
            .args([format!("--port={port}"), "--host=127.0.0.1".into()])
            .current_dir(place.path(""))
            .env("DISPLAY", display.name())
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("OUTFRAME_MODELS", models())
            .env("TAURI_WEBVIEW_AUTOMATION", "true")
            // Without a graphics card the web view is faster and smaller so.
            .env("WEBKIT_DISABLE_DMABUF_RENDERER", "1")
            .env("OUTFRAME_ADAPTER", "software")
            .env("NO_AT_BRIDGE", "1")
            .env_remove("WAYLAND_DISPLAY")
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("WebKitWebDriver runs (make setup installs it)");
        let driver = Tool(driver);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let options = json!({ "binary": program("outframe-desktop"), "args": arguments });
        let capabilities = json!({ "webkitgtk:browserOptions": options });
        let Value::Object(capabilities) = capabilities else { unreachable!("an object") };
        let address = format!("http://127.0.0.1:{port}");
        let started = Instant::now();
        let client = loop {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities.clone());
            match runtime.block_on(builder.connect(&address)) {
                Ok(client) => break client,
                Err(error) => assert!(started.elapsed() < PATIENCE, "the window did not start: {error}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        };
        let pid = wait_for("the program runs", || child_named(driver.0.id(), "outframe-deskto"));
        let window = Self { client, runtime, pid, _driver: driver, display };
        window.wait_for("[data-testid]");
        window
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The display that it is on.
    pub fn display(&self) -> &str {
        self.display.name()
    }

    /// Runs JavaScript in the page; its arguments are `arguments[0]` and on.
    pub fn script(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.runtime.block_on(self.client.execute(script, arguments)).expect("the script runs")
    }

    /// The same for a script that calls its last argument with its result.
    pub fn script_async(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.runtime.block_on(self.client.execute_async(script, arguments)).expect("the script runs")
    }

    /// What the window's program answers to a command.
    pub fn ask(&self, command: &str, arguments: Value) -> Value {
        let script = "const done = arguments[2]; window.__TAURI_INTERNALS__.invoke(arguments[0], arguments[1]) \
                      .then(value => done({ value }), error => done({ error }))";
        let answer = self.script_async(script, vec![json!(command), arguments]);
        assert!(answer["error"].is_null(), "{command}: {}", answer["error"]);
        answer["value"].clone()
    }

    /// What `probe` gives, once it gives something; on failure the test's message holds what the page shows.
    pub fn wait<T>(&self, what: &str, mut probe: impl FnMut(&Self) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(found) = probe(self) {
                return found;
            }
            if started.elapsed() > PATIENCE {
                let shown = self.script("return document.body.innerText", vec![]);
                let kept = std::env::temp_dir().join("outframe-window-failure.png");
                self.screenshot(&kept);
                panic!("waited in vain: {what}. The page says: {shown}\n(picture: {})", kept.display());
            }
            std::thread::sleep(Duration::from_millis(40));
        }
    }

    fn element(&self, css: &str) -> Option<Element> {
        self.runtime.block_on(self.client.find(Locator::Css(css))).ok()
    }

    /// Whether the page holds such an element.
    pub fn has(&self, css: &str) -> bool {
        self.element(css).is_some()
    }

    /// How many of them the page holds.
    pub fn count(&self, css: &str) -> usize {
        self.runtime.block_on(self.client.find_all(Locator::Css(css))).map_or(0, |all| all.len())
    }

    /// Waits for an element.
    pub fn wait_for(&self, css: &str) -> Element {
        self.wait(css, |window| window.element(css))
    }

    /// Waits until no such element is left.
    pub fn wait_gone(&self, css: &str) {
        self.wait(&format!("{css} goes"), |window| (!window.has(css)).then_some(()));
    }

    /// An element's text, once it is there.
    pub fn text(&self, css: &str) -> String {
        let element = self.wait_for(css);
        self.runtime.block_on(element.text()).unwrap_or_default()
    }

    /// Waits until the page says that somewhere.
    pub fn wait_text(&self, words: &str) {
        self.wait(&format!("“{words}” is on the page"), |window| {
            let page = window.script("return document.body.innerText", vec![]);
            page.as_str().unwrap_or_default().contains(words).then_some(())
        });
    }

    /// Clicks on an element as soon as it takes clicks.
    pub fn click(&self, css: &str) {
        self.wait(&format!("{css} is clicked"), |window| {
            let element = window.element(css)?;
            let enabled = window.runtime.block_on(element.is_enabled()).unwrap_or(false);
            (enabled && window.runtime.block_on(element.click()).is_ok()).then_some(())
        });
    }

    /// Replaces what a field holds, by typing.
    pub fn fill(&self, css: &str, text: &str) {
        let element = self.wait_for(css);
        self.runtime.block_on(element.click()).expect("the field takes the focus");
        self.script("arguments[0].select?.()", vec![serde_json::to_value(&element).expect("an element")]);
        self.runtime.block_on(element.send_keys(text)).expect("the field takes the text");
    }

    /// Presses keys one after another, with `held` down meanwhile.
    pub fn keys(&self, held: &[Key], keys: &str) {
        let mut sequence = KeyActions::new("keyboard".into());
        for key in held {
            sequence = sequence.then(KeyAction::Down { value: char::from(*key) });
        }
        for key in keys.chars() {
            sequence = sequence.then(KeyAction::Down { value: key }).then(KeyAction::Up { value: key });
        }
        for key in held {
            sequence = sequence.then(KeyAction::Up { value: char::from(*key) });
        }
        self.perform(sequence);
    }

    /// The middle of an element and its size, in the page's pixels.
    pub fn middle(&self, css: &str) -> (f64, f64, f64, f64) {
        let element = self.wait_for(css);
        let (x, y, width, height) = self.runtime.block_on(element.rectangle()).expect("it has a place");
        (x + width / 2.0, y + height / 2.0, width, height)
    }

    /// Moves the mouse through these points of the page, with its button down from the first to the last.
    pub fn drag(&self, points: &[(f64, f64)]) {
        let mut sequence = MouseActions::new("mouse".into());
        for (index, (x, y)) in points.iter().enumerate() {
            let duration = Some(Duration::from_millis(if index == 0 { 0 } else { 60 }));
            sequence = sequence.then(PointerAction::MoveTo { duration, x: x.round(), y: y.round() });
            if index == 0 {
                sequence = sequence.then(PointerAction::Down { button: 0 });
            }
        }
        self.perform(sequence.then(PointerAction::Up { button: 0 }));
    }

    /// Moves the mouse to a point of the page.
    pub fn hover(&self, x: f64, y: f64) {
        let duration = Some(Duration::from_millis(20));
        let to = PointerAction::MoveTo { duration, x: x.round(), y: y.round() };
        self.perform(MouseActions::new("mouse".into()).then(to));
    }

    fn perform(&self, actions: impl Into<Actions>) {
        self.runtime.block_on(self.client.perform_actions(actions)).expect("the driver performs the actions");
    }

    /// Makes the window as large as the display, where there is no window manager to do it.
    pub fn fill_display(&self) {
        let (server, screen) = x11rb::connect(Some(self.display.name())).expect("the display answers");
        let root = &server.setup().roots[screen];
        let (width, height) = (root.width_in_pixels, root.height_in_pixels);
        let resized = self.client.set_window_rect(0, 0, width.into(), height.into());
        self.runtime.block_on(resized).expect("the driver sizes the window");
    }

    /// A point of the page on the display.
    pub fn on_display(&self, x: f64, y: f64) -> (i16, i16) {
        // The page's place within the window, which covers the whole display or stands in its middle.
        let offset = self.script(
            "return [window.screenX, window.screenY, window.outerWidth - window.innerWidth, window.outerHeight - window.innerHeight]",
            vec![],
        );
        let number = |index: usize| offset[index].as_f64().unwrap_or(0.0);
        ((number(0) + number(2) + x) as i16, (number(1) + number(3) + y) as i16)
    }

    /// Drops files from outside onto a point of the page, by the X11 drag-and-drop protocol.
    pub fn drop_files(&self, files: &[PathBuf], x: f64, y: f64) {
        xdnd::drop(self.display.name(), files, self.on_display(x, y)).expect("the drop reaches the window");
    }

    /// A picture of the whole display as PNG. The driver's own pictures of the page never come without a graphics card.
    pub fn screenshot(&self, to: &Path) {
        let (server, screen) = x11rb::connect(Some(self.display.name())).expect("the display answers");
        let root = &server.setup().roots[screen];
        let (width, height) = (root.width_in_pixels, root.height_in_pixels);
        let pixels = server
            .get_image(ImageFormat::Z_PIXMAP, root.root, 0, 0, width, height, u32::MAX)
            .expect("the display is asked")
            .reply()
            .expect("the display shows its pixels")
            .data;
        let rgb = pixels.chunks_exact(4).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
        let picture = image::RgbImage::from_raw(width.into(), height.into(), rgb).expect("24 bits in 32");
        picture.save(to).expect("the picture is written");
    }

    /// Ends the session and with it the program, as closing the window does, and waits until it is gone.
    pub fn close(self) {
        let Self { client, runtime, pid, _driver, display: _display } = self;
        // The driver ends the program, and may find it gone before it has an answer.
        let _ = runtime.block_on(client.close());
        wait_for("the program ends", || (!crate::linux::is_alive(pid)).then_some(()));
    }

    /// Kills the program in the midst of whatever it does.
    pub fn kill(self) {
        crate::linux::kill(self.pid);
        wait_for("the program is gone", || (!crate::linux::is_alive(self.pid)).then_some(()));
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it has an address").port()
}

/// The process of that name (of which Linux keeps 15 letters) below this one.
pub fn child_named(parent: u32, name: &str) -> Option<u32> {
    let mut parents = vec![parent];
    while let Some(parent) = parents.pop() {
        // A child belongs to the thread that started it.
        let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        let children: String = threads
            .flatten()
            .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok())
            .collect();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            let told = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if told.trim() == name {
                return Some(child);
            }
            parents.push(child);
        }
    }
    None
}

//! The window: the picture, the scrub bar, the transport.

use std::{
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use eframe::egui::{
    self, Align, Align2, CentralPanel, Color32, ColorImage, Context, FontId, Frame, Key, Layout, Margin, Modifiers,
    Panel, Rect, RichText, Role, ScrollArea, Sense, Stroke, TextureHandle, TextureOptions, Ui, Vec2, ViewportCommand,
    WidgetInfo, pos2, vec2,
};
use outframe_document::ShotId;

use crate::{
    cache::Image,
    clock::{Clock, timecode},
    feed::{Feed, Info, Status, Threads},
    icons::{Icon, button},
    orders::Order,
};

/// The window's colours: dark and without hue, so that they do not colour the picture.
pub(crate) mod colours {
    use eframe::egui::Color32;

    /// Behind the picture.
    pub(crate) const CANVAS: Color32 = Color32::from_gray(14);
    /// Behind the controls.
    pub(crate) const PANEL: Color32 = Color32::from_gray(27);
    /// What lies in the panel.
    pub(crate) const RAISED: Color32 = Color32::from_gray(41);
    pub(crate) const HOVERED: Color32 = Color32::from_gray(52);
    pub(crate) const PRESSED: Color32 = Color32::from_gray(64);
    pub(crate) const TEXT: Color32 = Color32::from_gray(214);
    pub(crate) const DIM: Color32 = Color32::from_gray(148);
    pub(crate) const FAINT: Color32 = Color32::from_gray(84);
    /// The playhead and what is switched on.
    pub(crate) const ACCENT: Color32 = Color32::from_rgb(235, 166, 82);
    /// Pictures that are ready.
    pub(crate) const READY: Color32 = Color32::from_rgb(94, 140, 116);
    pub(crate) const WARNING: Color32 = Color32::from_rgb(226, 120, 96);
}

/// How long a new size must last before pictures are rendered at it, in seconds.
const SETTLED: f64 = 0.25;
/// How long the controls stay in full screen after the pointer has moved, in seconds.
const LINGER: f64 = 2.0;

pub(crate) struct Window {
    feed: Feed,
    threads: Option<Threads>,
    orders: Receiver<Order>,
    clock: Clock,
    texture: Option<TextureHandle>,
    /// What the texture holds.
    shown: Option<Arc<Image>>,
    /// Whether a film pixel is a screen pixel; else the film fits the window.
    actual: bool,
    full_screen: bool,
    /// The size that the picture has on the screen, and since when.
    size: ([u32; 2], f64),
    /// When the pointer last moved.
    moved: f64,
    shot: Option<u64>,
}

impl Window {
    pub(crate) fn new(feed: Feed, threads: Option<Threads>, orders: Receiver<Order>, ctx: &Context) -> Self {
        style(ctx);
        Self {
            feed,
            threads,
            orders,
            clock: Clock::new(24.0, 1),
            texture: None,
            shown: None,
            actual: false,
            full_screen: false,
            size: ([0, 0], 0.0),
            moved: 0.0,
            shot: None,
        }
    }

    /// One frame of the window.
    pub(crate) fn show(&mut self, ui: &mut Ui) {
        let now = ui.input(|input| input.time);
        self.obey(ui.ctx(), now);
        let (status, fault, adapter) = {
            let state = self.feed.state();
            (state.status.clone(), state.fault.clone(), state.adapter.clone())
        };
        let info = match &status {
            Status::Ready(info) => Some(info),
            _ => None,
        };
        if let Some(info) = info {
            if self.shot.is_some_and(|shot| shot != info.id) {
                self.clock.seek(0, now);
            }
            if self.shot != Some(info.id) {
                let title = format!("{} – {} – Outframe monitor", info.name, info.project);
                ui.ctx().send_viewport_cmd(ViewportCommand::Title(title));
            }
            self.shot = Some(info.id);
            self.clock.change(info.rate, info.frames, now);
        }
        if matches!(status, Status::Failed(_)) {
            self.clock.pause();
        }
        self.keys(ui.ctx(), now, info.is_some());
        let next = self.clock.tick(now);
        if let Some(next) = next {
            ui.ctx().request_repaint_after(Duration::from_secs_f64(next.max(0.0)));
        }

        if ui.input(|input| input.pointer.delta() != Vec2::ZERO || input.pointer.any_down()) {
            self.moved = now;
        }
        let chrome = !self.full_screen || !self.clock.playing() || now - self.moved < LINGER;
        if chrome {
            if !self.full_screen {
                Panel::top("film").frame(bar(10, 7)).show_separator_line(false).show(ui, |ui| {
                    header(ui, info, adapter.as_deref());
                });
            }
            Panel::bottom("transport").frame(bar(14, 10)).show_separator_line(false).show(ui, |ui| {
                self.scrub(ui, info, now);
                ui.add_space(8.0);
                self.transport(ui, info, now);
            });
        }
        let canvas =
            Frame::new().fill(colours::CANVAS).inner_margin(Margin::same(if self.full_screen { 0 } else { 12 }));
        CentralPanel::default().frame(canvas).show(ui, |ui| match (info, &status) {
            (_, Status::Failed(why)) => message(ui, "There is nothing to show", why),
            (Some(info), _) => match &fault {
                Some(why) if self.shown.is_none() => message(ui, "The picture cannot be rendered", why),
                fault => self.picture(ui, info, fault.as_deref(), now),
            },
            _ => message(ui, "Opening the project…", ""),
        });
        if info.is_none() {
            self.shown = None;
        }
    }

    /// Does what the parent asked for.
    fn obey(&mut self, ctx: &Context, now: f64) {
        while let Ok(order) = self.orders.try_recv() {
            if let Some(shot) = order.shot {
                self.feed.show(ShotId::from_raw(shot));
            }
            if let Some(frame) = order.seek {
                self.clock.seek(frame, now);
            }
            match order.play {
                Some(true) => self.clock.play(now),
                Some(false) => self.clock.pause(),
                None => {}
            }
            if order.close {
                ctx.send_viewport_cmd(ViewportCommand::Close);
            }
        }
    }

    fn toggle(&mut self, now: f64) {
        if self.clock.playing() {
            self.clock.pause();
        } else {
            self.clock.play(now);
        }
    }

    fn set_full_screen(&mut self, ctx: &Context, full: bool) {
        self.full_screen = full;
        ctx.send_viewport_cmd(ViewportCommand::Fullscreen(full));
    }

    fn keys(&mut self, ctx: &Context, now: f64, ready: bool) {
        let pressed = |key| ctx.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        let shifted = |key| ctx.input_mut(|input| input.consume_key(Modifiers::SHIFT, key));
        if pressed(Key::F) {
            self.set_full_screen(ctx, !self.full_screen);
        }
        if pressed(Key::Escape) {
            if self.full_screen {
                self.set_full_screen(ctx, false);
            } else {
                ctx.send_viewport_cmd(ViewportCommand::Close);
            }
        }
        if pressed(Key::Q) || ctx.input_mut(|input| input.consume_key(Modifiers::COMMAND, Key::Q)) {
            ctx.send_viewport_cmd(ViewportCommand::Close);
        }
        if pressed(Key::Z) {
            self.actual = !self.actual;
        }
        if !ready {
            return;
        }
        if pressed(Key::Space) {
            self.toggle(now);
        }
        if pressed(Key::L) {
            self.clock.looped = !self.clock.looped;
        }
        let second = self.rate().round() as i64;
        for (key, by) in [(Key::ArrowRight, 1), (Key::ArrowLeft, -1)] {
            // With shift first: a press without modifiers would take both.
            if shifted(key) {
                self.clock.step(by * second);
            } else if pressed(key) {
                self.clock.step(by);
            }
        }
        if pressed(Key::Home) {
            self.clock.seek(0, now);
        }
        if pressed(Key::End) {
            self.clock.seek(u32::MAX, now);
        }
    }

    fn rate(&self) -> f64 {
        match &self.feed.state().status {
            Status::Ready(info) => info.rate,
            _ => 24.0,
        }
    }

    /// The film's length with what is ready, and the playhead.
    fn scrub(&mut self, ui: &mut Ui, info: Option<&Info>, now: f64) {
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 26.0), Sense::click_and_drag());
        let frames = info.map_or(1, |info| info.frames);
        let track = Rect::from_min_max(
            pos2(rect.left() + 6.0, rect.top() + 10.0),
            pos2(rect.right() - 6.0, rect.bottom() - 8.0),
        );
        if let (Some(_), Some(at)) = (info, response.interact_pointer_pos()) {
            let part = ((at.x - track.left()) / track.width()).clamp(0.0, 1.0);
            self.clock.seek((part * (frames - 1) as f32).round() as u32, now);
        }
        let position = self.clock.position();
        response.widget_info(|| {
            let mut slider = WidgetInfo::slider(info.is_some(), f64::from(position), "Playhead");
            slider.current_text_value = Some(format!("Picture {} of {frames}", position + 1));
            slider
        });
        let painter = ui.painter();
        painter.rect_filled(track, 3.0, colours::RAISED);
        let Some(info) = info else { return };
        // A picture lies around its mark, half of the way to either neighbour.
        let x = |frame: f32| track.left() + track.width() * (frame / (frames - 1).max(1) as f32).clamp(0.0, 1.0);
        let ranges = {
            let state = self.feed.state();
            state.cache.ranges(state.version)
        };
        for (from, to) in ranges {
            let part = Rect::from_x_y_ranges(x(from as f32 - 0.5)..=x(to as f32 - 0.5), track.y_range());
            painter.rect_filled(part, 3.0, colours::READY);
        }
        // A mark for each second, or for as many as leave room between the marks.
        let seconds = f64::from(frames) / info.rate;
        let room = f64::from(track.width()) / 12.0;
        let every = [1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0].into_iter().find(|every| seconds / every < room);
        let every = every.unwrap_or(600.0);
        let mut mark = every;
        while mark < seconds {
            let at = x((mark * info.rate) as f32);
            painter.vline(at, rect.top()..=rect.top() + 5.0, Stroke::new(1.0, colours::FAINT));
            mark += every;
        }
        let at = x(position as f32);
        let colour = if response.hovered() || response.dragged() { Color32::WHITE } else { colours::ACCENT };
        painter.vline(at, rect.top() + 3.0..=rect.bottom() - 2.0, Stroke::new(2.0, colour));
        painter.add(egui::Shape::convex_polygon(
            vec![pos2(at - 5.0, rect.top()), pos2(at + 5.0, rect.top()), pos2(at, rect.top() + 7.0)],
            colour,
            Stroke::NONE,
        ));
        if response.has_focus() {
            painter.rect_stroke(rect, 4.0, Stroke::new(1.0, colours::ACCENT), egui::StrokeKind::Inside);
        }
    }

    fn transport(&mut self, ui: &mut Ui, info: Option<&Info>, now: f64) {
        let ready = info.is_some();
        let frames = info.map_or(0, |info| info.frames);
        let rate = info.map_or(24.0, |info| info.rate);
        let height = 38.0;
        let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
        // Three groups: each keeps its place, whatever the others say.
        let mut left = ui.new_child(egui::UiBuilder::new().max_rect(rect).layout(Layout::left_to_right(Align::Center)));
        let code = if ready { timecode(self.clock.position(), rate) } else { "--:--:--:--".into() };
        left.label(RichText::new(code).font(FontId::monospace(21.0)).color(if ready {
            Color32::WHITE
        } else {
            colours::FAINT
        }));
        left.add_space(10.0);
        if ready && rect.width() > 640.0 {
            let digits = frames.to_string().len();
            let text = format!("{:>digits$} / {frames}", self.clock.position() + 1);
            left.label(RichText::new(text).font(FontId::monospace(13.0)).color(colours::DIM))
                .on_hover_text("Picture and number of pictures");
        }

        let width = 5.0 * 30.0 + 38.0 + 5.0 * 4.0 + 12.0;
        let middle = Rect::from_center_size(rect.center(), vec2(width, height));
        let mut middle =
            ui.new_child(egui::UiBuilder::new().max_rect(middle).layout(Layout::left_to_right(Align::Center)));
        middle.spacing_mut().item_spacing.x = 4.0;
        if button(&mut middle, Icon::First, "First picture", "First picture (Home)", None, ready).clicked() {
            self.clock.seek(0, now);
        }
        if button(&mut middle, Icon::Back, "One picture back", "One picture back (←; a second: Shift ←)", None, ready)
            .clicked()
        {
            self.clock.step(-1);
        }
        let (icon, label, hint) = if self.clock.playing() {
            (Icon::Pause, "Pause", "Pause (Space)")
        } else {
            (Icon::Play, "Play", "Play (Space)")
        };
        if button(&mut middle, icon, label, hint, None, ready).clicked() {
            self.toggle(now);
        }
        if button(&mut middle, Icon::Forward, "One picture on", "One picture on (→; a second: Shift →)", None, ready)
            .clicked()
        {
            self.clock.step(1);
        }
        if button(&mut middle, Icon::Last, "Last picture", "Last picture (End)", None, ready).clicked() {
            self.clock.seek(u32::MAX, now);
        }
        middle.add_space(8.0);
        let looped = self.clock.looped;
        if button(&mut middle, Icon::Loop, "Loop", "Play again from the beginning (L)", Some(looped), true).clicked() {
            self.clock.looped = !looped;
        }

        let mut right =
            ui.new_child(egui::UiBuilder::new().max_rect(rect).layout(Layout::right_to_left(Align::Center)));
        right.spacing_mut().item_spacing.x = 8.0;
        if button(&mut right, Icon::FullScreen, "Full screen", "Full screen (F)", Some(self.full_screen), true)
            .clicked()
        {
            let full = !self.full_screen;
            self.set_full_screen(ui.ctx(), full);
        }
        // From right to left: the other way round than they are read.
        for (actual, name, hint) in [
            (true, "100 %", "One film pixel on one screen pixel (Z)"),
            (false, "Fit", "The whole film in the window (Z)"),
        ] {
            if right.selectable_label(self.actual == actual, name).on_hover_text(hint).clicked() {
                self.actual = actual;
            }
        }
        if ready && rect.width() > 640.0 {
            right.add_space(8.0);
            let dropped = self.clock.dropped();
            let colour = if dropped > 0 { colours::WARNING } else { colours::DIM };
            right.label(RichText::new(format!("{dropped} dropped")).size(12.5).color(colour)).on_hover_text(
                "Pictures that were not ready in time since playing began. What is marked on the bar is ready.",
            );
        }
    }

    fn picture(&mut self, ui: &mut Ui, info: &Info, fault: Option<&str>, now: f64) {
        let pixels = ui.pixels_per_point();
        let film = vec2(info.size[0] as f32, info.size[1] as f32) / pixels;
        let space = ui.available_size();
        let scale = if self.actual { 1.0 } else { (space.x / film.x).min(space.y / film.y) };
        let size = film * scale;
        // Never more than the film has.
        let wanted = [0, 1].map(|axis| ((size[axis] * pixels).round() as u32).clamp(1, info.size[axis]));
        if self.size.0 != wanted {
            // The first size counts at once; later ones when the window is no longer dragged.
            let since = if self.size.0 == [0, 0] { f64::NEG_INFINITY } else { now };
            self.size = (wanted, since);
        }
        let settled = now - self.size.1 >= SETTLED;
        if settled {
            self.feed.want(self.clock.position(), wanted);
        } else {
            let before = self.feed.state().wanted;
            self.feed.want(self.clock.position(), before);
            ui.ctx().request_repaint_after(Duration::from_secs_f64(SETTLED));
        }
        let (image, version) = {
            let state = self.feed.state();
            (state.cache.get(self.clock.position()).cloned(), state.version)
        };
        if let Some(image) = &image {
            self.clock.shown();
            if self.shown.as_ref().is_none_or(|shown| !Arc::ptr_eq(shown, image)) {
                let pixels = ColorImage::from_rgba_premultiplied(image.size, &image.rgba);
                match &mut self.texture {
                    Some(texture) => texture.set(pixels, TextureOptions::LINEAR),
                    None => self.texture = Some(ui.ctx().load_texture("picture", pixels, TextureOptions::LINEAR)),
                }
                self.shown = Some(Arc::clone(image));
            }
        }
        let late = image.is_none_or(|image| image.version != version);
        let canvas = ui.max_rect();
        let label = format!("Picture {} of the shot {}", self.clock.position() + 1, info.name);
        let draw = |ui: &mut Ui, rect: Rect| {
            let response = ui.allocate_rect(rect, Sense::click());
            response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &label));
            if let (Some(texture), Some(_)) = (&self.texture, &self.shown) {
                let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
                ui.painter().image(texture.id(), rect, whole, Color32::WHITE);
            } else {
                ui.painter().rect_filled(rect, 0.0, Color32::BLACK);
            }
            response
        };
        let response = if self.actual && (size.x > space.x || size.y > space.y) {
            ScrollArea::both()
                .scroll_source(egui::scroll_area::ScrollSource::ALL)
                .show(ui, |ui| {
                    let rect =
                        Rect::from_center_size(ui.min_rect().min.to_vec2().to_pos2() + size.max(space) / 2.0, size);
                    draw(ui, rect)
                })
                .inner
        } else {
            // On whole screen pixels, so that what is rendered for them is not filtered again.
            let corner = (canvas.center() - size / 2.0) * pixels;
            let corner = pos2(corner.x.round(), corner.y.round()) / pixels;
            draw(ui, Rect::from_min_size(corner, vec2(wanted[0] as f32, wanted[1] as f32).max(size * pixels) / pixels))
        };
        if response.double_clicked() {
            let full = !self.full_screen;
            self.set_full_screen(ui.ctx(), full);
        }
        let note = match fault {
            Some(why) => Some((why.to_owned(), colours::WARNING)),
            None if late && !self.clock.playing() => Some(("Rendering…".to_owned(), colours::TEXT)),
            None => None,
        };
        if let Some((text, colour)) = note {
            let at = canvas.left_bottom() + vec2(10.0, -10.0);
            let galley = ui.painter().layout(text, FontId::proportional(13.0), colour, canvas.width() * 0.8);
            let rect = Align2::LEFT_BOTTOM.anchor_size(at, galley.size() + vec2(16.0, 8.0));
            ui.painter().rect_filled(rect, 5.0, Color32::from_black_alpha(190));
            ui.painter().galley(rect.min + vec2(8.0, 4.0), galley, colour);
        }
    }
}

impl eframe::App for Window {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        // A hidden window obeys too.
        let now = ctx.input(|input| input.time);
        self.obey(ctx, now);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.show(ui);
    }

    fn clear_color(&self, _visuals: &egui::Visuals) -> [f32; 4] {
        colours::CANVAS.to_normalized_gamma_f32()
    }

    fn on_exit(&mut self) {
        self.threads = None;
    }
}

/// What is played, and how.
fn header(ui: &mut Ui, info: Option<&Info>, adapter: Option<&str>) {
    ui.horizontal(|ui| {
        let Some(info) = info else {
            ui.label(RichText::new("Outframe monitor").color(colours::DIM));
            return;
        };
        ui.label(RichText::new(&info.name).strong().size(14.0));
        ui.label(RichText::new(&info.project).color(colours::DIM));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = 14.0;
            if let Some(adapter) = adapter
                && ui.available_width() > 420.0
            {
                ui.label(RichText::new(adapter).size(12.5).color(colours::FAINT))
                    .on_hover_text("What renders the pictures");
            }
            // Two digits after the point, where there are any.
            let rate = format!("{:.2}", info.rate);
            let rate = rate.trim_end_matches('0').trim_end_matches('.');
            ui.label(RichText::new(format!("{rate} fps")).size(12.5).color(colours::DIM));
            ui.label(RichText::new(format!("{} × {}", info.size[0], info.size[1])).size(12.5).color(colours::DIM));
        });
    });
}

fn message(ui: &mut Ui, title: &str, text: &str) {
    let width = (ui.available_width() - 40.0).clamp(100.0, 560.0);
    let top = ui.available_height() * 0.4;
    ui.vertical_centered(|ui| {
        ui.add_space(top);
        ui.label(RichText::new(title).size(19.0).strong());
        ui.add_space(6.0);
        ui.set_max_width(width);
        ui.label(RichText::new(text).color(colours::DIM));
    });
}

fn bar(x: i8, y: i8) -> Frame {
    Frame::new().fill(colours::PANEL).inner_margin(Margin::symmetric(x, y))
}

fn style(ctx: &Context) {
    ctx.set_theme(egui::Theme::Dark);
    ctx.style_mut_of(egui::Theme::Dark, |style| {
        let visuals = &mut style.visuals;
        visuals.panel_fill = colours::PANEL;
        visuals.override_text_color = None;
        visuals.selection.bg_fill = colours::HOVERED;
        visuals.selection.stroke = Stroke::new(1.0, colours::ACCENT);
        visuals.widgets.noninteractive.fg_stroke.color = colours::TEXT;
        visuals.widgets.inactive.fg_stroke.color = colours::DIM;
        visuals.widgets.hovered.weak_bg_fill = colours::HOVERED;
        visuals.widgets.hovered.bg_stroke = Stroke::NONE;
        style.spacing.button_padding = vec2(8.0, 4.0);
        style.interaction.tooltip_delay = 0.6;
    });
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use egui_kittest::{
        Harness,
        kittest::{NodeT as _, Queryable as _},
    };

    use super::*;

    fn info() -> Info {
        let (name, project) = ("Push in".to_owned(), "Harbour".to_owned());
        Info { id: 1, name, project, size: [64, 36], rate: 24.0, frames: 48 }
    }

    /// A window on a shot whose pictures are all there: picture n is grey of 5 n.
    fn window(status: Status) -> (Harness<'static, Window>, Sender<Order>) {
        let feed = Feed::new(None, 1 << 20);
        {
            let mut state = feed.state();
            state.status = status;
            state.adapter = Some("Some adapter".into());
        }
        let (sender, orders) = channel();
        let window = Window::new(feed, None, orders, &Context::default());
        let mut harness = Harness::builder()
            .with_size([900.0, 600.0])
            .with_step_dt(1.0 / 48.0)
            .with_max_steps(64)
            .build_ui_state(|ui, window: &mut Window| window.show(ui), window);
        harness.run_steps(3);
        let mut state = harness.state_mut().feed.state();
        let version = state.version;
        for frame in 0..48 {
            let grey = frame as u8 * 5;
            let rgba = [grey, grey, grey, 255].repeat(64 * 36);
            state.cache.put(frame, Image { size: [64, 36], rgba, version }, 0, 48);
        }
        drop(state);
        harness.run_steps(20);
        (harness, sender)
    }

    fn ready() -> Harness<'static, Window> {
        window(Status::Ready(info())).0
    }

    fn position(harness: &Harness<'_, Window>) -> u32 {
        harness.state().clock.position()
    }

    #[test]
    fn the_transport_moves_the_playhead() {
        let mut harness = ready();
        for (label, expected) in [
            ("One picture on", 1),
            ("One picture on", 2),
            ("One picture back", 1),
            ("Last picture", 47),
            ("One picture on", 47),
            ("First picture", 0),
            ("One picture back", 0),
        ] {
            harness.get_by_label(label).click();
            harness.run_steps(2);
            assert_eq!(position(&harness), expected, "{label}");
        }
        harness.get_by_label("00:00:00:00");
        harness.get_by_label("Picture 1 of the shot Push in");
    }

    #[test]
    fn play_follows_the_clock_and_pauses() {
        let mut harness = ready();
        harness.get_by_label("Play").click();
        harness.run_steps(2);
        let begun = position(&harness);
        // Half a second at 48 steps a second.
        harness.run_steps(24);
        let gone = position(&harness) - begun;
        assert!((11..=13).contains(&gone), "{gone} pictures in half a second");
        assert_eq!(harness.state().clock.dropped(), 0);
        harness.get_by_label("Pause").click();
        harness.run_steps(2);
        let paused = position(&harness);
        harness.run_steps(10);
        assert_eq!(position(&harness), paused);
        harness.get_by_label("Play");
    }

    #[test]
    fn keys_do_what_they_say() {
        let mut harness = ready();
        let press = |harness: &mut Harness<'_, Window>, modifiers, key| {
            harness.key_press_modifiers(modifiers, key);
            harness.run_steps(2);
        };
        for (modifiers, key, expected) in [
            (Modifiers::NONE, Key::ArrowRight, 1),
            (Modifiers::SHIFT, Key::ArrowRight, 25),
            (Modifiers::NONE, Key::ArrowLeft, 24),
            (Modifiers::NONE, Key::End, 47),
            (Modifiers::NONE, Key::Home, 0),
        ] {
            press(&mut harness, modifiers, key);
            assert_eq!(position(&harness), expected, "{key:?}");
        }
        press(&mut harness, Modifiers::NONE, Key::Space);
        assert!(harness.state().clock.playing());
        press(&mut harness, Modifiers::NONE, Key::Space);
        assert!(!harness.state().clock.playing());
        press(&mut harness, Modifiers::NONE, Key::L);
        assert!(!harness.state().clock.looped);
        press(&mut harness, Modifiers::NONE, Key::Z);
        assert!(harness.state().actual);
        press(&mut harness, Modifiers::NONE, Key::F);
        assert!(harness.state().full_screen);
        // Escape leaves full screen before it leaves the monitor.
        press(&mut harness, Modifiers::NONE, Key::Escape);
        assert!(!harness.state().full_screen);
    }

    #[test]
    fn the_bar_scrubs() {
        let mut harness = ready();
        let bar = harness.get_by_label("Playhead").rect();
        harness.drag_at(bar.center());
        harness.run_steps(2);
        assert!((23..=24).contains(&position(&harness)), "{}", position(&harness));
        harness.hover_at(bar.right_center());
        harness.run_steps(2);
        harness.drop_at(bar.right_center());
        harness.run_steps(2);
        assert_eq!(position(&harness), 47);
        let bar = harness.get_by_label("Playhead");
        assert_eq!(bar.accesskit_node().numeric_value(), Some(47.0));
    }

    #[test]
    fn the_picture_is_that_of_the_playhead() {
        let mut harness = ready();
        for _ in 0..3 {
            harness.get_by_label("One picture on").click();
            harness.run_steps(2);
        }
        let shown = harness.state().shown.clone().unwrap();
        assert_eq!(shown.rgba[..4], [15, 15, 15, 255]);
    }

    #[test]
    fn orders_of_the_parent_are_obeyed() {
        let (mut harness, orders) = window(Status::Ready(info()));
        orders.send(Order { seek: Some(7), ..Order::default() }).unwrap();
        harness.run_steps(2);
        assert_eq!(position(&harness), 7);
        orders.send(Order { play: Some(true), shot: Some(9), ..Order::default() }).unwrap();
        harness.run_steps(2);
        assert!(harness.state().clock.playing());
        assert_eq!(harness.state().feed.state().shot, Some(ShotId::from_raw(9)));
        orders.send(Order { close: true, ..Order::default() }).unwrap();
        harness.step();
        let commands = &harness.output().viewport_output[&egui::ViewportId::ROOT].commands;
        assert!(commands.contains(&ViewportCommand::Close), "{commands:?}");
    }

    #[test]
    fn without_a_shot_it_says_why_and_nothing_plays() {
        let (mut harness, _orders) = window(Status::Failed("The project is gone.".into()));
        harness.get_by_label("There is nothing to show");
        harness.get_by_label("The project is gone.");
        assert!(harness.get_by_label("Play").accesskit_node().is_disabled());
        harness.key_press(Key::Space);
        harness.run_steps(2);
        assert!(!harness.state().clock.playing());
    }

    #[test]
    fn a_fault_of_the_renderer_is_shown_beside_the_picture() {
        let mut harness = ready();
        harness.state_mut().feed.state().fault = Some("The device was lost.".into());
        harness.run_steps(2);
        // The last picture stays.
        assert!(harness.state().shown.is_some());
        harness.get_by_label("Picture 1 of the shot Push in");
    }
}

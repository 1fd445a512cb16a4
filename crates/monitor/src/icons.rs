//! The transport's signs, drawn: no font has them all alike.

use eframe::egui::{
    Color32, Painter, Pos2, Rect, Response, Role, Sense, Shape, Stroke, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use crate::window::colours;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    First,
    Back,
    Play,
    Pause,
    Forward,
    Last,
    Loop,
    FullScreen,
}

/// A button with a sign. `label` is what it is called by those who cannot see it, `hint` what it shows under the pointer.
pub(crate) fn button(ui: &mut Ui, icon: Icon, label: &str, hint: &str, on: Option<bool>, enabled: bool) -> Response {
    let side = if matches!(icon, Icon::Play | Icon::Pause) { 38.0 } else { 30.0 };
    let sense = if enabled { Sense::click() } else { Sense::hover() };
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(side), sense);
    response.widget_info(|| match on {
        Some(on) => WidgetInfo::selected(Role::Button, enabled, on, label),
        None => WidgetInfo::labeled(Role::Button, enabled, label),
    });
    let colour = match on {
        _ if !enabled => colours::FAINT,
        Some(true) => colours::ACCENT,
        _ if response.hovered() || response.has_focus() => Color32::WHITE,
        _ => colours::TEXT,
    };
    let fill = if response.is_pointer_button_down_on() {
        colours::PRESSED
    } else if enabled && response.hovered() {
        colours::HOVERED
    } else if icon == Icon::Play || icon == Icon::Pause {
        colours::RAISED
    } else {
        Color32::TRANSPARENT
    };
    let painter = ui.painter();
    painter.rect_filled(rect, 6.0, fill);
    if response.has_focus() {
        painter.rect_stroke(rect, 6.0, Stroke::new(1.5, colours::ACCENT), eframe::egui::StrokeKind::Inside);
    }
    draw(painter, rect, icon, colour);
    response.on_hover_text(hint)
}

fn draw(painter: &Painter, rect: Rect, icon: Icon, colour: Color32) {
    let centre = rect.center();
    let at = |x: f32, y: f32| centre + vec2(x, y);
    let triangle = |points: [Pos2; 3]| painter.add(Shape::convex_polygon(points.to_vec(), colour, Stroke::NONE));
    let bar =
        |x: f32, y: f32, w: f32, h: f32| painter.rect_filled(Rect::from_min_size(at(x, y), vec2(w, h)), 0.5, colour);
    let line = Stroke::new(1.6, colour);
    match icon {
        Icon::Play => {
            triangle([at(-5.0, -8.0), at(-5.0, 8.0), at(8.0, 0.0)]);
        }
        Icon::Pause => {
            bar(-6.0, -7.5, 4.0, 15.0);
            bar(2.0, -7.5, 4.0, 15.0);
        }
        Icon::First => {
            bar(-6.0, -5.5, 2.0, 11.0);
            triangle([at(5.0, -5.5), at(5.0, 5.5), at(-3.0, 0.0)]);
        }
        Icon::Last => {
            bar(4.0, -5.5, 2.0, 11.0);
            triangle([at(-5.0, -5.5), at(-5.0, 5.5), at(3.0, 0.0)]);
        }
        // A thin bar beside the triangle: one picture, not the end.
        Icon::Back => {
            triangle([at(2.5, -5.5), at(2.5, 5.5), at(-5.5, 0.0)]);
            bar(4.5, -5.5, 1.2, 11.0);
        }
        Icon::Forward => {
            triangle([at(-2.5, -5.5), at(-2.5, 5.5), at(5.5, 0.0)]);
            bar(-5.7, -5.5, 1.2, 11.0);
        }
        Icon::Loop => {
            // Two arrows around.
            painter.line(vec![at(-7.0, -0.5), at(-7.0, -4.0), at(4.0, -4.0)], line);
            painter.line(vec![at(7.0, 0.5), at(7.0, 4.0), at(-4.0, 4.0)], line);
            triangle([at(3.0, -7.0), at(3.0, -1.0), at(7.5, -4.0)]);
            triangle([at(-3.0, 1.0), at(-3.0, 7.0), at(-7.5, 4.0)]);
        }
        Icon::FullScreen => {
            for (x, y) in [(-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)] {
                let corner = pos2(centre.x + x * 6.5, centre.y + y * 6.5);
                painter.line(vec![corner - vec2(x * 4.0, 0.0), corner, corner - vec2(0.0, y * 4.0)], line);
            }
        }
    }
}

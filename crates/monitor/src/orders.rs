//! Orders from the program that opened the window: lines of JSON on standard input.

use std::{
    io::{self, BufRead},
    process,
    sync::mpsc::Sender,
    time::Duration,
};

use eframe::egui;
use serde::Deserialize;

/// What one line asks for; what it does not name stays.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Order {
    /// Another shot of the project.
    pub(crate) shot: Option<u64>,
    /// A picture to put the playhead on.
    pub(crate) seek: Option<u32>,
    /// To play, or to pause.
    pub(crate) play: Option<bool>,
    /// To close.
    #[serde(skip)]
    pub(crate) close: bool,
}

/// Listens until standard input ends, and closes the window then.
pub(crate) fn listen(orders: Sender<Order>, ctx: &egui::Context) -> io::Result<()> {
    let ctx = ctx.clone();
    std::thread::Builder::new().name("orders".into()).spawn(move || {
        read(io::stdin().lock(), &mut |order| {
            // Without a window there is nobody to obey.
            let _sent = orders.send(order);
            ctx.request_repaint();
        });
        // A window that is hidden or stuck must not outlive its parent. Nothing is lost: the project is only read.
        std::thread::sleep(Duration::from_millis(1500));
        process::exit(0);
    })?;
    Ok(())
}

fn read(lines: impl BufRead, order: &mut dyn FnMut(Order)) {
    for line in lines.lines() {
        let Ok(line) = line else { break };
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str(&line) {
            Ok(asked) => order(asked),
            Err(error) => eprintln!("The monitor does not understand {line:?}: {error}."),
        }
    }
    order(Order { close: true, ..Order::default() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_orders_and_the_end_closes() {
        let mut orders = Vec::new();
        let lines = "{\"seek\": 5}\n\n{\"play\": true, \"shot\": 2}\nnonsense\n{\"speed\": 2}\n";
        read(lines.as_bytes(), &mut |order| orders.push(order));
        let expected = [
            Order { seek: Some(5), ..Order::default() },
            Order { play: Some(true), shot: Some(2), ..Order::default() },
            Order { close: true, ..Order::default() },
        ];
        assert_eq!(orders, expected);
    }
}

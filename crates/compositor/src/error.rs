//! What can go wrong while compositing.

use outframe_document::BlobId;

/// Why no picture was composed. Messages say what happened, what it means and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// This machine has no graphics adapter that can be used, not even in software.
    #[error(
        "No graphics adapter can be used{}. Outframe draws through Vulkan, Metal, Direct3D 12 or OpenGL ES 3. Install the \
         driver of your graphics card, or a software one: on Debian and Ubuntu the package mesa-vulkan-drivers \
         (lavapipe), on Fedora mesa-vulkan-drivers, on Arch vulkan-swrast.",
        if tried.is_empty() { String::new() } else { format!(" ({tried})") }
    )]
    NoAdapter {
        /// What was tried, and why it failed; may be empty.
        tried: String,
    },
    /// The adapter that was asked for by name is not there.
    #[error("There is no graphics adapter “{wanted}”. Found: {}. Give a part of one of these names, or “auto”.",
        if found.is_empty() { "none".to_owned() } else { found.join(", ") })]
    UnknownAdapter {
        /// What was asked for.
        wanted: String,
        /// The names of those that are there.
        found: Vec<String>,
    },
    /// The device stopped, was started anew, and stopped again.
    #[error("The graphics device stopped twice while it drew: {why}. Choose another adapter, or the software one.")]
    DeviceLost {
        /// What the driver said.
        why: String,
    },
    /// The driver refused a command.
    #[error("The graphics driver refused to draw: {why}. Update the driver, or choose the software adapter.")]
    Gpu {
        /// What it said.
        why: String,
    },
    /// The output is larger than is composed at once.
    #[error(
        "A picture of {width} x {height} pixels cannot be composed at once; compose it in strips of at most {limit} pixels."
    )]
    TooLarge {
        /// The width that was asked for, in pixels.
        width: u32,
        /// The height that was asked for, in pixels.
        height: u32,
        /// The largest number of pixels.
        limit: u64,
    },
    /// The view's numbers cannot be drawn.
    #[error("This view cannot be drawn: {0}")]
    View(String),
    /// The camera's numbers cannot be drawn.
    #[error(transparent)]
    Camera(#[from] outframe_camera::Error),
    /// A stored picture could not be read.
    #[error("The stored picture {id} cannot be drawn: {why}")]
    Picture {
        /// Which.
        id: BlobId,
        /// Why.
        why: String,
    },
    /// The caller no longer wants the picture.
    #[error("The drawing was cancelled.")]
    Cancelled,
    /// The compositor's thread has ended.
    #[error("The compositor has stopped: {0}. Start the program again.")]
    Stopped(String),
}

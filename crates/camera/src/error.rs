//! What can go wrong with a camera.

/// Why a shot, a projection, a plan or an import failed. Messages say what was tried and on what.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A number of the shot is not finite or lies outside of its range.
    #[error("{what} is {value}, but it must be {expected}.")]
    OutOfRange {
        /// Which number, with its place: "move 2: end".
        what: String,
        /// What it is.
        value: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// There is more of something than this crate handles.
    #[error("There are {count} {what}; at most {limit} are possible.")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are, or at least are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A reframe does not say from which rectangle to which.
    #[error("Move {index} is a reframe, but its start and end rectangles are missing.")]
    NoBoxes {
        /// Which move, from 0.
        index: usize,
    },
    /// The camera stands in or behind the plane of a layer, so that the layer is out of sight. Whoever draws leaves that
    /// layer out.
    #[error("The camera has passed the plane at depth {depth}, which is now behind it.")]
    Passed {
        /// The plane's depth.
        depth: f64,
    },
    /// The plane is seen so nearly from its edge, from so near or from so far that the view cannot be computed soundly.
    #[error("The plane at depth {depth} is seen too obliquely or at too extreme a scale (condition {condition:.1e}).")]
    IllConditioned {
        /// The plane's depth.
        depth: f64,
        /// The condition number of the normalised homography.
        condition: f64,
    },
    /// The focal length is not positive, for instance because a dolly zoom went up to its subject.
    #[error("The lens has a focal length of {focal} times that at rest; it must be between 1e-4 and 1e4.")]
    Lens {
        /// The focal length as a factor of that at rest.
        focal: f64,
    },
    /// A text of another program could not be read.
    #[error("{format}: {what} (at character {position}).")]
    Syntax {
        /// Which format was expected.
        format: &'static str,
        /// What is wrong.
        what: String,
        /// Where, in bytes from the beginning of the text.
        position: usize,
    },
}

pub(crate) fn check(
    what: impl Fn() -> String,
    value: f64,
    low: f64,
    high: f64,
    expected: &'static str,
) -> Result<(), Error> {
    if value.is_finite() && value >= low && value <= high {
        Ok(())
    } else {
        Err(Error::OutOfRange { what: what(), value, expected })
    }
}

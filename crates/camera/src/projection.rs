//! From the canvas to the picture and back.

use crate::moves::check_rect;
use crate::shot::FILM_WIDTH;
use crate::vector::{IDENTITY, Matrix, adjugate, norm, product, rotation, times};
use crate::{Error, Point, Pose, Rect};

/// The worst condition number of a normalised homography with which is still reckoned.
const WORST_CONDITION: f64 = 1e8;
/// Nearer to the camera, as a fraction of the distance of the picture plane, counts as behind it.
const NEAR: f64 = 1e-9;
/// Farther away, as a multiple of the distance of the picture plane, counts as beyond the horizon.
const FAR: f64 = 1e4;

/// A pinhole camera before the canvas.
///
/// At rest it stands before the middle of the view at a distance of `lens` / 36 mm view widths, looks straight at it, and
/// the view fills the output exactly. The canvas's y points down, the camera's up.
///
/// A layer at depth d (1 is the picture plane, more is farther) is a plane parallel to it at d times the distance, on
/// which the layer is drawn d times as large about the line of sight at rest. So at rest each layer has the size and
/// place that it has on the flat canvas, and the composite is the flat one; once the camera moves, a layer is displaced by
/// a d-th of what the picture plane is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Camera {
    view: Rect,
    width: f64,
    height: f64,
    lens: f64,
    pose: Pose,
}

impl Camera {
    /// A camera that at rest sees `view` (canvas pixels) on an output of `width` x `height` pixels through a lens of
    /// `lens` mm on film 36 mm wide.
    pub fn new(view: Rect, width: f64, height: f64, lens: f64, pose: Pose) -> Self {
        Self { view, width, height, lens, pose }
    }

    /// Where it is.
    pub fn pose(&self) -> Pose {
        self.pose
    }

    /// The output's width and height, in pixels.
    pub fn output(&self) -> (f64, f64) {
        (self.width, self.height)
    }

    /// What a layer at `depth` (1e-6..=1e6) goes through to the output. The same at all depths, and exactly a scaling and a
    /// shift, if the camera is at rest.
    pub fn homography(&self, depth: f64) -> Result<Homography, Error> {
        crate::error::check(|| "The depth".into(), depth, 1e-6, 1e6, "1e-6 to 1e6")?;
        check_rect(|| "The view".into(), &self.view)?;
        for side in [self.width, self.height] {
            crate::error::check(|| "The output's side".into(), side, 1e-3, 1e9, "positive")?;
        }
        crate::error::check(|| "The lens".into(), self.lens, 1.0, 1000.0, "1 to 1000 mm")?;
        let Pose { x, y, z, yaw, pitch, roll, focal } = self.pose;
        if !(1e-4..=1e4).contains(&focal) {
            return Err(Error::Lens { focal });
        }
        for value in [x, y, z, yaw, pitch, roll] {
            crate::error::check(|| "The camera's pose".into(), value, -1e9, 1e9, "finite")?;
        }
        let Rect { x: left, y: top, width, height } = self.view;
        let (scale_x, scale_y) = (self.width / width, self.height / height);
        if self.pose == Pose::REST {
            return Ok(Homography {
                forward: [[scale_x, 0.0, -left * scale_x], [0.0, scale_y, -top * scale_y], [0.0, 0.0, 1.0]],
                inverse: [[1.0 / scale_x, 0.0, left], [0.0, 1.0 / scale_y, top], [0.0, 0.0, 1.0]],
                output: (self.width, self.height),
            });
        }
        let remaining = 1.0 - z / depth;
        if remaining <= NEAR {
            return Err(Error::Passed { depth });
        }
        let distance = width * self.lens / FILM_WIDTH;
        // Normalised canvas (view widths and heights from the view's centre, y down) to directions in the axes at rest,
        // divided by the depth.
        let plane =
            [[width, 0.0, -x * width / depth], [0.0, -height, -y * height / depth], [0.0, 0.0, distance * remaining]];
        // To the camera's axes: the transposed rotation.
        let axes = rotation(yaw, pitch, roll);
        let turned: Matrix = [0, 1, 2].map(|i| {
            [0, 1, 2].map(|j: usize| axes[0][i] * plane[0][j] + axes[1][i] * plane[1][j] + axes[2][i] * plane[2][j])
        });
        // Through the lens, to output widths and heights from the output's centre, y down.
        let normal: Matrix = [
            turned[0].map(|v| focal * v / width),
            turned[1].map(|v| -focal * v / height),
            turned[2].map(|v| v / distance),
        ];
        let adjugate = adjugate(&normal);
        let determinant = normal[0][0] * adjugate[0][0] + normal[0][1] * adjugate[1][0] + normal[0][2] * adjugate[2][0];
        let inverse = adjugate.map(|row| row.map(|v| v / determinant));
        let condition = norm(&normal) * norm(&inverse) / 3.0;
        if !(condition.is_finite() && condition <= WORST_CONDITION) {
            return Err(Error::IllConditioned { depth, condition });
        }
        let centre = self.view.centre();
        let from_canvas = [[1.0 / width, 0.0, -centre.x / width], [0.0, 1.0 / height, -centre.y / height], IDENTITY[2]];
        let to_canvas = [[width, 0.0, centre.x], [0.0, height, centre.y], IDENTITY[2]];
        let to_output = [[self.width, 0.0, self.width / 2.0], [0.0, self.height, self.height / 2.0], IDENTITY[2]];
        let from_output = [[1.0 / self.width, 0.0, -0.5], [0.0, 1.0 / self.height, -0.5], IDENTITY[2]];
        Ok(Homography {
            forward: product(&to_output, &product(&normal, &from_canvas)),
            inverse: product(&to_canvas, &product(&inverse, &from_output)),
            output: (self.width, self.height),
        })
    }
}

/// What leads a layer's points on the canvas to the output, both in pixels with y down, and back.
///
/// With (X, Y, W) = forward x (x, y, 1) the output point is (X / W, Y / W), and W is the distance along the line of sight
/// in distances of the picture plane divided by the layer's depth: it is positive just for what lies before the camera,
/// and 1 at rest. In the other direction the third coordinate is 1 / W, positive just where the line of sight meets the
/// layer's plane before the camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Homography {
    forward: [[f64; 3]; 3],
    inverse: [[f64; 3]; 3],
    output: (f64, f64),
}

/// The part of a layer that the camera sees.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// A convex polygon on the canvas; empty if nothing of the layer is seen.
    pub polygon: Vec<Point>,
    /// Whether the picture reaches beyond the plane's horizon, so that the polygon is cut off at a great distance.
    pub horizon: bool,
}

impl Homography {
    /// From the canvas to the output, as rows.
    pub fn forward(&self) -> [[f64; 3]; 3] {
        self.forward
    }

    /// From the output to the canvas, as rows.
    pub fn inverse(&self) -> [[f64; 3]; 3] {
        self.inverse
    }

    /// Where a point of the canvas is in the output; `None` if it lies behind the camera.
    pub fn project(&self, point: Point) -> Option<Point> {
        let [x, y, w] = times(&self.forward, [point.x, point.y, 1.0]);
        (w > NEAR).then(|| Point::new(x / w, y / w))
    }

    /// Which point of the canvas is seen at a point of the output; `None` if the line of sight goes past the plane, or
    /// meets it only at its horizon.
    pub fn unproject(&self, point: Point) -> Option<Point> {
        let [x, y, w] = times(&self.inverse, [point.x, point.y, 1.0]);
        (w > 1.0 / FAR).then(|| Point::new(x / w, y / w))
    }

    /// Where a rectangle's corners are in the output; `None` if one lies behind the camera.
    pub fn corners(&self, rect: &Rect) -> Option<[Point; 4]> {
        let [a, b, c, d] = rect.corners().map(|corner| self.project(corner));
        Some([a?, b?, c?, d?])
    }

    /// Which part of the layer fills the output.
    pub fn seen(&self) -> Seen {
        let (width, height) = self.output;
        let corners = Rect::new(0.0, 0.0, width, height).corners();
        let ends = corners.map(|corner| times(&self.inverse, [corner.x, corner.y, 1.0]));
        // The third coordinate is linear over the output, so that its horizon cuts the output along a straight line.
        let limit = 1.0 / FAR;
        let mut polygon = Vec::with_capacity(5);
        for i in 0..4 {
            let (a, b) = (ends[i], ends[(i + 1) % 4]);
            if a[2] >= limit {
                polygon.push(Point::new(a[0] / a[2], a[1] / a[2]));
            }
            if (a[2] >= limit) != (b[2] >= limit) {
                let t = (limit - a[2]) / (b[2] - a[2]);
                polygon.push(Point::new((a[0] + (b[0] - a[0]) * t) / limit, (a[1] + (b[1] - a[1]) * t) / limit));
            }
        }
        Seen { horizon: ends.iter().any(|end| end[2] < limit), polygon }
    }
}

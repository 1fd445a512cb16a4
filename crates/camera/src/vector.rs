//! 3x3 matrices as rows.

pub(crate) type Matrix = [[f64; 3]; 3];

pub(crate) const IDENTITY: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];

pub(crate) fn product(a: &Matrix, b: &Matrix) -> Matrix {
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| a[i][0] * b[0][j] + a[i][1] * b[1][j] + a[i][2] * b[2][j]))
}

pub(crate) fn times(m: &Matrix, v: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|i| m[i][0] * v[0] + m[i][1] * v[1] + m[i][2] * v[2])
}

/// The sine and cosine of an angle in degrees, exact at multiples of a right angle.
pub(crate) fn sin_cos(degrees: f64) -> (f64, f64) {
    let turned = degrees.rem_euclid(360.0);
    let quarter = (turned / 90.0).round();
    let (sin, cos) = (turned - quarter * 90.0).to_radians().sin_cos();
    match quarter as i64 & 3 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

/// The camera's axes right, up and forward as the columns, in the axes at rest (x right, y up, z forward), for a camera
/// turned to the right by `yaw`, up by `pitch` and clockwise by `roll` degrees.
pub(crate) fn rotation(yaw: f64, pitch: f64, roll: f64) -> Matrix {
    let ((sy, cy), (sp, cp), (sr, cr)) = (sin_cos(yaw), sin_cos(pitch), sin_cos(roll));
    let right = [cy, 0.0, -sy];
    let up = [-sy * sp, cp, -cy * sp];
    let forward = [sy * cp, sp, cy * cp];
    [0, 1, 2].map(|axis| [cr * right[axis] - sr * up[axis], cr * up[axis] + sr * right[axis], forward[axis]])
}

/// Yaw, pitch and roll in degrees of such axes; at a pitch of a right angle the roll is 0.
pub(crate) fn angles(m: &Matrix) -> (f64, f64, f64) {
    let pitch = m[1][2].clamp(-1.0, 1.0).asin();
    if m[1][2].abs() > 1.0 - 1e-12 {
        return ((-m[2][0]).atan2(m[0][0]).to_degrees(), pitch.to_degrees(), 0.0);
    }
    let yaw = m[0][2].atan2(m[2][2]);
    // The height of right is -sin(roll) cos(pitch), that of up cos(roll) cos(pitch).
    let roll = (-m[1][0]).atan2(m[1][1]);
    (yaw.to_degrees(), pitch.to_degrees(), roll.to_degrees())
}

pub(crate) fn adjugate(m: &Matrix) -> Matrix {
    let minor = |r0: usize, c0: usize, r1: usize, c1: usize| m[r0][c0] * m[r1][c1] - m[r0][c1] * m[r1][c0];
    [
        [minor(1, 1, 2, 2), -minor(0, 1, 2, 2), minor(0, 1, 1, 2)],
        [-minor(1, 0, 2, 2), minor(0, 0, 2, 2), -minor(0, 0, 1, 2)],
        [minor(1, 0, 2, 1), -minor(0, 0, 2, 1), minor(0, 0, 1, 1)],
    ]
}

pub(crate) fn norm(m: &Matrix) -> f64 {
    m.iter().flatten().map(|value| value * value).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn angles_come_back(yaw in -179.0..179.0, pitch in -89.0..89.0, roll in -179.0..179.0) {
            let (a, b, c) = angles(&rotation(yaw, pitch, roll));
            prop_assert!((a - yaw).abs() < 1e-9 && (b - pitch).abs() < 1e-9 && (c - roll).abs() < 1e-9);
        }

        #[test]
        fn axes_stay_axes(yaw in -999.0..999.0, pitch in -999.0..999.0, roll in -999.0..999.0) {
            let m = rotation(yaw, pitch, roll);
            let transposed = [0, 1, 2].map(|i| [0, 1, 2].map(|j: usize| m[j][i]));
            let one = product(&transposed, &m);
            for i in 0..3 {
                for j in 0..3 {
                    prop_assert!((one[i][j] - IDENTITY[i][j]).abs() < 1e-14);
                }
            }
        }
    }

    #[test]
    fn right_angles_are_exact() {
        assert_eq!(
            [0.0, 90.0, 180.0, 270.0, -90.0].map(sin_cos),
            [(0.0, 1.0), (1.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (-1.0, 0.0)]
        );
    }
}

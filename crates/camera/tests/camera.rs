//! Where the camera is, and what it sees.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail")]
#![allow(clippy::float_cmp, reason = "what is promised to be exact is compared exactly")]

use outframe_camera::{
    Channel, Dial, Easing, Error, Fit, FrameRate, Homography, Keyframe, Move, MoveKind, Point, Pose, Rect, Shot,
    Shutter, path,
};
use proptest::prelude::*;

const FRAME: Rect = Rect::new(-300.0, 120.0, 1600.0, 900.0);

fn shot(moves: &[Move]) -> Shot {
    Shot { moves: moves.to_vec(), ..Shot::new(FRAME, 1280, 720) }
}

fn whole(kind: MoveKind, end: f64) -> Move {
    Move::new(kind, 0.0, 119.0, kind.rest(), end)
}

fn held(kind: MoveKind, amount: f64) -> Move {
    Move::new(kind, 0.0, 0.0, amount, amount)
}

fn last(moves: &[Move], depth: f64) -> Homography {
    let shot = shot(moves);
    shot.track().unwrap().camera(shot.last()).homography(depth).unwrap()
}

fn near(a: Point, x: f64, y: f64, tolerance: f64) -> bool {
    (a.x - x).abs() <= tolerance && (a.y - y).abs() <= tolerance
}

/// A pinhole camera written down step by step, as an independent check of the matrices: turn the point's direction about
/// the camera's axes one by one, then divide.
fn by_hand(pose: &Pose, lens: f64, view: &Rect, output: (f64, f64), depth: f64, point: Point) -> Option<(f64, f64)> {
    let distance = view.width * lens / 36.0;
    let centre = view.centre();
    let x = (point.x - centre.x) * depth - pose.x * view.width;
    let y = (centre.y - point.y) * depth - pose.y * view.height;
    let z = distance * depth - pose.z * distance;
    let (yaw, pitch, roll) = (pose.yaw.to_radians(), pose.pitch.to_radians(), pose.roll.to_radians());
    // Turned right by yaw: what was ahead is to the left.
    let (x, z) = (x * yaw.cos() - z * yaw.sin(), x * yaw.sin() + z * yaw.cos());
    // Turned up: what was ahead is below.
    let (y, z) = (y * pitch.cos() - z * pitch.sin(), y * pitch.sin() + z * pitch.cos());
    // Turned clockwise: what was to the right is above.
    let (x, y) = (x * roll.cos() - y * roll.sin(), x * roll.sin() + y * roll.cos());
    if z <= distance * depth * 1e-6 {
        return None;
    }
    let focal = distance * pose.focal;
    Some(((focal * x / z / view.width + 0.5) * output.0, (0.5 - focal * y / z / view.height) * output.1))
}

fn poses() -> impl Strategy<Value = Pose> {
    ((-2.0..2.0, -2.0..2.0, -3.0..0.6), (-50.0..50.0, -50.0..50.0, -200.0..200.0), 0.3..4.0)
        .prop_map(|((x, y, z), (yaw, pitch, roll), focal)| Pose { x, y, z, yaw, pitch, roll, focal })
}

fn keyed(pose: &Pose) -> Shot {
    let values = [pose.x, pose.y, pose.z, pose.yaw, pose.pitch, pose.roll, pose.focal];
    let keyframes = Channel::ALL
        .into_iter()
        .zip(values)
        .map(|(channel, value)| Keyframe { channel, frame: 0.0, value, easing: Easing::Linear })
        .collect();
    Shot { keyframes, ..shot(&[]) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn corners_are_those_of_a_pinhole_camera(pose in poses(), depth in 0.7..20.0, lens in 15.0..200.0) {
        let shot = Shot { lens, ..keyed(&pose) };
        let track = shot.track().unwrap();
        prop_assert_eq!(track.pose(7.0), pose);
        let homography = match track.camera(0.0).homography(depth) {
            Ok(homography) => homography,
            Err(Error::IllConditioned { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        for corner in FRAME.corners() {
            if let Some((x, y)) = by_hand(&pose, lens, &FRAME, (1280.0, 720.0), depth, corner) {
                let seen = homography.project(corner).unwrap();
                let scale = 1e-9 * (1.0 + x.abs().max(y.abs()) / 1000.0);
                // Near the camera's own plane a point is at infinity, and so is each error.
                if x.abs().max(y.abs()) < 1e5 {
                    prop_assert!(near(seen, x, y, scale.max(1e-9)), "{seen:?} {x} {y}");
                }
            } else {
                prop_assert!(homography.project(corner).is_none_or(|p| p.x.abs().max(p.y.abs()) > 1e4));
            }
        }
    }

    #[test]
    fn there_and_back_again(pose in poses(), depth in 0.7..20.0, x in 0.0..1280.0, y in 0.0..720.0) {
        let shot = keyed(&pose);
        let homography = shot.track().unwrap().camera(0.0).homography(depth);
        let point = homography.as_ref().ok().and_then(|homography| homography.unproject(Point::new(x, y)));
        if let Some(point) = point.filter(|point| point.x.abs().max(point.y.abs()) < 1e5) {
            let back = homography.unwrap().project(point).unwrap();
            prop_assert!(near(back, x, y, 1e-8), "{back:?} {x} {y}");
        }
    }

    #[test]
    fn at_rest_all_depths_are_the_flat_canvas(depth in 0.01..1000.0, lens in 10.0..300.0) {
        let shot = Shot { lens, ..shot(&[]) };
        let homography = shot.track().unwrap().camera(3.0).homography(depth).unwrap();
        prop_assert_eq!(homography.forward(), [[0.8, 0.0, 240.0], [0.0, 0.8, -96.0], [0.0, 0.0, 1.0]]);
    }

    #[test]
    fn a_tiny_move_is_near_rest(depth in 0.1..100.0, pan in -1e-6..1e-6) {
        let homography = last(&[whole(MoveKind::Pan, pan)], depth);
        for corner in FRAME.corners() {
            let seen = homography.project(corner).unwrap();
            prop_assert!(near(seen, (corner.x + 300.0) * 0.8, (corner.y - 120.0) * 0.8, 1e-3));
        }
    }

    #[test]
    fn dolly_zoom_keeps_the_subject(amount in -3.0..0.9, others in -0.05..0.05) {
        let homography = last(&[whole(MoveKind::DollyZoom, amount)], 1.0);
        for corner in FRAME.corners() {
            let seen = homography.project(corner).unwrap();
            prop_assert!(near(seen, (corner.x + 300.0) * 0.8, (corner.y - 120.0) * 0.8, 1e-9));
        }
        // Farther planes grow when the camera pulls out, and shrink when it goes in.
        prop_assume!(amount.abs() > 0.01);
        let [a, b, ..] = last(&[whole(MoveKind::DollyZoom, amount)], 3.0).corners(&FRAME).unwrap();
        let grown = b.x - a.x - 1280.0;
        prop_assert!(grown.abs() > 0.1 && (grown < 0.0) == (amount > 0.0));
        // With a dolly beside it, the subject has the size that the dolly alone gives it.
        let both = last(&[whole(MoveKind::DollyZoom, amount), whole(MoveKind::Dolly, others)], 1.0);
        let alone = last(&[whole(MoveKind::Dolly, others)], 1.0);
        let (p, q) = (both.project(Point::new(0.0, 200.0)).unwrap(), alone.project(Point::new(0.0, 200.0)).unwrap());
        prop_assert!(near(p, q.x, q.y, 1e-8));
    }

    #[test]
    fn handheld_is_repeatable_bounded_and_gone_at_zero(seed: u64, amount in 0.0..10.0, time in 0.0..119.0) {
        let mut handheld = shot(&[held(MoveKind::Handheld, amount)]);
        handheld.seed = seed;
        let pose = handheld.track().unwrap().pose(time);
        prop_assert_eq!(pose, handheld.clone().track().unwrap().pose(time));
        let part = amount / 100.0;
        prop_assert!(pose.x.abs() <= part * 0.25 && pose.y.abs() <= part * 0.25 && pose.z == 0.0);
        prop_assert!(pose.roll.abs() <= part * 40.0);
        let middle = handheld.track().unwrap().camera(time).homography(1.0).unwrap().project(FRAME.centre()).unwrap();
        prop_assert!((middle.x - 640.0).abs() <= 1280.0 * part * 1.4 + 1e-9);
        prop_assert!((middle.y - 360.0).abs() <= 720.0 * part * 1.4 + 1e-9);
        handheld.moves[0] = held(MoveKind::Handheld, 0.0);
        prop_assert_eq!(handheld.track().unwrap().pose(time), Pose::REST);
    }

    #[test]
    fn orbit_keeps_its_pivot_in_the_middle(azimuth in -80.0..80.0, elevation in -60.0..60.0) {
        let homography = last(&[whole(MoveKind::Orbit, azimuth), whole(MoveKind::Elevation, elevation)], 1.0);
        let seen = homography.project(FRAME.centre()).unwrap();
        prop_assert!(near(seen, 640.0, 360.0, 1e-8), "{seen:?}");
    }

    #[test]
    fn crane_keeps_the_subject_in_the_middle(amount in -2.0..2.0, dolly in -1.0..0.5) {
        let homography = last(&[whole(MoveKind::Crane, amount), whole(MoveKind::Dolly, dolly)], 1.0);
        let seen = homography.project(FRAME.centre()).unwrap();
        prop_assert!(near(seen, 640.0, 360.0, 1e-8), "{seen:?}");
    }

    #[test]
    fn reframe_goes_from_box_to_box(x in -500.0..500.0, y in -500.0..500.0, width in 100.0..4000.0, amount in 0.0..1.0) {
        let (start, end) = (Rect::new(0.0, 200.0, 800.0, 450.0), Rect::new(x, y, width, width * 0.5625));
        let shot = shot(&[Move::reframe(0.0, 119.0, start, end).eased(Easing::Linear)]);
        let track = shot.track().unwrap();
        for (time, rect) in [(0.0, start), (119.0, end)] {
            let corners = track.camera(time).homography(1.0).unwrap().corners(&rect).unwrap();
            prop_assert!(near(corners[0], 0.0, 0.0, 1e-7) && near(corners[2], 1280.0, 720.0, 1e-7), "{corners:?}");
        }
        // The top left corner of what is seen lies on the line between the two boxes' corners.
        let seen = track.camera(119.0 * amount).homography(1.0).unwrap().unproject(Point::default()).unwrap();
        let cross = (seen.x - start.x) * (end.y - start.y) - (seen.y - start.y) * (end.x - start.x);
        prop_assert!(cross.abs() < 1e-6 * (1.0 + (end.x - start.x).hypot(end.y - start.y)), "{cross}");
    }

    #[test]
    fn dials_come_back(tenths in -100_i16..=100) {
        let shown = f64::from(tenths) / 10.0;
        let dial = Dial::nearest(shown);
        prop_assert_eq!(dial.value(), shown);
        for kind in MoveKind::ALL {
            let expected = match kind {
                MoveKind::Static => Dial::default(),
                MoveKind::Handheld | MoveKind::Reframe => Dial::nearest(shown.max(0.0)),
                _ => dial,
            };
            prop_assert_eq!(kind.dial(kind.amount(dial)), expected);
            let (low, high) = kind.range();
            prop_assert!((low..=high).contains(&kind.amount(dial)));
        }
    }

    #[test]
    fn moves_add_up(a in -30.0..30.0, b in -30.0..30.0, time in 0.0..119.0) {
        let both = shot(&[whole(MoveKind::Pan, a), whole(MoveKind::Pan, b)]);
        let one = shot(&[whole(MoveKind::Pan, a + b)]);
        prop_assert!((both.track().unwrap().pose(time).yaw - one.track().unwrap().pose(time).yaw).abs() < 1e-9);
    }
}

#[test]
fn a_static_shot_does_not_move() {
    let shot = shot(&[whole(MoveKind::Static, 3.0), held(MoveKind::Zoom, 1.0), held(MoveKind::Truck, 0.0)]);
    let poses = shot.poses().unwrap();
    assert_eq!(poses.len(), 120);
    assert!(poses.iter().all(|pose| *pose == Pose::REST));
    let held = self::shot(&[held(MoveKind::Roll, 12.0), held(MoveKind::Zoom, 1.7)]).poses().unwrap();
    assert!(held.iter().all(|pose| *pose == held[0]));
}

#[test]
fn truck_moves_the_subject_by_frame_widths_and_others_by_their_depth() {
    for (depth, pixels) in [(1.0, 640.0), (2.0, 320.0), (0.5, 1280.0)] {
        let seen = last(&[whole(MoveKind::Truck, 0.5)], depth).project(FRAME.centre()).unwrap();
        assert!(near(seen, 640.0 - pixels, 360.0, 1e-9), "{seen:?}");
    }
    let seen = last(&[whole(MoveKind::Pedestal, 0.5)], 1.0).project(FRAME.centre()).unwrap();
    assert!(near(seen, 640.0, 720.0, 1e-9), "{seen:?}");
}

#[test]
fn zoom_and_dolly_halve_what_is_seen() {
    for (kind, amount) in [(MoveKind::Zoom, 2.0), (MoveKind::Dolly, 0.5)] {
        let homography = last(&[whole(kind, amount)], 1.0);
        let left = homography.unproject(Point::new(0.0, 360.0)).unwrap();
        let right = homography.unproject(Point::new(1280.0, 360.0)).unwrap();
        assert!((right.x - left.x - 800.0).abs() < 1e-9);
    }
    // A zoom leaves parallax alone, a dolly does not.
    let width = |moves: &[Move]| {
        let [a, b, ..] = last(moves, 2.0).corners(&FRAME).unwrap();
        b.x - a.x
    };
    assert!((width(&[whole(MoveKind::Zoom, 2.0)]) - 2560.0).abs() < 1e-9);
    assert!((width(&[whole(MoveKind::Dolly, 0.5)]) - 1280.0 / 0.75).abs() < 1e-9);
}

#[test]
fn a_zoom_goes_by_equal_factors() {
    let shot = shot(&[whole(MoveKind::Zoom, 4.0).eased(Easing::Linear)]);
    let track = shot.track().unwrap();
    assert!((track.pose(59.5).focal - 2.0).abs() < 1e-12);
    assert_eq!(track.pose(119.0).focal, 4.0);
}

#[test]
fn roll_turns_the_picture_anticlockwise() {
    let shot = Shot {
        width: 900,
        height: 900,
        moves: vec![held(MoveKind::Roll, 90.0)],
        ..Shot::new(Rect::new(0.0, 0.0, 900.0, 900.0), 900, 900)
    };
    let homography = shot.track().unwrap().camera(0.0).homography(1.0).unwrap();
    // What was to the right is above, what was above is to the left.
    assert!(near(homography.project(Point::new(900.0, 450.0)).unwrap(), 450.0, 0.0, 1e-12));
    assert!(near(homography.project(Point::new(450.0, 0.0)).unwrap(), 0.0, 450.0, 1e-12));
}

#[test]
fn turning_moves_the_picture_the_other_way() {
    let pan = last(&[whole(MoveKind::Pan, 5.0)], 1.0).project(FRAME.centre()).unwrap();
    let tilt = last(&[whole(MoveKind::Tilt, 5.0)], 1.0).project(FRAME.centre()).unwrap();
    let distance = 1280.0 * 50.0 / 36.0;
    assert!(near(pan, 640.0 - distance * 5.0_f64.to_radians().tan(), 360.0, 1e-9));
    assert!(near(tilt, 640.0, 360.0 + distance * 5.0_f64.to_radians().tan(), 1e-9));
}

#[test]
fn the_order_is_path_then_translation_then_turning() {
    // A truck after an orbit goes along the orbiting camera's right, which the pan does not change.
    let pose = |moves: &[Move]| shot(moves).track().unwrap().pose(119.0);
    let orbit = pose(&[whole(MoveKind::Orbit, 90.0)]);
    let moves = [whole(MoveKind::Pan, 30.0), whole(MoveKind::Truck, 0.5), whole(MoveKind::Orbit, 90.0)];
    let all = pose(&moves);
    let distance = 1600.0 * 50.0 / 36.0;
    assert!((orbit.x - distance / 1600.0).abs() < 1e-12 && (orbit.z - 1.0).abs() < 1e-12 && orbit.yaw == -90.0);
    assert!((all.x - orbit.x).abs() < 1e-12 && (all.z - orbit.z - 800.0 / distance).abs() < 1e-12);
    assert!((all.yaw + 60.0).abs() < 1e-12);
    // The order in the list does not matter.
    let mut turned = moves;
    turned.reverse();
    assert_eq!(pose(&turned), all);
    // Pan goes before tilt: the horizon stays level in the pan, so a point straight above stays above.
    let both = last(&[whole(MoveKind::Pan, 20.0), whole(MoveKind::Tilt, 15.0)], 1.0);
    let roundabout = Pose { yaw: 20.0, pitch: 15.0, ..Pose::REST };
    let (x, y) = by_hand(&roundabout, 50.0, &FRAME, (1280.0, 720.0), 1.0, Point::new(400.0, 300.0)).unwrap();
    assert!(near(both.project(Point::new(400.0, 300.0)).unwrap(), x, y, 1e-9));
}

#[test]
fn windows_and_keyframes() {
    let mut shot = shot(&[Move::new(MoveKind::Pan, 10.0, 20.0, -5.0, 5.0).eased(Easing::Linear)]);
    let key = |channel, frame, value, easing| Keyframe { channel, frame, value, easing };
    shot.keyframes = vec![
        key(Channel::Roll, 30.0, 6.0, Easing::Linear),
        key(Channel::Roll, 10.0, 2.0, Easing::Linear),
        key(Channel::Roll, 40.0, 8.0, Easing::Hold),
        key(Channel::Roll, 50.0, 9.0, Easing::Linear),
        key(Channel::Focal, 0.0, 1.0, Easing::Linear),
        key(Channel::Focal, 10.0, 4.0, Easing::Linear),
    ];
    let track = shot.track().unwrap();
    assert_eq!([0.0, 10.0, 15.0, 20.0, 99.0].map(|time| track.pose(time).yaw), [-5.0, -5.0, 0.0, 5.0, 5.0]);
    assert_eq!(
        [0.0, 10.0, 20.0, 35.0, 49.0, 50.0, 60.0].map(|time| track.pose(time).roll),
        [2.0, 2.0, 4.0, 7.0, 8.0, 9.0, 9.0]
    );
    assert!((track.pose(5.0).focal - 2.0).abs() < 1e-12);
    assert_eq!(Channel::ALL.map(|channel| Channel::from_name(channel.name())), Channel::ALL.map(Some));
}

#[test]
fn opposite_moves_at_once_are_pointed_out() {
    let late = Move::new(MoveKind::Pan, 100.0, 119.0, 0.0, -3.0);
    let early = Move::new(MoveKind::Pan, 0.0, 50.0, 0.0, 5.0);
    assert!(shot(&[early, late, whole(MoveKind::Tilt, -4.0)]).clashes().is_empty());
    assert_eq!(shot(&[early, whole(MoveKind::Tilt, -4.0), whole(MoveKind::Pan, -1.0)]).clashes(), [(0, 2)]);
}

#[test]
fn how_many_pictures() {
    let film = FrameRate { numerator: 24000, denominator: 1001 };
    assert_eq!([5.0, 0.0, 0.02, 1.0, f64::NAN, -1.0].map(|seconds| film.frames_in(seconds)), [120, 1, 1, 24, 1, 1]);
    assert_eq!(FrameRate { numerator: 30, denominator: 1 }.frames_in(2.5), 75);
    assert_eq!(film.frames_in(1e300), outframe_camera::MAX_FRAMES);
}

#[test]
fn the_shutter_is_open_around_the_picture() {
    assert_eq!(Shutter::INSTANT.offsets(), [0.0]);
    assert_eq!(Shutter { angle: 180.0, samples: 2 }.offsets(), [-0.125, 0.125]);
    let offsets = Shutter { angle: 360.0, samples: 8 }.offsets();
    assert!(offsets.iter().sum::<f64>().abs() < 1e-12 && offsets.iter().all(|offset| offset.abs() < 0.5));
    let still = shot(&[]);
    let track = still.track().unwrap();
    assert!(track.exposures(0, &Shutter { angle: 180.0, samples: 5 }).iter().all(|camera| camera.pose() == Pose::REST));
}

#[test]
fn frames_of_other_proportions() {
    let square = Rect::new(0.0, 0.0, 1000.0, 1000.0);
    let with = |fit| Shot { fit, ..Shot::new(square, 1600, 900) };
    assert_eq!(with(Fit::Crop).view(), Rect::new(0.0, 218.75, 1000.0, 562.5));
    assert_eq!(with(Fit::Contain).view().height, 1000.0);
    assert!((with(Fit::Contain).view().width - 16000.0 / 9.0).abs() < 1e-9);
    assert_eq!(with(Fit::Stretch).view(), square);
    // Half a pixel is no reason to crop.
    assert_eq!(Shot::new(Rect::new(0.0, 0.0, 1000.0, 562.0), 1600, 900).view().width, 1000.0);
}

#[test]
fn what_cannot_be_seen_is_an_error() {
    let homography = |moves: &[Move], depth| {
        let shot = shot(moves);
        shot.track().unwrap().camera(shot.last()).homography(depth)
    };
    // Through a near plane towards a far one.
    assert_eq!(homography(&[whole(MoveKind::Dolly, 0.6)], 0.5).unwrap_err(), Error::Passed { depth: 0.5 });
    assert!(homography(&[whole(MoveKind::Dolly, 0.6)], 1.0).is_ok());
    assert!(matches!(homography(&[whole(MoveKind::DollyZoom, 1.0)], 2.0).unwrap_err(), Error::Lens { .. }));
    assert!(matches!(
        homography(&[whole(MoveKind::Orbit, 90.0)], 1.0).unwrap_err(),
        Error::Passed { .. } | Error::IllConditioned { .. }
    ));
    assert!(homography(&[], f64::NAN).is_err());
    assert!(homography(&[], 0.0).is_err());
    // Looking away sees nothing of the plane.
    let away = homography(&[whole(MoveKind::Pan, 180.0)], 1.0).unwrap();
    assert!(away.project(FRAME.centre()).is_none() && away.seen().polygon.is_empty() && away.corners(&FRAME).is_none());
    // Looking along it sees a part up to the horizon.
    let along = homography(&[whole(MoveKind::Pan, 80.0)], 1.0).unwrap();
    assert!(along.seen().horizon && along.seen().polygon.len() >= 3);
}

#[test]
fn nonsense_is_refused_with_its_place() {
    for (one, place) in [
        (Move::new(MoveKind::Pan, f64::NAN, 1.0, 0.0, 0.0), "from"),
        (Move::new(MoveKind::Pan, 5.0, 1.0, 0.0, 0.0), "to"),
        (Move::new(MoveKind::Zoom, 0.0, 1.0, 0.0, 1.0), "start"),
        (Move::new(MoveKind::Dolly, 0.0, 1.0, 0.0, 1.5), "end"),
        (Move::new(MoveKind::Pan, 0.0, 1.0, 0.0, 1.0).eased(Easing::CubicBezier([-0.1, 0.0, 1.0, 1.0])), "handle"),
    ] {
        let message = shot(&[whole(MoveKind::Pan, 1.0), one]).track().unwrap_err().to_string();
        assert!(message.contains("Move 1") && message.contains(place), "{message}");
    }
    assert_eq!(
        shot(&[Move::new(MoveKind::Reframe, 0.0, 1.0, 0.0, 1.0)]).track().unwrap_err(),
        Error::NoBoxes { index: 0 }
    );
    let mut bad = shot(&[]);
    bad.frame.width = f64::INFINITY;
    assert!(bad.track().is_err());
    bad = shot(&[]);
    bad.frames = 0;
    assert!(bad.track().is_err());
    bad = shot(&vec![held(MoveKind::Pan, 0.0); 1001]);
    assert!(matches!(bad.track(), Err(Error::TooMany { .. })));
}

#[test]
fn the_path_is_drawn_on_the_canvas() {
    let drawn = path(&shot(&[whole(MoveKind::Truck, 0.5), whole(MoveKind::Zoom, 2.0)]), 11).unwrap();
    assert_eq!(drawn.centres.len(), 11);
    assert!(near(drawn.centres[0], 500.0, 570.0, 1e-9) && near(drawn.centres[10], 1300.0, 570.0, 1e-9));
    assert!(near(drawn.start.unwrap()[0], -300.0, 120.0, 1e-9));
    assert!(near(drawn.end.unwrap()[2], 1700.0, 795.0, 1e-9));
    let away = path(&shot(&[whole(MoveKind::Pan, 180.0)]), 5).unwrap();
    assert!(away.end.is_none() && away.centres.len() < 5);
}

#[test]
fn serialised_and_back() {
    let shot = shot(&[whole(MoveKind::DollyZoom, 0.5).eased(Easing::EASY_EASE), Move::reframe(0.0, 9.0, FRAME, FRAME)]);
    let text = serde_json::to_string(&shot).unwrap();
    assert!(text.contains("\"dolly-zoom\""));
    assert_eq!(serde_json::from_str::<Shot>(&text).unwrap(), shot);
}

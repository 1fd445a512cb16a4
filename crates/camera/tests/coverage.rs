//! What a shot lacks, and the plan to paint it.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail")]
#![allow(clippy::float_cmp, reason = "what is promised to be exact is compared exactly")]

use outframe_camera::{Coverage, CoverageOptions, Easing, Move, MoveKind, PixelRect, Point, Rect, Shot, Shutter, plan};
use proptest::prelude::*;

const FRAME: Rect = Rect::new(0.0, 0.0, 1001.0, 563.0);
const KNOWN: PixelRect = PixelRect::new(0, 0, 1001, 563);

fn shot(moves: &[Move]) -> Shot {
    Shot { frames: 24, moves: moves.to_vec(), ..Shot::new(FRAME, 1001, 563) }
}

fn whole(kind: MoveKind, end: f64) -> Move {
    Move::new(kind, 0.0, 23.0, kind.rest(), end)
}

fn small() -> CoverageOptions {
    CoverageOptions { max_fill: (512, 512), overlap: 64, ..CoverageOptions::default() }
}

/// What holds for every plan.
fn check(shot: &Shot, depth: f64, covered: &[PixelRect], options: &CoverageOptions, coverage: &Coverage) {
    // Rectangles of whole pixels that overlap neither each other nor what is known.
    let mut known = covered.to_vec();
    for rect in &coverage.missing {
        assert!(!rect.is_empty());
        assert!(covered.iter().all(|other| rect.intersection(other).is_empty()));
    }
    let area: f64 = coverage.missing.iter().map(PixelRect::area).sum();
    assert!((area - coverage.missing_area).abs() < 0.5);
    assert!(coverage.lack.total() <= 1.0 + 1e-9 && (coverage.lack.total() > 0.0) == (area > 0.0));
    let mut painted = 0.0;
    for (index, fill) in coverage.fills.iter().enumerate() {
        assert!(
            fill.window.width() <= i64::from(options.max_fill.0)
                && fill.window.height() <= i64::from(options.max_fill.1)
        );
        assert!(!fill.paint.is_empty());
        for rect in &fill.paint {
            assert!(fill.window.contains(rect), "{fill:?}");
            assert!(known.iter().all(|other| rect.intersection(other).is_empty()), "{fill:?}");
            painted += rect.area();
        }
        // Context: known picture within the window that touches what is painted.
        let touches = fill.paint.iter().any(|rect| {
            let near = rect.grown(1).intersection(&fill.window);
            known.iter().any(|other| !other.intersection(&near).is_empty())
        });
        assert!(touches || !fill.has_context, "fill {index}");
        known.extend(&fill.paint);
    }
    assert!((painted - area).abs() < 0.5);
    // With what was painted nothing is missing.
    let again = plan(shot, depth, &known, options).unwrap();
    assert!(again.missing.is_empty() && again.fills.is_empty(), "{:?}", again.missing);
    // And indeed every point of every picture is on known canvas.
    if !coverage.beyond {
        let track = shot.track().unwrap();
        for frame in 0..shot.frames {
            let Ok(homography) = track.camera(f64::from(frame)).homography(depth) else { continue };
            for step in 0..200 {
                let at = Point::new(f64::from(step % 20) / 19.0 * 1001.0, f64::from(step / 20) / 9.0 * 563.0);
                let Some(seen) = homography.unproject(at) else { continue };
                let slack = 1e-5;
                assert!(
                    known.iter().any(|rect| {
                        seen.x >= rect.x0 as f64 - slack
                            && seen.x <= rect.x1 as f64 + slack
                            && seen.y >= rect.y0 as f64 - slack
                            && seen.y <= rect.y1 as f64 + slack
                    }),
                    "{seen:?}"
                );
            }
        }
    }
}

#[test]
fn nothing_is_planned_where_nothing_is_missing() {
    for moves in [vec![], vec![whole(MoveKind::Zoom, 2.0)], vec![whole(MoveKind::Dolly, 0.5)]] {
        let shot = shot(&moves);
        let coverage = plan(&shot, 1.0, &[KNOWN], &small()).unwrap();
        assert!(coverage.missing.is_empty() && coverage.fills.is_empty() && !coverage.beyond, "{coverage:?}");
        assert_eq!(coverage.to_string(), "lacks nothing");
        assert!(coverage.seen_area >= KNOWN.area());
    }
}

#[test]
fn a_truck_lacks_its_side() {
    let shot = shot(&[whole(MoveKind::Truck, 0.25)]);
    let coverage = plan(&shot, 1.0, &[KNOWN], &small()).unwrap();
    check(&shot, 1.0, &[KNOWN], &small(), &coverage);
    assert!((coverage.lack.right - 0.2).abs() < 0.01 && coverage.lack.left == 0.0 && coverage.lack.top == 0.0);
    assert_eq!(coverage.fills.len(), 2, "{coverage:?}");
    assert!(coverage.fills.iter().all(|fill| fill.has_context));
    // 64 pixels of known picture are in each window.
    assert!(coverage.fills.iter().all(|fill| fill.window.x0 <= 1001 - 64));
    // A layer twice as far moves half as much.
    let far = plan(&shot, 2.0, &[KNOWN], &small()).unwrap();
    assert!((far.lack.right - 0.111).abs() < 0.01);
    assert!(
        plan(&shot, 1.0, &[KNOWN], &CoverageOptions::default())
            .unwrap()
            .to_string()
            .starts_with("lacks 20 % on the right")
    );
}

#[test]
fn a_pull_out_lacks_all_sides() {
    let shot = shot(&[whole(MoveKind::Zoom, 0.5)]);
    let coverage = plan(&shot, 1.0, &[KNOWN], &small()).unwrap();
    check(&shot, 1.0, &[KNOWN], &small(), &coverage);
    let lack = coverage.lack;
    assert!((lack.total() - 0.75).abs() < 0.02);
    assert!((lack.left - lack.right).abs() < 0.02 && (lack.top - lack.bottom).abs() < 0.03, "{lack:?}");
    assert!(coverage.fills.iter().all(|fill| fill.has_context));
    // The sides, 500 pixels wide, take two columns of at most 512 - 64 pixels each, of three fills each; with larger
    // fills one column is enough.
    assert!(coverage.fills.len() <= 18, "{}", coverage.fills.len());
    let large = CoverageOptions { max_fill: (640, 640), ..small() };
    let coverage = plan(&shot, 1.0, &[KNOWN], &large).unwrap();
    check(&shot, 1.0, &[KNOWN], &large, &coverage);
    assert!(coverage.fills.len() <= 9, "{}", coverage.fills.len());
}

#[test]
fn only_new_lack_is_planned() {
    let first = shot(&[whole(MoveKind::Truck, 0.25)]);
    let mut known = vec![KNOWN];
    for fill in plan(&first, 1.0, &known, &small()).unwrap().fills {
        known.extend(fill.paint);
    }
    let more = shot(&[whole(MoveKind::Truck, 0.4)]);
    let coverage = plan(&more, 1.0, &known, &small()).unwrap();
    check(&more, 1.0, &known, &small(), &coverage);
    assert!((coverage.missing_area - 0.15 * KNOWN.area()).abs() < 0.03 * KNOWN.area());
    let less = shot(&[whole(MoveKind::Truck, 0.2)]);
    assert!(plan(&less, 1.0, &known, &small()).unwrap().fills.is_empty());
}

#[test]
fn holes_islands_and_nothing_known() {
    let still = shot(&[]);
    let ring = [
        PixelRect::new(0, 0, 1001, 200),
        PixelRect::new(0, 300, 1001, 563),
        PixelRect::new(0, 150, 400, 350),
        PixelRect::new(500, 150, 1001, 350),
    ];
    let hole = plan(&still, 1.0, &ring, &small()).unwrap();
    check(&still, 1.0, &ring, &small(), &hole);
    assert_eq!(hole.missing.iter().map(PixelRect::area).sum::<f64>(), 10_000.0);
    assert_eq!(hole.fills.len(), 1);
    assert_eq!(hole.fills[0].window, PixelRect::new(336, 136, 564, 364));
    assert!(hole.lack.inside > 0.0 && hole.lack.inside == hole.lack.total());

    let blank = plan(&still, 1.0, &[], &small()).unwrap();
    check(&still, 1.0, &[], &small(), &blank);
    assert_eq!(blank.fills.iter().filter(|fill| !fill.has_context).count(), 1);
    assert!(!blank.fills[0].has_context);
}

#[test]
fn passed_planes_horizons_and_limits() {
    // A plane that is passed at half the time is seen until then.
    let through = plan(&shot(&[whole(MoveKind::Dolly, 0.6)]), 0.5, &[KNOWN], &small()).unwrap();
    assert!(through.fills.is_empty() && through.seen_area > 0.0);
    let away = plan(&shot(&[Move::new(MoveKind::Pan, 0.0, 0.0, 180.0, 180.0)]), 1.0, &[], &small()).unwrap();
    assert!(away.missing.is_empty() && away.seen_area == 0.0);
    let limit = Some(PixelRect::new(-100, -100, 1100, 700));
    let options = CoverageOptions { limit, ..small() };
    let along = plan(&shot(&[whole(MoveKind::Pan, 80.0)]), 1.0, &[KNOWN], &options).unwrap();
    assert!(along.beyond && along.missing.iter().all(|rect| rect.x1 <= 1100 + 100));
    // The grid gets coarser where it would get too large, and a plan that is too large is refused.
    let coarse = CoverageOptions { granularity: 1, max_fill: (2048, 2048), ..CoverageOptions::default() };
    let wide = plan(&shot(&[Move::new(MoveKind::Zoom, 0.0, 0.0, 0.2, 0.2)]), 1.0, &[KNOWN], &coarse).unwrap();
    assert!(wide.granularity > 1);
    for bad in [
        CoverageOptions { overlap: 300, ..small() },
        CoverageOptions { granularity: 0, ..small() },
        CoverageOptions { max_fill: (0, 512), ..small() },
        CoverageOptions { margin: f64::NAN, ..small() },
    ] {
        assert!(plan(&shot(&[]), 1.0, &[KNOWN], &bad).is_err());
    }
}

#[test]
fn margin_and_shutter_need_more() {
    let still = shot(&[]);
    let margin = plan(&still, 1.0, &[KNOWN], &CoverageOptions { margin: 2.0, ..small() }).unwrap();
    assert!(margin.missing_area > 0.0);
    let moving = shot(&[Move::new(MoveKind::Truck, 0.0, 46.0, 0.0, 0.5).eased(Easing::Linear)]);
    let sharp = plan(&moving, 1.0, &[KNOWN], &CoverageOptions { granularity: 1, ..small() }).unwrap();
    let shutter = Shutter { angle: 360.0, samples: 8 };
    let blurred = plan(&moving, 1.0, &[KNOWN], &CoverageOptions { granularity: 1, shutter, ..small() }).unwrap();
    assert!(blurred.missing_area > sharp.missing_area);
}

/// Each fill takes in the whole overlap of what is known around what it paints, in as far as there is anything known.
#[test]
fn seams_have_the_overlap() {
    let shot = shot(&[whole(MoveKind::Truck, 0.5), whole(MoveKind::Pedestal, 0.9)]);
    let coverage = plan(&shot, 1.0, &[KNOWN], &small()).unwrap();
    check(&shot, 1.0, &[KNOWN], &small(), &coverage);
    let mut known = vec![KNOWN];
    for fill in &coverage.fills {
        for rect in &fill.paint {
            // Known picture that borders on what is painted lies in the window for another 64 pixels, or as far as it goes.
            for other in &known {
                let seam = rect.grown(1).intersection(other);
                if seam.is_empty() || (seam.width() == 1 && seam.height() == 1) {
                    continue;
                }
                let wanted = rect.grown(64).intersection(other).intersection(&PixelRect::new(
                    if seam.x1 <= rect.x0 { rect.x0 - 64 } else { seam.x0.max(rect.x0) },
                    if seam.y1 <= rect.y0 { rect.y0 - 64 } else { seam.y0.max(rect.y0) },
                    if seam.x0 >= rect.x1 { rect.x1 + 64 } else { seam.x1.min(rect.x1) },
                    if seam.y0 >= rect.y1 { rect.y1 + 64 } else { seam.y1.min(rect.y1) },
                ));
                assert!(fill.window.contains(&wanted), "{fill:?} {wanted:?}");
            }
        }
        known.extend(&fill.paint);
    }
}

#[test]
fn a_long_shot_over_a_large_canvas_needs_few_fills() {
    let frame = Rect::new(0.0, 0.0, 4096.0, 2304.0);
    let mut shot = Shot { frames: 240, ..Shot::new(frame, 3840, 2160) };
    shot.moves = vec![
        Move::new(MoveKind::Truck, 0.0, 239.0, 0.0, 0.6),
        Move::new(MoveKind::Roll, 0.0, 239.0, 0.0, 12.0),
        Move::new(MoveKind::Handheld, 0.0, 239.0, 1.0, 1.0),
    ];
    let options = CoverageOptions { shutter: Shutter { angle: 180.0, samples: 4 }, ..CoverageOptions::default() };
    let coverage = plan(&shot, 1.0, &[PixelRect::new(0, 0, 4096, 2304)], &options).unwrap();
    // The lack would fill ten whole windows; its thin slanting edges need some more.
    assert!((10..=28).contains(&coverage.fills.len()), "{}", coverage.fills.len());
    assert!(coverage.fills.iter().all(|fill| fill.has_context));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_plan_is_complete(
        pan in -12.0..12.0, roll in -40.0..40.0, truck in -0.6..0.6, pedestal in -0.6..0.6, zoom in 0.6..1.5, depth in 0.6..3.0,
        x in -200_i64..600, y in -200_i64..300, w in 50_i64..900, h in 50_i64..600,
    ) {
        let shot = Shot { frames: 6, ..shot(&[whole(MoveKind::Pan, pan), whole(MoveKind::Roll, roll), whole(MoveKind::Truck, truck),
            whole(MoveKind::Pedestal, pedestal), whole(MoveKind::Zoom, zoom)]) };
        let covered = [KNOWN, PixelRect::new(x, y, x + w, y + h)];
        let coverage = plan(&shot, depth, &covered, &small()).unwrap();
        check(&shot, depth, &covered, &small(), &coverage);
        // All of the lack hangs together with the frame, so that each fill has context.
        prop_assert!(coverage.fills.iter().all(|fill| fill.has_context));
    }
}

// What a layer shows at an output pixel under the homography of its depth.
//
// Inputs: `sheet`, a part of the layer with its levels, premultiplied linear light; `smooth_sampler`, bilinear in a level.
// The rows of `params` lead from the output pixel, relative to the middle of the block, to homogeneous texel coordinates of
// the sheet's finest level; they were multiplied out in double precision around local origins, so that single precision
// is exact far below a pixel wherever on the canvas the view is.
// Output: premultiplied linear light.
// Maths: the pixel's footprint is the image of its square under the map's derivative; from the derivative's singular
// values follow the level (by the shorter axis) and evenly spaced bilinear probes along both axes, with spacings such that
// the variance of the whole filter is that of two boxes of the footprint's width (as in the flat view), at any level.
// The layer's own rectangle cuts sharply: what the probes miss outside of it is left out of the mean, and the pixel's
// coverage by the rectangle is the alpha there.

@group(0) @binding(1) var sheet: texture_2d<f32>;
@group(0) @binding(4) var smooth_sampler: sampler;

const MOST_ANISOTROPY: f32 = 8.0;
// Beyond it a line of sight counts as not meeting the plane; the camera's own limit.
const HORIZON: f32 = 1e-4;

// The part of a texel's span that the rectangle's span holds.
fn held(texel: f32, start: f32, end: f32) -> f32 {
    return clamp(min(texel + 1.0, end) - max(texel, start), 0.0, 1.0);
}

// What a bilinear sample would give of a picture that is 1 in the rectangle's span and 0 outside.
fn held_smooth(at: f32, start: f32, end: f32) -> f32 {
    let texel = floor(at - 0.5);
    return mix(held(texel, start, end), held(texel + 1.0, start, end), at - 0.5 - texel);
}

fn covered(at: f32, start: f32, end: f32, width: f32) -> f32 {
    let from_start = clamp((at - start) / width + 0.5, 0.0, 1.0);
    let to_end = clamp((end - at) / width + 0.5, 0.0, 1.0);
    return max(from_start + to_end - 1.0, 0.0);
}

fn source(position: vec2<f32>) -> vec4<f32> {
    let pixel = vec3<f32>(position - params.middle, 1.0);
    let over = vec3<f32>(dot(params.row_x.xyz, pixel), dot(params.row_y.xyz, pixel), dot(params.row_w.xyz, pixel));
    if over.z <= HORIZON {
        return vec4<f32>(0.0);
    }
    let place = over.xy / over.z;
    let dx = (vec2<f32>(params.row_x.x, params.row_y.x) - place * params.row_w.x) / over.z;
    let dy = (vec2<f32>(params.row_x.y, params.row_y.y) - place * params.row_w.y) / over.z;
    let start = params.bounds.xy;
    let end = params.bounds.zw;
    let width = abs(dx) + abs(dy);
    let coverage = covered(place.x, start.x, end.x, width.x) * covered(place.y, start.y, end.y, width.y);
    if coverage <= 0.0 {
        return vec4<f32>(0.0);
    }
    let at = clamp(place, start, end);

    // Singular values of the derivative, and the direction of the larger in the sheet.
    let xx = dx.x * dx.x + dy.x * dy.x;
    let yy = dx.y * dx.y + dy.y * dy.y;
    let xy = dx.x * dx.y + dy.x * dy.y;
    let mean = 0.5 * (xx + yy);
    let spread = sqrt(max(0.25 * (xx - yy) * (xx - yy) + xy * xy, 0.0));
    let major = sqrt(mean + spread);
    let minor = max(sqrt(max(mean - spread, 0.0)), major / MOST_ANISOTROPY);
    var direction = vec2<f32>(1.0, 0.0);
    if spread > 0.01 * mean {
        if abs(xy) > 1e-6 * mean {
            direction = normalize(vec2<f32>(mean + spread - yy, xy));
        } else if yy > xx {
            direction = vec2<f32>(0.0, 1.0);
        }
    }
    let level = clamp(floor(log2(max(minor, 1.0))), 0.0, params.coarsest);
    let texel = exp2(level);
    let along = max(major / texel, 1.0);
    let across = max(minor / texel, 1.0);
    var count = vec2<f32>(1.0);
    var step = vec2<f32>(0.0);
    if along > 1.001 {
        count.x = clamp(ceil(along), 2.0, 16.0);
        step.x = sqrt(2.0 * (along * along - 1.0) / (count.x * count.x - 1.0)) * texel;
    }
    if across > 1.001 {
        count.y = clamp(ceil(across), 2.0, 16.0);
        step.y = sqrt(2.0 * (across * across - 1.0) / (count.y * count.y - 1.0)) * texel;
    }
    let reach = 0.5 * count.x * step.x + 0.5 * count.y * step.y + texel;
    let inside = all(at - reach >= start) && all(at + reach <= end);
    let sideways = vec2<f32>(-direction.y, direction.x);
    var sum = vec4<f32>(0.0);
    var weights = 0.0;
    for (var j = 0.0; j < count.y; j += 1.0) {
        for (var i = 0.0; i < count.x; i += 1.0) {
            let shift = vec2<f32>(i, j) - 0.5 * (count - 1.0);
            let probe = at + direction * (shift.x * step.x) + sideways * (shift.y * step.y);
            sum += textureSampleLevel(sheet, smooth_sampler, probe / params.sheet, level);
            if inside {
                weights += 1.0;
            } else {
                let fine = probe / texel;
                weights += held_smooth(fine.x, start.x / texel, end.x / texel)
                    * held_smooth(fine.y, start.y / texel, end.y / texel);
            }
        }
    }
    if weights <= 1e-4 {
        return vec4<f32>(0.0);
    }
    return sum * (coverage / weights);
}

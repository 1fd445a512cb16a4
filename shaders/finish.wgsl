// From light to the codes of a file or a screen. Behind it comes finish_target.wgsl or finish_direct.wgsl, which defines
// `light_at`.
//
// Inputs: `light_at`, premultiplied linear light.
// Output: sRGB codes with straight alpha; `fs_codes` 8 bits in 0..1, `fs_deep` 16 bits as integers.
// Maths: in this order, vignette by the natural fall-off cos^4 of the angle to the lens's axis, in linear light; what lies
// below the unpainted, in linear light; sRGB; grain, evenly spread noise by place and seed, strongest in the middle
// tones and nothing in black and white, on the codes; black bars of the letterbox; dither by less than half a code, so
// that a code that is exact stays as it is.

struct Params {
    // Where the block lies in the whole output, in pixels.
    offset: vec2<u32>,
    // The whole output, in pixels.
    whole: vec2<f32>,
    // What is seen of it between the bars: left, top, right, bottom.
    window: vec4<f32>,
    // The squared tangent of the angle at the corners; 0: no vignette.
    vignette: f32,
    // Amplitude of the grain in codes, 0..1.
    grain: f32,
    seed: u32,
    // 0: transparent, 1: checkerboard, 2: black.
    unpainted: u32,
    // 1: dither 8-bit codes.
    dither: u32,
    // Added to the place that dither and checkerboard depend on, so that tiles fit together.
    place_x: u32,
    place_y: u32,
    // Only for finish_direct.wgsl.
    opacity: f32,
    background: vec4<f32>,
}

@group(0) @binding(0) var<uniform> params: Params;

// Set when the pipeline is made: there is neither vignette nor grain nor letterbox nor checkerboard nor dither. Processors
// would compute them for every pixel before they leave them out.
override PLAIN: bool = false;

const CHECK_SIDE: u32 = 16u;

fn finished(position: vec2<f32>) -> vec4<f32> {
    let pixel = vec2<u32>(floor(position));
    let place = pixel + params.offset;
    let centre = vec2<f32>(place) + 0.5;
    if !PLAIN && (any(centre < params.window.xy) || any(centre > params.window.zw)) {
        return vec4<f32>(0.0, 0.0, 0.0, 1.0);
    }
    var color = light_at(position);
    if !PLAIN && params.vignette > 0.0 {
        let arm = centre - 0.5 * params.whole;
        let radius = dot(arm, arm) / (0.25 * dot(params.whole, params.whole));
        let cosine = 1.0 / (1.0 + params.vignette * radius);
        color = vec4<f32>(color.rgb * cosine * cosine, color.a);
    }
    if params.unpainted != 0u {
        var board = 0.0;
        if !PLAIN && params.unpainted == 1u {
            let square = (place + vec2<u32>(params.place_x, params.place_y)) / CHECK_SIDE;
            board = select(0.33, 0.60, ((square.x + square.y) & 1u) == 0u);
        }
        color = vec4<f32>(color.rgb + board * (1.0 - color.a), 1.0);
    }
    if color.a <= 0.0 {
        return vec4<f32>(0.0);
    }
    var code = encode(color.rgb / color.a);
    if !PLAIN && params.grain > 0.0 {
        // Two draws added up: a triangle, nearer to silver than an even spread.
        let value = noise(place, params.seed) + noise(place, params.seed ^ 0x9e3779b9u) - 1.0;
        code = clamp(code + params.grain * value * 4.0 * code * (1.0 - code), vec3<f32>(0.0), vec3<f32>(1.0));
    }
    return vec4<f32>(code, min(color.a, 1.0));
}

@fragment
fn fs_codes(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let value = finished(position.xy) * 255.0;
    var lift = vec3<f32>(0.5);
    if !PLAIN && params.dither == 1u {
        let place = vec2<u32>(floor(position.xy)) + params.offset + vec2<u32>(params.place_x, params.place_y);
        lift += 0.9 * (vec3<f32>(noise(place, 1u), noise(place, 2u), noise(place, 3u)) - 0.5);
    }
    return min(floor(value + vec4<f32>(lift, 0.5)), vec4<f32>(255.0)) / 255.0;
}

@fragment
fn fs_deep(@builtin(position) position: vec4<f32>) -> @location(0) vec4<u32> {
    return vec4<u32>(finished(position.xy) * 65535.0 + 0.5);
}

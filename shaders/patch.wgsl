// A part of a stored picture into a tile of its layer, at the canvas's own resolution.
//
// Inputs: `picture`, a part of a picture in sRGB codes with straight alpha; `cover`, a part of a greyscale mask (linear).
// Output: `fs_picture`: premultiplied linear light, to be put over the tile. `fs_mask`: (0, 0, 0, m), by which the tile is
// multiplied. `fs_cover`: (m, m, m, m), what a mask shows or, if inverted, hides.
// Maths: one texel to one canvas pixel where the sizes are the same; else Catmull-Rom over 4 x 4 texels (Keys 1981,
// a = -1/2) in sRGB codes, weights normalised at the borders, as the document's other readers do. Pictures larger than
// their place have been reduced before.

struct Params {
    // Added to a target pixel: the pixel in the patch.
    origin: vec2<i32>,
    // The patch, in canvas pixels.
    size: vec2<i32>,
    // The picture's part: x, y, width, height in the picture's own pixels.
    part: vec4<i32>,
    cover_part: vec4<i32>,
    // The whole picture, in its own pixels.
    whole: vec2<i32>,
    cover_whole: vec2<i32>,
    // 1: there is a mask.
    masked: i32,
    // 1: `fs_cover` gives what is hidden.
    inverted: i32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var picture: texture_2d<f32>;
@group(0) @binding(2) var cover: texture_2d<f32>;

// Set when the pipeline is made: the picture is as large as its place, and has no mask. Processors would read all texels of a
// scaled one before they leave them out.
override PLAIN: bool = false;

fn catmull_rom(distance: f32) -> f32 {
    let x = abs(distance);
    if x < 1.0 {
        return (1.5 * x - 2.5) * x * x + 1.0;
    }
    if x < 2.0 {
        return ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0;
    }
    return 0.0;
}

fn scaled(from_texture: texture_2d<f32>, at: vec2<i32>, whole: vec2<i32>, part: vec4<i32>) -> vec4<f32> {
    if all(whole == params.size) {
        return textureLoad(from_texture, at - part.xy, 0);
    }
    let place = (vec2<f32>(at) + 0.5) * vec2<f32>(whole) / vec2<f32>(params.size) - 0.5;
    let first = vec2<i32>(floor(place)) - 1;
    var sum = vec4<f32>(0.0);
    var weights = 0.0;
    for (var j = 0; j < 4; j++) {
        for (var i = 0; i < 4; i++) {
            let texel = first + vec2<i32>(i, j);
            if all(texel >= vec2<i32>(0)) && all(texel < whole) {
                let away = place - vec2<f32>(texel);
                let weight = catmull_rom(away.x) * catmull_rom(away.y);
                sum += weight * textureLoad(from_texture, clamp(texel - part.xy, vec2<i32>(0), part.zw - 1), 0);
                weights += weight;
            }
        }
    }
    return clamp(sum / weights, vec4<f32>(0.0), vec4<f32>(1.0));
}

@fragment
fn fs_picture(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let at = vec2<i32>(floor(position.xy)) + params.origin;
    if PLAIN {
        let code = textureLoad(picture, at - params.part.xy, 0);
        return to_half(vec4<f32>(decode(code.rgb) * code.a, code.a));
    }
    let code = scaled(picture, at, params.whole, params.part);
    var alpha = code.a;
    if params.masked == 1 {
        alpha *= scaled(cover, at, params.cover_whole, params.cover_part).r;
    }
    return to_half(vec4<f32>(decode(code.rgb) * alpha, alpha));
}

@fragment
fn fs_mask(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let at = vec2<i32>(floor(position.xy)) + params.origin;
    return vec4<f32>(0.0, 0.0, 0.0, scaled(cover, at, params.cover_whole, params.cover_part).r);
}

@fragment
fn fs_cover(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let at = vec2<i32>(floor(position.xy)) + params.origin;
    let shown = scaled(cover, at, params.cover_whole, params.cover_part).r;
    return to_half(vec4<f32>(select(shown, 1.0 - shown, params.inverted == 1)));
}

// Mixes a layer or a group with what lies below it. Put behind one of the source_*.wgsl, which defines `source`.
//
// Inputs: `source`; `below`, what has been drawn so far (only for `fs_blend`); both premultiplied linear light.
// Output: premultiplied linear light. `fs_over` is put over the target by the blend unit, `fs_mask` multiplies the target,
// `fs_blend` replaces it.
// Maths: W3C Compositing and Blending Level 1: co = cs (1 - ab) + as ab B(Cb, Cs) + cb (1 - as), B by section 9 and 10 in
// linear light; "add" is the sum, at most 1 ("plus-lighter" of the CSS working group).

struct Params {
    row_x: vec4<f32>,
    row_y: vec4<f32>,
    row_w: vec4<f32>,
    // The layer's rectangle in the sheet's finest texels: left, top, right, bottom.
    bounds: vec4<f32>,
    // The sheet's size in its finest texels.
    sheet: vec2<f32>,
    // The middle of the block, in its pixels.
    middle: vec2<f32>,
    // The index of the sheet's coarsest level.
    coarsest: f32,
    opacity: f32,
    mode: u32,
    // 1: the source says what is hidden (only for `fs_mask`).
    inverted: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(3) var below: texture_2d<f32>;

@fragment
fn fs_over(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    return to_half(source(position.xy) * params.opacity);
}

@fragment
fn fs_mask(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let value = source(position.xy).a;
    return vec4<f32>(0.0, 0.0, 0.0, select(value, 1.0 - value, params.inverted == 1u));
}

fn screen(b: vec3<f32>, s: vec3<f32>) -> vec3<f32> {
    return b + s - b * s;
}

fn hard_light(b: vec3<f32>, s: vec3<f32>) -> vec3<f32> {
    return select(screen(b, 2.0 * s - 1.0), b * 2.0 * s, s <= vec3<f32>(0.5));
}

fn soft_light(b: vec3<f32>, s: vec3<f32>) -> vec3<f32> {
    let darker = b - (1.0 - 2.0 * s) * b * (1.0 - b);
    let curve = select(sqrt(b), ((16.0 * b - 12.0) * b + 4.0) * b, b <= vec3<f32>(0.25));
    return select(b + (2.0 * s - 1.0) * (curve - b), darker, s <= vec3<f32>(0.5));
}

fn luminosity(color: vec3<f32>) -> f32 {
    return dot(color, vec3<f32>(0.3, 0.59, 0.11));
}

fn with_luminosity(from_color: vec3<f32>, wanted: f32) -> vec3<f32> {
    let color = from_color + (wanted - luminosity(from_color));
    let lum = luminosity(color);
    let low = min(min(color.r, color.g), color.b);
    let high = max(max(color.r, color.g), color.b);
    if low < 0.0 {
        return lum + (color - lum) * lum / max(lum - low, 1e-20);
    }
    if high > 1.0 {
        return lum + (color - lum) * (1.0 - lum) / max(high - lum, 1e-20);
    }
    return color;
}

fn mixed(mode: u32, b: vec3<f32>, s: vec3<f32>) -> vec3<f32> {
    switch mode {
        case 1u: { return b * s; }
        case 2u: { return screen(b, s); }
        case 3u: { return hard_light(s, b); }
        case 4u: { return soft_light(b, s); }
        case 5u: { return min(b + s, vec3<f32>(1.0)); }
        case 6u: { return min(b, s); }
        case 7u: { return max(b, s); }
        case 8u: { return with_luminosity(s, luminosity(b)); }
        case 9u: { return with_luminosity(b, luminosity(s)); }
        default: { return s; }
    }
}

fn straight(color: vec4<f32>) -> vec3<f32> {
    if color.a <= 0.0 {
        return vec3<f32>(0.0);
    }
    return clamp(color.rgb / color.a, vec3<f32>(0.0), vec3<f32>(1.0));
}

@fragment
fn fs_blend(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let above = source(position.xy) * params.opacity;
    let backdrop = textureLoad(below, vec2<i32>(floor(position.xy)), 0);
    if above.a <= 0.0 {
        return backdrop;
    }
    let both = above.a * backdrop.a * mixed(params.mode, straight(backdrop), straight(above));
    let color = above.rgb * (1.0 - backdrop.a) + both + backdrop.rgb * (1.0 - above.a);
    return to_half(vec4<f32>(color, above.a + backdrop.a * (1.0 - above.a)));
}

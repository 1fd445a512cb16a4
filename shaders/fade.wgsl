// A cross-fade of two finished pictures of the same size.
//
// Inputs: `first` and `second`, sRGB codes with straight alpha; `params.share` of the second, 0..1.
// Output: premultiplied linear light.
// Maths: a weighted sum of light and of alpha, as when two projectors are dimmed against each other.

struct Params {
    share: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var first: texture_2d<f32>;
@group(0) @binding(2) var second: texture_2d<f32>;

fn light(code: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(decode(code.rgb) * code.a, code.a);
}

@fragment
fn fs_fade(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let at = vec2<i32>(floor(position.xy));
    return mix(light(textureLoad(first, at, 0)), light(textureLoad(second, at, 0)), params.share);
}

// The next smaller level of a layer's tile or sheet.
//
// Inputs: `finer`, premultiplied linear light; `params.offset`, where its texel (0, 0) lands in the target.
// Output: premultiplied linear light.
// Maths: the mean of 2 x 2 texels, which in this colour space is what a coarser sensor would see.

struct Params {
    offset: vec2<i32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var finer: texture_2d<f32>;

@fragment
fn fs_halve(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let at = (vec2<i32>(floor(position.xy)) - params.offset) * 2;
    let upper = textureLoad(finer, at, 0) + textureLoad(finer, at + vec2<i32>(1, 0), 0);
    let lower = textureLoad(finer, at + vec2<i32>(0, 1), 0) + textureLoad(finer, at + vec2<i32>(1, 1), 0);
    return to_half((upper + lower) * 0.25);
}

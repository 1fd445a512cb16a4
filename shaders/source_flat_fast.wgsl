// As source_flat.wgsl, for adapters in software, where reading a texel is what costs.
//
// Inputs: `sheet` as in source_flat.wgsl; `taps`, per output column (row 0) and per output row (row 1) where the first two
// and the last two of up to four texels are sampled (0..1 across the sheet), and the two weights; `smooth_sampler`, bilinear.
// Output: premultiplied linear light.
// Maths: the same separable sum. Two neighbours with the weights a and b are one bilinear sample b / (a + b) of the way from
// the first to the second, times a + b: four samples instead of sixteen reads. Software places a sample in single
// precision; graphics cards do so in steps of 1/256 of a texel, which is too coarse, so they never get this one.

@group(0) @binding(1) var sheet: texture_2d<f32>;
@group(0) @binding(2) var taps: texture_2d<f32>;
@group(0) @binding(4) var smooth_sampler: sampler;

fn source(position: vec2<f32>) -> vec4<f32> {
    let pixel = vec2<i32>(floor(position));
    let across = textureLoad(taps, vec2<i32>(pixel.x, 0), 0);
    let down = textureLoad(taps, vec2<i32>(pixel.y, 1), 0);
    let upper = across.z * textureSampleLevel(sheet, smooth_sampler, vec2<f32>(across.x, down.x), 0.0)
        + across.w * textureSampleLevel(sheet, smooth_sampler, vec2<f32>(across.y, down.x), 0.0);
    let lower = across.z * textureSampleLevel(sheet, smooth_sampler, vec2<f32>(across.x, down.y), 0.0)
        + across.w * textureSampleLevel(sheet, smooth_sampler, vec2<f32>(across.y, down.y), 0.0);
    return down.z * upper + down.w * lower;
}

// Adds one moment of the exposure to those before: motion blur.
//
// Inputs: `moment`, premultiplied linear light; `before`, the sum so far.
// Output: the sum, premultiplied linear light; in single precision where the device can draw to it.
// Maths: a weighted sum of light, as on film. The weights add up to 1.

struct Params {
    weight: f32,
    // 0 for the first moment.
    keep: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var moment: texture_2d<f32>;
@group(0) @binding(3) var before: texture_2d<f32>;

@fragment
fn fs_accumulate(@builtin(position) position: vec4<f32>) -> @location(0) vec4<f32> {
    let at = vec2<i32>(floor(position.xy));
    var sum = params.weight * textureLoad(moment, at, 0);
    if params.keep > 0.0 {
        sum += textureLoad(before, at, 0);
    }
    return sum;
}

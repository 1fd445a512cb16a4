// What has been mixed in a target, for finish.wgsl.
//
// Inputs: `picture`.
// Output: premultiplied linear light.
// Maths: none; a texel is a pixel.

@group(0) @binding(2) var picture: texture_2d<f32>;

fn light_at(position: vec2<f32>) -> vec4<f32> {
    return textureLoad(picture, vec2<i32>(floor(position)), 0);
}

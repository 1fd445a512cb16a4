// What a group shows at an output pixel: what has been drawn of it by itself, in the same view.
//
// Inputs: `inner`, premultiplied linear light, of the target's size.
// Output: premultiplied linear light.
// Maths: none.

@group(0) @binding(1) var inner: texture_2d<f32>;

fn source(position: vec2<f32>) -> vec4<f32> {
    return textureLoad(inner, vec2<i32>(floor(position)), 0);
}

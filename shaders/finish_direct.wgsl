// A single layer over the background, for finish.wgsl: the way that a film over one picture takes, without a target between.
//
// Inputs: `source` of source_flat.wgsl or source_flat_fast.wgsl; `params.opacity` of the layer; `params.background`,
// premultiplied linear light.
// Output: premultiplied linear light.
// Maths: source over background; rounded to halves where a target would hold them.

fn light_at(position: vec2<f32>) -> vec4<f32> {
    let above = to_half(source(position) * params.opacity);
    return to_half(above + params.background * (1.0 - above.a));
}

// What a layer shows at an output pixel, when the way from the canvas to the output is a scaling and a shift.
//
// Inputs: `sheet`, a part of the layer at one level, premultiplied linear light; `taps`, per output column (rows 0 and 1)
// and per output row (rows 2 and 3) up to four weights, and the first texel and the number of texels they are for.
// Output: premultiplied linear light.
// Maths: a separable sum. The weights come from the processor in double precision (flat.rs): a box over the pixel's
// footprint, widened so that blur changes smoothly from level to level, and cut off sharply at the layer's own edges.

@group(0) @binding(1) var sheet: texture_2d<f32>;
@group(0) @binding(2) var taps: texture_2d<f32>;

// Set when the pipeline is made: every pixel is a single texel. Processors would read all sixteen.
override SINGLE: bool = false;

fn source(position: vec2<f32>) -> vec4<f32> {
    let pixel = vec2<i32>(floor(position));
    let columns = textureLoad(taps, vec2<i32>(pixel.x, 1), 0);
    let rows = textureLoad(taps, vec2<i32>(pixel.y, 3), 0);
    let first = vec2<i32>(i32(columns.x), i32(rows.x));
    if SINGLE {
        return textureLoad(sheet, first, 0);
    }
    let across = textureLoad(taps, vec2<i32>(pixel.x, 0), 0);
    let down = textureLoad(taps, vec2<i32>(pixel.y, 2), 0);
    // Written out: what is beyond a count has no weight, and indices that vary are slow on processors.
    return down.x * line(first, across) + down.y * line(first + vec2<i32>(0, 1), across)
        + down.z * line(first + vec2<i32>(0, 2), across) + down.w * line(first + vec2<i32>(0, 3), across);
}

fn line(at: vec2<i32>, across: vec4<f32>) -> vec4<f32> {
    return across.x * textureLoad(sheet, at, 0) + across.y * textureLoad(sheet, at + vec2<i32>(1, 0), 0)
        + across.z * textureLoad(sheet, at + vec2<i32>(2, 0), 0)
        + across.w * textureLoad(sheet, at + vec2<i32>(3, 0), 0);
}

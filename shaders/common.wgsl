// Shared by all shaders: put in front of each of them.
//
// Inputs: none; functions only, and the vertex stage, a triangle that covers the whole target.
// Colour space: `decode` leads from sRGB codes (0..1) to linear light, `encode` back; IEC 61966-2-1, both pieces.
// Maths: wherever "premultiplied" is said, colour is linear light times alpha.

@vertex
fn vs_cover(@builtin(vertex_index) index: u32) -> @builtin(position) vec4<f32> {
    return vec4<f32>(f32(index & 1u) * 4.0 - 1.0, f32(index >> 1u) * 4.0 - 1.0, 0.0, 1.0);
}

fn decode_one(code: f32) -> f32 {
    // Powers are approximate on some devices; black and white must not be.
    if code >= 1.0 {
        return 1.0;
    }
    if code <= 0.04045 {
        return max(code, 0.0) / 12.92;
    }
    return pow((code + 0.055) / 1.055, 2.4);
}

fn decode(code: vec3<f32>) -> vec3<f32> {
    return vec3<f32>(decode_one(code.x), decode_one(code.y), decode_one(code.z));
}

fn encode_one(light: f32) -> f32 {
    if light >= 1.0 {
        return 1.0;
    }
    if light <= 0.0031308 {
        return max(light, 0.0) * 12.92;
    }
    // 1.055 * light^(1 / 2.4) - 0.055 as a polynomial in the fourth root, nearest in the largest error, which is 1.6e-6: a
    // tenth of a code with 16 bits, the same on all devices, and a third of a power's time on processors.
    let t = sqrt(sqrt(light));
    let high = 0.65718734 + t * (-0.31841534 + t * 0.0682078);
    return -0.059546612 + t * (0.1396042 + t * (1.3659208 + t * (-0.8529567 + t * high)));
}

fn encode(light: vec3<f32>) -> vec3<f32> {
    return vec3<f32>(encode_one(light.x), encode_one(light.y), encode_one(light.z));
}

// Rounds to the 11 significant bits of a half, because devices may cut them off instead when they store.
fn to_half(value: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>((bitcast<vec4<u32>>(value) + vec4<u32>(0x1000u)) & vec4<u32>(0xffffe000u));
}

// PCG, by M. Jarzynski and M. Olano, "Hash Functions for GPU Rendering" (2020).
fn hash(value: u32) -> u32 {
    let state = value * 747796405u + 2891336453u;
    let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
    return (word >> 22u) ^ word;
}

// Evenly spread over 0..1 (1 excluded), from a place and a seed.
fn noise(place: vec2<u32>, seed: u32) -> f32 {
    return f32(hash(place.x + hash(place.y + hash(seed))) >> 8u) / 16777216.0;
}

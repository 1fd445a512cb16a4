//! The samplers, for those who offer them: programs that ask the worker do not link `outframe-diffusion`.

/// The names of the samplers that the worker knows, those of `outframe_diffusion::SAMPLERS`, which says what they are.
pub const SAMPLERS: [&str; 12] = [
    "dpmpp-2m",
    "dpmpp-2m-karras",
    "dpmpp-2m-sde",
    "dpmpp-2m-sde-karras",
    "euler",
    "euler-karras",
    "euler-a",
    "heun",
    "unipc",
    "ddim",
    "lcm",
    "tcd",
];

#[cfg(all(test, feature = "worker"))]
#[test]
fn they_are_those_that_exist() {
    assert_eq!(SAMPLERS, outframe_diffusion::SAMPLERS);
}

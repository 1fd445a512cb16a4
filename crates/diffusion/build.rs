//! Tells the tests and examples where libtorch lies, so that they run without a library path in the environment.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let (Some(libtorch), false) = (std::env::var_os("LIBTORCH"), cfg!(windows)) {
        let libtorch = libtorch.to_string_lossy();
        // Plain `rustc-link-arg` reaches unit tests, integration tests and examples alike.
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
}

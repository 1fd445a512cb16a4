//! Lets the worker find libtorch without `LD_LIBRARY_PATH`: first beside itself (an installed copy), then where it was built.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if std::env::var_os("CARGO_FEATURE_WORKER").is_none() || target == "windows" {
        return;
    }
    let origin = if target == "macos" { "@loader_path" } else { "$ORIGIN" };
    // For the tests, too.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{origin}/../lib/outframe");
    if let Ok(folder) = std::env::var("LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}/lib");
    }
}

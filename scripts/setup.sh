#!/usr/bin/env bash
# Prepares this machine for `make`: system packages, libtorch, cargo's configuration and, for tests and lints, their tools.
# Safe to run again: what is there is left alone. Usage: setup.sh [build|test|lint|bench]
set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-build}
gpu=${GPU:-cpu}

say() { printf '%s\n' "$*" >&2; }
die() { say "setup: $*"; exit 1; }

# --- Rust -----------------------------------------------------------------------------------------------------------
command -v cargo >/dev/null || die "cargo was not found. Install Rust 1.95 or newer from your system or with rustup, then run make again."
have=$(rustc --version | sed -E 's/^rustc ([0-9]+)\.([0-9]+).*/\1 \2/')
read -r major minor <<<"$have"
if [ "$major" -lt 1 ] || { [ "$major" -eq 1 ] && [ "$minor" -lt 95 ]; }; then
    die "Rust 1.95 or newer is needed; this is $(rustc --version)."
fi

# --- System packages ------------------------------------------------------------------------------------------------
# g++ compiles the C++ side of the libtorch bindings and C sources of SQLite; pip (in a virtual environment or from the system)
# finds libtorch in the package index; nasm assembles the film encoder; WebKitGTK draws the window; Mesa's lavapipe stands in
# for a graphics card. Tests drive the window on a virtual display (xvfb) through WebKit's driver.
debian=(
    libwebkit2gtk-4.1-dev nasm pkg-config
    mesa-vulkan-drivers libgl1-mesa-dri libegl1 libegl-mesa0 libgles2 libxkbcommon-x11-0 fonts-dejavu-core
)
debian_tests=(xvfb xauth webkit2gtk-driver dbus)
# The peers that benchmarks compare with.
debian_bench=(ffmpeg libvips-tools imagemagick)
case "$(uname -s)" in
Linux)
    if command -v apt-get >/dev/null; then
        missing=()
        command -v g++ >/dev/null || missing+=(g++)
        command -v git >/dev/null || missing+=(git)
        python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
        python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing+=(python3-venv)
        wanted=("${debian[@]}")
        [ "$purpose" = test ] && wanted+=("${debian_tests[@]}")
        [ "$purpose" = bench ] && wanted+=("${debian_tests[@]}" "${debian_bench[@]}")
        for package in "${wanted[@]}"; do
            dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -q '^installed' || missing+=("$package")
        done
        if [ ${#missing[@]} -gt 0 ]; then
            say "Installing system packages: ${missing[*]}"
            as_root=()
            if [ "$(id -u)" -ne 0 ]; then
                command -v sudo >/dev/null || die "sudo was not found. As root, run: apt-get install ${missing[*]}"
                as_root=(sudo)
            fi
            "${as_root[@]}" apt-get update -qq
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
        fi
    else
        command -v g++ >/dev/null || die "a C++ compiler (g++) is needed; install it with your package manager."
        command -v nasm >/dev/null || die "nasm is needed (it assembles the film encoder); install it with your package manager."
        python3 -m pip --version >/dev/null 2>&1 || die "Python's pip is needed; install it with your package manager."
        pkg-config --exists webkit2gtk-4.1 || die "WebKitGTK 4.1 with its headers is needed for the window; install it with your package manager."
    fi
    ;;
Darwin)
    # Untested: written down from the documentation.
    xcode-select -p >/dev/null 2>&1 || die "the command line tools are needed: run xcode-select --install"
    ;;
*)
    # Untested: on Windows run this in Git Bash with the Visual Studio build tools installed.
    say "This system is untested; going on."
    ;;
esac

# --- Node.js --------------------------------------------------------------------------------------------------------
# Builds the window's front end; the finished program does not need it.
if ! command -v npm >/dev/null || ! node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 22 || (a === 22 && b >= 12) || (a === 20 && b >= 19) ? 0 : 1)'; then
    die "Node.js 20.19, 22.12 or newer with npm is needed to build the window; $(node --version 2>/dev/null || echo none) was found."
fi

# --- libtorch -------------------------------------------------------------------------------------------------------
libtorch=$(python3 scripts/libtorch.py --gpu "$gpu")

# Tells cargo, and with it any editor, where libtorch lies; build scripts turn it into an rpath, so that nobody needs LD_LIBRARY_PATH.
mkdir -p .cargo
config=$(printf '# Written by `make setup`.\n[env]\nLIBTORCH = "%s"\n' "$libtorch")
if [ "$(cat .cargo/config.toml 2>/dev/null)" != "$config" ]; then
    printf '%s\n' "$config" >.cargo/config.toml
    say "libtorch: $libtorch"
fi

# --- Tools ----------------------------------------------------------------------------------------------------------
need() { # need COMMAND CRATE WHY
    command -v "$1" >/dev/null && return
    say "Installing $2 ($3); this compiles for some minutes, once"
    cargo install --locked --quiet "$2"
}
case "$purpose" in
test) need cargo-nextest cargo-nextest "runs the tests" ;;
lint) need cargo-deny cargo-deny "checks licences and sources of dependencies" ;;
esac

#!/usr/bin/env bash
# Prepares this machine for `make`: system packages, libtorch, cargo's configuration and, for tests and lints, their tools.
# Safe to run again: what is there is left alone. Usage: setup.sh [build|test|lint]
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
# finds libtorch in the package index.
case "$(uname -s)" in
Linux)
    if command -v apt-get >/dev/null; then
        missing=()
        command -v g++ >/dev/null || missing+=(g++)
        command -v git >/dev/null || missing+=(git)
        python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
        python3 -c 'import venv, ensurepip' >/dev/null 2>&1 || missing+=(python3-venv)
        if [ ${#missing[@]} -gt 0 ]; then
            say "Installing system packages: ${missing[*]} (compiler for the libtorch bindings; pip to find libtorch)"
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
        python3 -m pip --version >/dev/null 2>&1 || die "Python's pip is needed; install it with your package manager."
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

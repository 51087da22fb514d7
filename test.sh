#!/usr/bin/env bash
# Everything that has to hold before a commit: formatting, lints, licences, documentation, tests, other platforms.
set -euo pipefail
cd "$(dirname "$0")"
source scripts/adapter.sh

step() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

step "build"
cargo build --release
SHIFTNET=$PWD/${CARGO_TARGET_DIR:-target}/release/shiftnet
[ -x "$SHIFTNET" ] || SHIFTNET=${CARGO_TARGET_DIR:-}/release/shiftnet
ensure_adapter
"$SHIFTNET" devices

step "formatting"
cargo fmt --check

step "lints"
cargo clippy --release --all-targets -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --quiet

if command -v cargo-deny >/dev/null; then
    step "licences (cargo-deny)"
    cargo deny check licenses
fi

# Exports are run in ONNX Runtime, where it can be had.
if [ -z "${SHIFTNET_PYTHON:-}" ] && command -v python3 >/dev/null; then
    step "ONNX Runtime"
    [ -x target/venv-onnx/bin/python ] || python3 -m venv target/venv-onnx || echo "skipped: no virtual environment"
    if ! target/venv-onnx/bin/python -m pip install -q --disable-pip-version-check -r tests/onnx/requirements.txt; then
        echo "skipped: ONNX Runtime cannot be installed here"
        rm -rf target/venv-onnx
    fi
fi

# Shaders are compiled by Tint as well, where it can be had.
if command -v node >/dev/null && command -v npm >/dev/null; then
    step "Tint"
    mkdir -p target/tint
    cp tests/tint/package.json target/tint/
    if ! npm install --prefix target/tint --silent --no-package-lock --no-audit --no-fund --ignore-scripts; then
        echo "skipped: Tint cannot be installed here"
        rm -rf target/tint
    fi
fi

step "tests"
if [ -z "${SHIFTNET_DATA:-}" ] && [ ! -d ../shared/data ]; then
    echo "skipped: tests on CIFAR-10 and ImageNet files (SHIFTNET_DATA names their directory)"
fi
cargo test --release

if command -v python3 >/dev/null; then
    step "tests of the benchmarks' scripts"
    python3 -m unittest discover -q -s benches -p 'test_*.py'
    python3 -m unittest discover -q -s benches/peers -p 'test_*.py'
fi

targets=()
for target in x86_64-pc-windows-msvc aarch64-apple-darwin; do
    if rustup target add "$target" >/dev/null 2>&1; then
        targets+=(--target "$target")
    else
        echo "skipped: rustup cannot add $target here"
    fi
done
if [ ${#targets[@]} -gt 0 ]; then
    step "check ${targets[*]}"
    cargo check --release "${targets[@]}"
fi

step "done"

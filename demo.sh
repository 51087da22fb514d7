#!/usr/bin/env bash
# Builds shiftnet, trains a 3-bit network on the built-in images, and shows what it learned: on the GPU, or on the CPU
# cores where there is none. Any arguments go to `shiftnet train`.
set -euo pipefail
cd "$(dirname "$0")"

if ! command -v cargo >/dev/null; then
    echo "Rust is needed to build shiftnet: install it as www.rust-lang.org/tools/install says." >&2
    exit 1
fi
echo "Building (a few minutes the first time) ..."
cargo build --release --quiet
SHIFTNET=$PWD/${CARGO_TARGET_DIR:-target}/release/shiftnet
[ -x "$SHIFTNET" ] || SHIFTNET=${CARGO_TARGET_DIR:-}/release/shiftnet

begin=$SECONDS
"$SHIFTNET" train -a resnet8 --method s3 --bits 3 --limit 4000 --limit-val 1000 --epochs 8 -b 32 --lr 0.3 \
    --log-every 60 --out runs/demo --overwrite "$@"
echo
"$SHIFTNET" eval runs/demo
"$SHIFTNET" inspect runs/demo | grep -E 'distinct|layer.*weight .*x3x3|total|^\*'
"$SHIFTNET" report runs/demo
echo "That took $((SECONDS - begin)) seconds. Open runs/demo/report.html in a browser."

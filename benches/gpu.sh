#!/usr/bin/env bash
# Checks and measures everything on one GPU in under 10 minutes, from programs that were built elsewhere, so that the
# machine needs neither Rust nor the network: `gpu.sh pack DIR` collects them where they can be built, `DIR/gpu.sh OUT
# [ADAPTER]` runs them. PyTorch, where python3 has it, runs beside them. Writes JSON and text to OUT and prints goals.py's table.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ "${1:-}" = pack ]; then
    out=${2:?usage: benches/gpu.sh pack DIR}
    cd "$here/.."
    cargo build --release
    # The one executable of the tests of kernels.
    tests=$(cargo test --release --test kernels --no-run 2>&1 | sed -n 's/.*(\(.*kernels-[0-9a-f]*\)).*/\1/p')
    mkdir -p "$out"
    cp "${CARGO_TARGET_DIR:-target}/release/shiftnet" "$out/shiftnet"
    cp "$tests" "$out/kernels"
    cp -r benches/gpu.sh benches/goals.py benches/peers "$out/"
    echo "packed into $out: $(du -sh "$out" | cut -f1)"
    exit
fi

out=${1:?usage: gpu.sh OUT [ADAPTER], or gpu.sh pack DIR}
adapter=()
[ -z "${2:-}" ] || adapter=(--adapter "$2")
mkdir -p "$out"
step() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }
# A step that fails, or for which there is no time left, is told at the end; the others still run.
failed=() deadline=585
try() {
    local name=$1 limit=$2 left=$((deadline - SECONDS))
    shift 2
    step "$name"
    [ "$limit" -le "$left" ] || limit=$left
    [ "$limit" -ge 5 ] || { failed+=("$name (no time left)"); return; }
    timeout "$limit" "$@" 2>&1 | tee "$out/$name.txt" | tail -40 || failed+=("$name")
}

{
    try devices 30 "$here/shiftnet" devices
    # Without those of the host engine alone.
    try tests 150 "$here/kernels" --test-threads 4 --skip the_hosts --skip threads_change
    try resnet20 90 "$here/shiftnet" bench train -a resnet20 -b 512 --seconds 0.5 "${adapter[@]}" --json "$out/resnet20.json"
    for batch in 1 128; do
        try "infer20-$batch" 45 "$here/shiftnet" bench infer -a resnet20 -b $batch --seconds 0.2 "${adapter[@]}" --json "$out/infer20-$batch.json"
    done
    try infer18 60 "$here/shiftnet" bench infer -a resnet18 -b 128 --seconds 0.2 "${adapter[@]}" --json "$out/infer18.json"
    try resnet18 90 "$here/shiftnet" bench train -a resnet18 -b 256 --seconds 0.5 "${adapter[@]}" --json "$out/resnet18.json"
    try kernels18 120 "$here/shiftnet" bench kernels -a resnet18 -b 256 --seconds 0.1 --method s3 "${adapter[@]}" --json "$out/kernels18.json"
    try kernels20 90 "$here/shiftnet" bench kernels -a resnet20 -b 512 --seconds 0.1 --method s3 "${adapter[@]}" --json "$out/kernels20.json"
    if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
        for precision in fp32 tf32; do
            try "pytorch20-$precision" 60 python3 "$here/peers/pytorch/bench.py" --device cuda --batch-size 512 --precision $precision \
                --rounds 5 --json "$out/pytorch20-$precision.json"
            try "pytorch18-$precision" 90 python3 "$here/peers/pytorch/bench.py" --device cuda --arch resnet18 --batch-size 256 \
                --phase train --precision $precision --rounds 5 --json "$out/pytorch18-$precision.json"
        done
    fi
}
step "goals"
python3 "$here/goals.py" "$out"/*.json | tee "$out/goals.md" || true
[ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}"; exit 1; }

#!/usr/bin/env bash
# Measures what the README says of training: images/s of ResNet-20 at batch 128 with S³ and with fp32 (in turn, so
# that both see the same machine), peak and settled memory, and writes JSON to the file named first.
# Usage: benches/road.sh OUT.json [ADAPTER]
set -euo pipefail
out=$(realpath "${1:?usage: benches/road.sh OUT.json [ADAPTER]}")
cd "$(dirname "$0")/.."
adapter=()
[ -z "${2:-}" ] || adapter=(--adapter "$2")
cargo build --release --quiet
shiftnet=${CARGO_TARGET_DIR:-target}/release/shiftnet
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
steps=8 rounds=3

# One short run: appends images/s of its settled steps to $work/METHOD, its memory in KiB
# (after step 3, before the last, at most) to $work/memory.
one() {
    local method=$1 run=$work/run
    "$shiftnet" train -a resnet20 --method "$method" -b 128 --limit 1280 --limit-val 1 --max-steps $steps \
        --log-every 1 --quiet --out "$run" --overwrite "${adapter[@]}" &
    local pid=$! settled="" late="" now peak=0
    while kill -0 $pid 2>/dev/null; do
        now=$(awk '/VmHWM/ {print $2}' /proc/$pid/status 2>/dev/null || true)
        [ -z "$now" ] || peak=$now
        if [ -z "$settled" ] && grep -q '"step":3,' "$run/metrics.jsonl" 2>/dev/null; then
            settled=$(awk '/VmRSS/ {print $2}' /proc/$pid/status 2>/dev/null || true)
        fi
        if [ -z "$late" ] && grep -q "\"step\":$((steps - 1))," "$run/metrics.jsonl" 2>/dev/null; then
            late=$(awk '/VmRSS/ {print $2}' /proc/$pid/status 2>/dev/null || true)
        fi
        sleep 0.2
    done
    wait $pid
    echo "${settled:-0} ${late:-0} $peak" >>"$work/memory"
    sed -n 's/.*"event":"step".*"step":\([0-9]*\),.*"images_per_s":\([0-9.]*\).*/\1 \2/p' "$run/metrics.jsonl" |
        awk '$1 > 2 {print $2}' >>"$work/$method"
}

median() { sort -n "$1" | awk '{v[NR] = $1} END {print (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2}'; }

# The largest of column $1 of the memory figures.
largest() { awk -v c="$1" '$c > m {m = $c} END {print m}' "$work/memory"; }

for _ in $(seq $rounds); do
    one s3
    one fp32
done
s3=$(median "$work/s3") fp32=$(median "$work/fp32")
device=$("$shiftnet" devices --json)
cat >"$out" <<JSON
{
  "date": "$(date -u +%F)",
  "version": "$("$shiftnet" --version)",
  "command": "benches/road.sh $1 ${2:-}",
  "machine": "$(nproc) cores, $(sed -n 's/model name.*: //p' /proc/cpuinfo | head -1)",
  "devices": $device,
  "adapter_flag": "${2:-none: the default}",
  "resnet20_batch128": {
    "s3_images_per_s": $s3,
    "fp32_images_per_s": $fp32,
    "s3_time_over_fp32": $(awk "BEGIN {print $fp32 / $s3}"),
    "resident_after_step_3_kib": $(largest 1),
    "resident_after_step_$((steps - 1))_kib": $(largest 2),
    "peak_resident_with_evaluation_and_checkpoint_kib": $(largest 3),
    "rounds": $rounds,
    "steps_a_round": $steps
  }
}
JSON
cat "$out"

#!/usr/bin/env bash
# Measures shiftnet, PyTorch and Burn in turn on this machine, and prints compare.py's tables.
# Usage: benches/peers/run.sh [OPTION ...] OUT_DIR
#   --adapters "A B"   shiftnet's adapters, each as --adapter takes it   (default "host llvmpipe")
#   --rounds N         times that everything takes its turn              (default 3)
#   --arch A           resnet20, or resnet18 without burn               (default resnet20)
#   --batch-size N                                                       (default 128)
#   --only "P Q"       of shiftnet, pytorch and burn                     (default all)
#   --pytorch "FLAGS"  more flags of pytorch/bench.py, such as --device cuda --precision tf32
#   --burn "FLAGS"     more flags of burn, such as --device software
# Each round writes OUT_DIR/TOOL-ROUND.json. A virtual environment, Burn's build and what its tuning found are kept in
# $SHIFTNET_PEERS (default ~/.cache/shiftnet-peers). Burn's very first run tunes its kernels: half an hour on llvmpipe.
set -euo pipefail
usage() { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

adapters="host llvmpipe" rounds=3 arch=resnet20 batch=128 only="shiftnet pytorch burn" pytorch_flags="" burn_flags="" out=""
while [ $# -gt 0 ]; do
    case $1 in
        --adapters | --rounds | --arch | --batch-size | --only | --pytorch | --burn)
            [ $# -gt 1 ] || usage
            case $1 in
                --adapters) adapters=$2 ;;
                --rounds) rounds=$2 ;;
                --arch) arch=$2 ;;
                --batch-size) batch=$2 ;;
                --only) only=$2 ;;
                --pytorch) pytorch_flags=$2 ;;
                --burn) burn_flags=$2 ;;
            esac
            shift 2
            ;;
        -*) usage ;;
        *)
            [ -z "$out" ] || usage
            out=$1
            shift
            ;;
    esac
done
[ -n "$out" ] || usage
mkdir -p "$out"
if compgen -G "$out/*.json" >/dev/null; then
    echo "run.sh: $out holds measurements already: name a new directory" >&2
    exit 1
fi
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/../.."
peers=benches/peers
kept=${SHIFTNET_PEERS:-$HOME/.cache/shiftnet-peers}
mkdir -p "$kept"

wanted() { [[ " $only " == *" $1 "* ]]; }

if wanted shiftnet; then
    cargo build --release --quiet
    shiftnet=${CARGO_TARGET_DIR:-target}/release/shiftnet
fi
if wanted pytorch; then
    python=$kept/venv/bin/python
    [ -x "$python" ] || python3 -m venv "$kept/venv"
    "$python" -m pip install --quiet --disable-pip-version-check -r $peers/pytorch/requirements.txt
fi
if wanted burn; then
    CARGO_TARGET_DIR=$kept/burn cargo build --release --locked --quiet --manifest-path $peers/burn/Cargo.toml
    burn=$kept/burn/release/burn-peer
fi

say() { printf '%s  round %s of %s: %s\n' "$(date +%T)" "$round" "$rounds" "$*" >&2; }

# Flags that hold several words are split on purpose.
# shellcheck disable=SC2086
for round in $(seq "$rounds"); do
    if wanted shiftnet; then
        for adapter in $adapters; do
            for phase in train infer; do
                say "shiftnet $phase on $adapter"
                "$shiftnet" bench $phase --arch "$arch" --batch-size "$batch" --method both --adapter "$adapter" \
                    --json "$out/shiftnet-$phase-$adapter-$round.json" >/dev/null
            done
        done
    fi
    if wanted pytorch; then
        say "pytorch"
        "$python" $peers/pytorch/bench.py --arch "$arch" --batch-size "$batch" $pytorch_flags --json "$out/pytorch-$round.json"
    fi
    if wanted burn; then
        say "burn"
        "$burn" --arch "$arch" --batch-size "$batch" --cache "$kept/burn-tuned" $burn_flags --json "$out/burn-$round.json"
    fi
done
python3 $peers/compare.py "$out"/*.json

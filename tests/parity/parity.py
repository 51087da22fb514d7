#!/usr/bin/env python3
"""PyTorch parity of shiftnet: the same training, compared step by step and gradient by gradient.

    check     run a shiftnet binary and PyTorch from the same initial parameters; exit code 1 if they differ
    fixture   write the reference losses and gradients that the Rust tests read
    selftest  check the reference itself, without a binary
"""

import argparse
import json
import math
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from families import FAMILIES
from oracle import (MARGIN, PENALTIES, Method, Settings, both, cases, compare_losses, compare_state, first_step,
                    is_parameter, loss_run, plant_zeros, read_cifar, relu_margin, train)
from selftest import selftest


# ---- The binary ------------------------------------------------------------------------------------------------------

def shiftnet(args, settings, method, out, extra):
    """One `shiftnet train` into the fresh directory `out`."""
    shutil.rmtree(out, ignore_errors=True)
    command = [args.shiftnet, "train", "--dataset", "cifar10", "--data", args.data, "-a", settings.arch,
               "--shortcut", settings.shortcut, "--method", method.name if method else "fp32",
               *(["--bits", method.bits] if method else []), *(["--adapter", args.adapter] if args.adapter else []),
               "--batch-size", settings.batch, "--lr", settings.lr, "--momentum", settings.momentum,
               "--wd", settings.wd, "--alpha", settings.alpha, "--label-smoothing", settings.label_smoothing,
               "--epochs", settings.epochs, "--seed", settings.seed,
               *(["--limit", settings.limit] if settings.limit < 50_000 else []), "--limit-val", 100,
               "--augment", "none", "--shuffle", "false", "--log-every", 1, "--out", out, *extra]
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {result.returncode}:\n{result.stderr[-2000:]}")


def slug(method, init=""):
    """A name for files."""
    return "_".join(filter(None, (init, f"{method.name}_b{method.bits}" if method else "fp32")))


def initial(args, settings, method, init, work):
    """Write the binary's initial parameters; for `zeros`, its normal ones with exact zeros planted. Returns the path."""
    out = work / f"init_{slug(method, init)}"
    flags = [] if init == "dense" else ["--init", "normal"]
    if method and method.name == "inq":
        flags += ["--init-from", initial(args, settings, None, init, work)]
    shiftnet(args, settings, method, out, ["--max-steps", 0, *flags])
    path = out / "last.safetensors"
    if init == "zeros":
        tensors = plant_zeros({n: t for n, t in load_file(path).items() if not n.startswith(("momentum.", "last_flip."))})
        path = out / "zeros.safetensors"
        save_file(tensors, path)
    return path


def well_posed(args, settings, method, init, work, images, labels):
    """Initial parameters of the first seed from settings.seed on whose gradient run keeps clear of the ReLU's kink.
    PyTorch alone decides. Returns the settings with that seed, the path and the tensors."""
    for seed in range(settings.seed, settings.seed + 20):
        chosen = replace(settings, seed=seed)
        path = initial(args, chosen, method, init, work)
        start = load_file(path)
        margin = relu_margin(chosen, method, start, images, labels)
        print(f"  seed {seed}: nearest ReLU input of the gradient run {margin:.1e}")
        if margin >= MARGIN:
            return chosen, path, start
    raise SystemExit("no seed keeps clear of the ReLU's kink: choose a smaller --gradient-batch")


def read_losses(path):
    """The losses of steps 1, 2, … in metrics.jsonl; null becomes NaN, a gap or a repeated step is an error."""
    events = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    events = [e for e in events if e["event"] == "step"]
    if [e["step"] for e in events] != list(range(1, len(events) + 1)):
        raise SystemExit(f"{path}: steps {[e['step'] for e in events]}, expected 1, 2, 3, …")
    return [math.nan if e["loss"] is None else float(e["loss"]) for e in events]


def check(args, settings):
    """Compare the binary with PyTorch. Returns the failures."""
    work, failures = Path(args.work), []
    images, labels = read_cifar(args.data, min(settings.limit, settings.steps * settings.batch))
    for method, init in cases(args):
        name = f"{method}, init {init}" if method else "fp32"
        print(f"\n{settings.arch}, shortcut {settings.shortcut}, {name}")
        # All of INQ's stages within the run.
        these = settings
        if method and method.name == "inq":
            these = replace(settings, epochs=4, limit=max(settings.steps // 4, 1) * settings.batch)
        chosen, path, start = well_posed(args, these, method, init, work, images, labels)
        out = work / f"run_{slug(method, init)}"
        steps = loss_run(chosen, init)
        shiftnet(args, steps, method, out, ["--max-steps", steps.steps, "--init-from", path])
        found = compare_losses(*both(steps, method, start, images, labels, 0), read_losses(out / "metrics.jsonl"))
        for wd, alpha in PENALTIES:
            first = first_step(chosen, wd, alpha)
            shiftnet(args, first, method, out, ["--max-steps", 1, "--init-from", path])
            sides = both(first, method, start, images, labels, 1)
            print(f"  gradients, wd {wd}, alpha {alpha}: worst relative differences of {len(sides[0])} tensors")
            found += compare_state(*sides, load_file(out / "last.safetensors"))
        failures += [f"{name}: {f}" for f in found]
    return failures


def fixture(args, settings):
    """Write losses.json and gradients_s3_b3.safetensors, from the binary's initial parameters."""
    out, rows = Path(args.out), []
    out.mkdir(parents=True, exist_ok=True)
    images, labels = read_cifar(args.data, min(settings.limit, settings.steps * settings.batch))
    common = {"torch": torch.__version__.partition("+")[0], **asdict(settings)}
    for method, init in cases(args):
        # INQ begins from a trained network: the Rust tests have none.
        if method and method.name == "inq":
            continue
        chosen, _, start = well_posed(args, settings, method, init, Path(args.work), images, labels)
        norm = math.sqrt(sum(float(np.square(t, dtype=np.float64).sum()) for n, t in start.items() if is_parameter(n)))
        double, single = both(chosen, method, start, images, labels, 0)
        bits, name = (method.bits, method.name) if method else (32, "fp32")
        rows.append({"bits": bits, "method": name, "init": init, "seed": chosen.seed,
                     "init_l2": norm, "losses_f64": double, "losses_f32": single})
        if (method, init) == (Method("s3", 3), args.gradient_init):
            first = first_step(chosen)
            state = train(first, method, start, images, labels, torch.float64)[1]
            gradients = {n.removeprefix("momentum."): g.astype(np.float32) for n, g in state.items() if "momentum." in n}
            meta = {**common, **asdict(first), "bits": bits, "init": init, "init_l2": norm}
            save_file(gradients, out / "gradients_s3_b3.safetensors", {k: str(v) for k, v in meta.items()})
    (out / "losses.json").write_text(json.dumps({**common, "cases": rows}, indent=1) + "\n")
    return []


# ---- Command line ----------------------------------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    defaults = Settings()
    for run in (check, fixture, selftest):
        sub = commands.add_parser(run.__name__, help=run.__doc__.partition(". ")[0])
        sub.set_defaults(run=run)
        binary = run is not selftest
        sub.add_argument("--data", required=binary, help="the directory of CIFAR-10's binary batches"
                         + ("" if binary else " (default: random images)"))
        if binary:
            sub.add_argument("--shiftnet", required=True, help="the binary")
            sub.add_argument("--work", required=True, help="directory for the binary's runs; its runs there are replaced")
            sub.add_argument("--adapter", help="passed to the binary")
        if run is fixture:
            sub.add_argument("--out", required=True, help="directory of losses.json and gradients_s3_b3.safetensors")
            sub.add_argument("--gradient-init", choices=("dense", "normal"), default="normal",
                             help="initialization of the gradients (dense: those of t1 are all 0)")
        sub.add_argument("--bits", type=int, nargs="*", choices=(2, 3, 4, 5), default=[2, 3, 4],
                         help="S3's")
        inits = ["dense", "normal"] if run is fixture else ["dense", "normal", "zeros"]
        sub.add_argument("--init", nargs="+", choices=inits, default=inits,
                         help="zeros: normal with some latents exactly 0")
        sub.add_argument("--families", nargs="*", metavar="NAME", default=[name for name, _ in FAMILIES],
                         choices=[name for name, _ in FAMILIES], help="the other families")
        sub.add_argument("--fp32", action=argparse.BooleanOptionalAction, default=True, help="the fp32 case too")
        sub.add_argument("--arch", default=defaults.arch)
        sub.add_argument("--shortcut", choices=("a", "b"), default=defaults.shortcut)
        for name, kind in (("steps", int), ("batch", int), ("gradient_batch", int), ("lr", float), ("epochs", int),
                           ("label_smoothing", float), ("limit", int), ("seed", int)):
            sub.add_argument(f"--{name.replace('_', '-')}", type=kind, default=getattr(defaults, name),
                             help=f"default {getattr(defaults, name)}")
        sub.add_argument("--threads", type=int, help="PyTorch's threads")
    args = parser.parse_args()
    args.families = [family for family in FAMILIES if family[0] in args.families]
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.limit < max(args.batch, args.gradient_batch):
        parser.error("--limit is below the batch")
    settings = Settings(**{k: v for k, v in vars(args).items() if k in asdict(defaults)})
    failures = args.run(args, settings)
    print("\n" + "\n".join([f"FAIL {f}" for f in failures] or [f"{args.command}: passed"]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

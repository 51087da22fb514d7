#!/usr/bin/env python3
"""Training and inference rates of ResNets in PyTorch, S3 and full precision in turn. Prints JSON.

A sample is the mean of --steps steps between two synchronizations; the methods take turns, --rounds times, so that all
see the same machine. A training step is forward, backward, optimizer step and zero_grad on images already on the device.
"""

import argparse
import contextlib
import datetime
import json
import os
import shlex
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

from model import IMAGES, build, deployed, gflop, penalty

ALPHA = 1e-5  # of the dense-weight regularizer


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--arch", choices=tuple(IMAGES), default="resnet20")
    p.add_argument("--batch-size", type=int, default=128)
    p.add_argument("--method", choices=("s3", "fp32", "both"), default="both")
    p.add_argument("--bits", type=int, choices=range(2, 6), default=3, help="bits of an S3 weight")
    p.add_argument("--phase", choices=("train", "infer", "both"), default="both")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--precision", choices=("fp32", "tf32", "amp"), default="fp32",
                   help="tf32 and amp: CUDA only; amp is autocast, channels_last")
    p.add_argument("--amp-dtype", choices=("bf16", "fp16"), default="bf16", help="fp16 scales its loss")
    p.add_argument("--layout", choices=("nchw", "channels_last"),
                   help="default: channels_last (faster on the CPU); nchw for fp32 on CUDA")
    p.add_argument("--compile", action="store_true", help="torch.compile the network and the loss")
    p.add_argument("--threads", type=int, default=cores(), help="CPU threads (default: all cores)")
    p.add_argument("--steps", type=int, default=2, help="steps a sample")
    p.add_argument("--rounds", type=int, default=10, help="samples of each row")
    p.add_argument("--warm-up", type=int, default=3, help="steps before the first sample")
    p.add_argument("--json", metavar="OUT", help="write there instead of to the standard output")
    args = p.parse_args()
    if min(args.batch_size, args.threads, args.steps, args.rounds) < 1:
        p.error("--batch-size, --threads, --steps and --rounds are at least 1")
    if args.device == "cpu" and args.precision != "fp32":
        p.error(f"--precision {args.precision} needs --device cuda")
    if args.device == "cuda" and not torch.cuda.is_available():
        p.error("--device cuda: PyTorch finds no CUDA device")
    if args.layout is None:
        args.layout = "nchw" if (args.device, args.precision) == ("cuda", "fp32") else "channels_last"
    return args


def set_up(args):
    """Threads, and TF32 on or off everywhere."""
    torch.manual_seed(1)
    torch.set_num_threads(args.threads)
    precise = "tf32" if args.precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = precise
    torch.backends.cudnn.conv.fp32_precision = precise
    torch.backends.cudnn.benchmark = True


def finish(args):
    if args.device == "cuda":
        torch.cuda.synchronize()


def autocast(args):
    if args.precision != "amp":
        return contextlib.nullcontext()
    return torch.autocast("cuda", {"bf16": torch.bfloat16, "fp16": torch.float16}[args.amp_dtype])


def memory_format(args):
    return torch.channels_last if args.layout == "channels_last" else torch.contiguous_format


def batch(args):
    """Random images and labels on the device."""
    side, classes = IMAGES[args.arch]
    x = torch.randn(args.batch_size, 3, side, side, device=args.device).to(memory_format=memory_format(args))
    return x, torch.randint(classes, (args.batch_size,), device=args.device)


def trainer(args, bits):
    """A function that runs one training step, and its network."""
    model = build(args.arch, bits).to(args.device, memory_format=memory_format(args)).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, fused=True)
    scaler = torch.amp.GradScaler(args.device, enabled=args.precision == "amp" and args.amp_dtype == "fp16")
    x, labels = batch(args)

    def objective(x, labels):
        loss = F.cross_entropy(model(x), labels)
        return loss if bits is None else loss + ALPHA * penalty(model)
    objective = torch.compile(objective) if args.compile else objective

    def step():
        with autocast(args):
            loss = objective(x, labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    return step, model


def inferrer(args, model):
    """A function that runs the network on one batch."""
    plain = deployed(model, args.arch).to(memory_format=memory_format(args))
    plain = torch.compile(plain) if args.compile else plain
    x, _ = batch(args)

    @torch.no_grad()
    def step():
        with autocast(args):
            plain(x)
    return step


def gemm(args, side=1024, rounds=20):
    """GFLOP/s of a product of two f32 matrices, the median of `rounds`."""
    a, b = (torch.randn(side, side, device=args.device) for _ in range(2))
    steps = 1 if args.device == "cpu" else 50
    timed(args, lambda: a @ b, 3)
    return 2e-6 * side ** 3 / statistics.median(timed(args, lambda: a @ b, steps) for _ in range(rounds))


def timed(args, step, steps):
    """Milliseconds a step, the mean of `steps` of them."""
    finish(args)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    finish(args)
    return 1e3 * (time.perf_counter() - start) / steps


def measure(args):
    """The rows of the report: {"train": […], "infer": […]}."""
    cases = []
    for method in ("s3", "fp32") if args.method == "both" else (args.method,):
        step, model = trainer(args, args.bits if method == "s3" else None)
        if args.phase != "infer":
            cases.append(("train", method, step, []))
        if args.phase != "train":
            cases.append(("infer", method, inferrer(args, model), []))
    for _, _, step, _ in cases:
        timed(args, step, args.warm_up)
    for _ in range(args.rounds):
        for _, _, step, samples in cases:
            samples.append(timed(args, step, args.steps))
    rows, (forward, training) = {"train": [], "infer": []}, gflop(args.arch)
    for phase, method, _, samples in cases:
        rows[phase].append(row(args, method, samples, training if phase == "train" else forward))
    return rows


def row(args, method, samples, gflop_per_image):
    median = statistics.median(samples)
    quartiles = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else [median] * 3
    rate = 1e3 * args.batch_size / median
    return {
        "arch": args.arch, "method": method, **({"bits": args.bits} if method == "s3" else {}),
        "batch": args.batch_size, "precision": precision(args), "layout": args.layout, "compile": args.compile,
        "ms": {"median": median, "spread": quartiles[2] - quartiles[0], "samples": len(samples)},
        "images_per_s": rate, "gflop_per_s": rate * gflop_per_image,
    }


def precision(args):
    return f"amp-{args.amp_dtype}" if args.precision == "amp" else args.precision


def cores():
    """Those this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def cpu_name():
    """The model name of /proc/cpuinfo, else empty."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return ""


def adapter(args):
    if args.device == "cpu":
        return {"name": cpu_name(), "kind": "cpu", "backend": "cpu",
                "driver": f"{args.threads} threads, oneDNN {'on' if torch.backends.mkldnn.is_available() else 'off'}"}
    driver = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
                            capture_output=True, text=True, check=False).stdout.split()
    return {"name": torch.cuda.get_device_name(), "kind": "discrete", "backend": "cuda",
            "driver": f"{driver[0] if driver else 'unknown'}, CUDA {torch.version.cuda}, "
                      f"cuDNN {torch.backends.cudnn.version()}"}


def main():
    args = arguments()
    set_up(args)
    rate = gemm(args)
    report = {
        "tool": "pytorch", "version": torch.__version__, "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", *sys.argv]),
        "machine": {"cpu": cpu_name(), "cores": cores()}, "adapter": adapter(args),
        "ceilings": {f"gemm_{'tf32' if args.precision == 'tf32' else 'f32'}_gflop_per_s": rate},
        "kernels": [], **measure(args),
    }
    text = json.dumps(report, indent=1)
    if args.json is None:
        print(text)
        return
    with open(args.json, "w") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    main()

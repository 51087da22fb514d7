#!/usr/bin/env python3
"""ImageNet networks beside torchvision's: the same weights, two images at 224 x 224; the logits of an evaluation and all gradients
of a first training step, in float64 PyTorch.

    venv/bin/pip install torch torchvision pillow safetensors
    venv/bin/python imagenet.py --shiftnet BIN --images DIR --work WORK [--arch resnet18 resnet50] [--adapter NAME]

DIR holds image files, in folders or not; the first two are taken. Exit code 1 where anything is over a bound: losses of the
images 1e-3 relative (there are two classes, so an image's loss says its logits, but for a constant), norms of gradients 1e-2.
How far gradients differ is printed beside PyTorch's own float32: so many ReLU inputs have some so near to 0 that float32 takes
their other side.
"""

import argparse
import copy
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from safetensors.numpy import load_file, save_file

LOGIT_TOL, GRADIENT_TOL = 1e-3, 1e-2
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make_images(source, folder):
    """Two classes of one image each, in training and validation, as 256 x 256 PNG, so that a crop of 224 resizes nothing.
    Returns the crops, uint8 (2, 3, 224, 224)."""
    files = sorted(p for p in Path(source).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[:2]
    crops = []
    for label, file in enumerate(files):
        image = Image.open(file).convert("RGB").resize((256, 256), Image.BILINEAR)
        for part in ("train", "val"):
            place = folder / part / f"class{label}"
            place.mkdir(parents=True)
            image.save(place / "image.png")
        crops.append(np.asarray(image)[16:240, 16:240].transpose(2, 0, 1))
    return np.stack(crops)


def network(arch, x):
    """torchvision's network with two classes, whose running statistics are those of x."""
    torch.manual_seed(3)
    model = getattr(torchvision.models, arch)(num_classes=2).double()
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0, 0.2)
        norm.momentum = 1.0
    model.train()
    with torch.no_grad():
        model(x)
    for norm in norms:
        norm.momentum = 0.1
    # What the file holds is what both sides begin with.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.float().to(tensor.dtype)
    return model


def run(*command):
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\nended with {result.returncode}:\n{result.stderr[-2000:]}")
    return result.stdout


def norm(values):
    return float(np.linalg.norm(np.asarray(values, np.float64)))


def check(args, arch):
    """Returns what is wrong."""
    work = Path(args.work) / arch
    shutil.rmtree(work, ignore_errors=True)
    crops = make_images(args.images, work / "images")
    mean, std = (torch.tensor(v, dtype=torch.float64).view(3, 1, 1) for v in (MEAN, STD))
    x, labels = (torch.from_numpy(crops).double() / 255 - mean) / std, torch.tensor([0, 1])
    model = network(arch, x)
    weights = work / "weights.safetensors"
    save_file({n: t.numpy().astype(np.float32) for n, t in model.state_dict().items() if "num_batches" not in n}, weights)

    common = ["--dataset", "image-folder", "--data", work / "images", *(["--adapter", args.adapter] if args.adapter else [])]
    table = work / "predictions.csv"
    run(args.shiftnet, "eval", weights, "-a", arch, "-b", 2, *common, "--predictions", table)
    rows = list(csv.DictReader(table.open()))
    model.eval()
    with torch.no_grad():
        want = F.cross_entropy(model(x), labels, reduction="none").numpy()
    got = np.array([float(row["loss"]) for row in rows])
    failures = []
    difference = np.max(np.abs(got - want) / np.abs(want)) if len(got) == 2 else np.inf
    print(f"{arch}: losses of an evaluation {got}, torchvision {want}: {difference:.1e}")
    if not difference <= LOGIT_TOL:
        failures.append(f"{arch}: losses of the images differ by {difference:.1e}")

    out = work / "run"
    run(args.shiftnet, "train", *common, "-a", arch, "--method", "fp32", "-b", 2, "--init-from", weights, "--max-steps", 1,
        "--augment", "none", "--shuffle", "false", "--wd", 0, "--lr", 1e-6, "--log-every", 1, "--out", out)
    state = load_file(out / "last.safetensors")
    model.train()
    loss = F.cross_entropy(model(x), labels)
    loss.backward()
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    first = next(line["loss"] for line in lines if line["event"] == "step")
    off = abs(first - loss.item()) / loss.item()
    print(f"{arch}: loss of the first step {first:.7f}, torchvision {loss.item():.7f}: {off:.1e}")
    if not off <= LOGIT_TOL:
        failures.append(f"{arch}: the first loss differs by {off:.1e}")
    single = copy.deepcopy(model).float()
    single.zero_grad()
    F.cross_entropy(single(x.float()), labels).backward()
    singles = dict(single.named_parameters())
    rows = []
    for name, parameter in model.named_parameters():
        want, got, own = parameter.grad.numpy(), state[f"momentum.{name}"], singles[name].grad.numpy()
        if got.shape != want.shape:
            failures.append(f"{arch}: {name} has shape {got.shape}, torchvision {want.shape}")
            continue
        rows.append((abs(norm(got) / norm(want) - 1), norm(got - want) / norm(want), norm(own - want) / norm(want), name))
    print(f"{arch}: {len(rows)} gradients: norms differ by {max(r[0] for r in rows):.1e} at most, gradients by "
          f"{max(r[1] for r in rows):.1e}, PyTorch's own float32 by {max(r[2] for r in rows):.1e}")
    failures += [f"{arch}: the norm of {name}'s gradient differs by {d:.1e}" for d, _, _, name in rows if not d <= GRADIENT_TOL]
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shiftnet", required=True, help="the binary")
    parser.add_argument("--images", required=True, help="a directory of images")
    parser.add_argument("--work", required=True, help="a directory for what is made; old results there are replaced")
    parser.add_argument("--arch", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--adapter", help="passed to the binary")
    args = parser.parse_args()
    failures = [failure for arch in args.arch for failure in check(args, arch)]
    print("\n".join([f"FAIL {f}" for f in failures] or ["passed"]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

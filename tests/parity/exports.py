"""Compares a network's exports on CIFAR-10's first test images: PyTorch on the safetensors file, ONNX Runtime on the ONNX file,
and where they are given the predictions that `shiftnet eval --predictions FILE` wrote.

Usage: exports.py --safetensors FILE --onnx FILE --data DIR [--predictions FILE] [--arch resnet20] [--shortcut b] [--count 1000]
Exit code 1 where a logit, or an image's loss, differs by more than 1e-3, or where another class has the largest logit and leads
by more than that.
Needs requirements.txt and ../onnx/requirements.txt.
"""

import argparse
import sys

import numpy as np
import onnxruntime
import torch
from safetensors.torch import load_file

from oracle import ResNet

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
TOLERANCE = 1e-3


def images(data, count):
    records = np.fromfile(f"{data}/test_batch.bin", np.uint8, count * 3073).reshape(count, 3073)
    pixels = records[:, 1:].reshape(count, 3, 32, 32).astype(np.float32) / 255
    mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    return (pixels - mean) / std, records[:, 0]


def predicted(file, logits, labels, clear):
    """Whether the classes and losses of `file` are those of the logits."""
    _, classes, losses, truth = np.loadtxt(file, delimiter=",", skiprows=1, max_rows=len(labels)).T
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    expected = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]
    worst = np.abs(losses - expected).max()
    differ = int((classes != logits.argmax(1))[clear].sum())
    print(f"{len(losses)} predictions: largest difference of a loss {worst:.2e}; {differ} other classes")
    return worst <= TOLERANCE and differ == 0 and np.array_equal(truth, labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--safetensors", "--onnx", "--data"):
        parser.add_argument(name, required=True)
    parser.add_argument("--predictions")
    parser.add_argument("--arch", default="resnet20")
    parser.add_argument("--shortcut", default="b")
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()

    x, labels = images(args.data, args.count)
    model = ResNet(args.arch, args.shortcut, None).eval()
    model.load_state_dict(load_file(args.safetensors))
    with torch.no_grad():
        theirs = model(torch.from_numpy(x)).numpy()
    session = onnxruntime.InferenceSession(args.onnx, providers=["CPUExecutionProvider"])
    ours = session.run(["logits"], {"images": x})[0]
    worst = np.abs(ours - theirs).max()
    order = np.sort(theirs, axis=1)
    clear = order[:, -1] - order[:, -2] > TOLERANCE
    differ = int((ours.argmax(1) != theirs.argmax(1))[clear].sum())
    accuracy = [100 * (logits.argmax(1) == labels).mean() for logits in (theirs, ours)]
    print(f"{args.count} images: largest difference of a logit {worst:.2e}; {differ} other classes; "
          f"top-1 {accuracy[0]:.2f} % (PyTorch), {accuracy[1]:.2f} % (ONNX Runtime)")
    same = worst <= TOLERANCE and differ == 0
    if args.predictions:
        same &= predicted(args.predictions, theirs, labels, clear)
    sys.exit(not same)


main()

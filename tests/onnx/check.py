"""Runs an ONNX file in ONNX Runtime and compares its logits.

Usage: check.py MODEL.onnx INPUT LOGITS N C H W CLASSES
INPUT and LOGITS are raw f32 files: N normalized images (C, H, W), and CLASSES values for each. Exit code 1 and a message
where the file is not valid, or a logit differs by more than 1e-3 or another class is the largest.
"""

import sys

import numpy as np
import onnx
import onnxruntime

TOLERANCE = 1e-3


def main():
    path, images, logits, *sizes = sys.argv[1:]
    n, c, h, w, classes = map(int, sizes)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = np.fromfile(images, np.float32).reshape(n, c, h, w)
    expected = np.fromfile(logits, np.float32).reshape(n, classes)
    # The batch is dynamic: all at once, and one alone.
    for part in (slice(0, n), slice(n - 1, n)):
        got = session.run(["logits"], {"images": x[part]})[0]
        if got.shape != expected[part].shape or not np.isfinite(got).all():
            sys.exit(f"logits of shape {got.shape}, expected {expected[part].shape}, all finite")
        worst = np.abs(got - expected[part]).max()
        print(f"{len(got)} images: largest difference {worst:.2e}, largest logit {np.abs(got).max():.2f}")
        if not worst <= TOLERANCE:
            sys.exit(f"a logit differs by {worst}")
        order = np.sort(expected[part], axis=1)
        clear = order[:, -1] - order[:, -2] > 2 * TOLERANCE
        if not (got.argmax(1) == expected[part].argmax(1))[clear].all():
            sys.exit("another class has the largest logit")


main()

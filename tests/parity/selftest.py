"""Checks of the reference itself: the S3 rules, the derivatives, what float32 leaves, and that wrong rules are noticed."""

import math
from dataclasses import replace
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import oracle
from families import DeepShiftPsConv, DeepShiftQConv, DenseShiftWeight, InqConv, TernaryConv
from oracle import (MARGIN, PENALTIES, Method, ResNet, S3Conv, S3Weight, ShortcutA, both, cases, compare_losses, compare_state,
                    first_step, loss_run, plant_zeros, read_cifar, relative, relu_margin, shift_count, train)

BATCH_NORM_INIT = nn.BatchNorm2d.__init__


def random_start(settings, method, init, seed):
    """Initial parameters as the binary draws them, but from numpy's generator."""
    rng, start = np.random.default_rng(seed), {}
    for name, p in ResNet(settings.arch, settings.shortcut, method).named_parameters():
        latent, shape = name.rpartition(".weight_")[2], tuple(p.shape)
        if len(shape) == 4:
            value = rng.normal(0, math.sqrt(2 / (shape[0] * shape[2] * shape[3])), shape)
            if latent in ("p", "s"):
                value = rng.uniform(-10, -1, shape) if latent == "p" else rng.uniform(-1, 1, shape)
            if latent == "fixed":
                value = np.zeros(shape)
            if init == "dense" and latent[0] in "st" and latent not in ("sign", "s", "ternary") and latent != name:
                value = np.abs(value) if latent == "sparse" else -np.abs(value)
        elif name.startswith("fc."):
            value = rng.uniform(-1 / 8, 1 / 8, shape)
        else:
            value = np.full(shape, float(name.endswith("weight")))
        start[name] = value.astype(np.float32)
    return plant_zeros(start) if init == "zeros" else start


def well_posed(settings, method, init, images, labels):
    """The first seed from settings.seed on whose gradient run keeps clear of the ReLU's kink, and its parameters."""
    for seed in range(settings.seed, settings.seed + 20):
        start = random_start(settings, method, init, seed)
        if relu_margin(settings, method, start, images, labels) >= MARGIN:
            return seed, start
    raise SystemExit("no seed keeps clear of the ReLU's kink: choose a smaller --gradient-batch")


def closed_form(dw, sign, sparse, shifts):
    """One S3 weight and its latent gradients in Python numbers: S_t is the run of positive latents that ends at t."""
    def run(t):
        return next((i for i in range(t) if not shifts[t - 1 - i] > 0), t)
    T = len(shifts)
    s, kept, power = (1 if sign >= 0 else -1), (1 if sparse > 0 else 0), 1 << run(T)
    dshifts = [dw * s * kept * power * math.log(2) * (run(t - 1) + 1) if run(T) >= T - t else 0.0 for t in range(1, T + 1)]
    return s * kept * power, [dw * kept * power, dw * s * power, *dshifts]


def latent_difference(bits, dtype=torch.float64, count=4000):
    """Worst difference of S3Weight, forward and backward, from the closed form, over random latents and exact zeros."""
    rng, T = np.random.default_rng(bits), shift_count(bits)
    values = rng.normal(size=(2 + T, count)) + np.r_[0, 0, np.full(T, rng.choice([0, 1]))][:, None]
    values[rng.random(values.shape) < 0.1] = 0.0
    values[1:, :count // 4] = np.abs(values[1:, :count // 4])  # long runs
    values[rng.random(values.shape) < 0.05] = -0.0
    latents = [torch.tensor(v, dtype=dtype, requires_grad=True) for v in values]
    dw = torch.tensor(rng.normal(size=count), dtype=dtype)
    w = S3Weight.apply(*latents)
    if torch.signbit(w[w == 0]).any():
        return math.inf  # a zero weight is +0
    got = torch.stack([w.detach(), *torch.autograd.grad(w, latents, dw)]).double().numpy()
    want = [closed_form(float(dw[i]), *values[:2, i], values[2:, i]) for i in range(count)]
    want = np.array([[value, *gradients] for value, gradients in want]).T
    return float(np.max(np.abs(got - want) / (np.abs(want) + 1)))


def family_weights():
    """(weights, what they are by hand) of the other families at 3 bits."""
    ones = torch.ones(3)
    yield DenseShiftWeight.apply(-ones, *torch.tensor([[-1., 1, 1], [-1., -1, 1], [-1., 1, 1]])).tolist(), [-1, -2, -8]
    with torch.no_grad():
        q = DeepShiftQConv(3, 1, 1, 3, 1)
        q.weight_q.copy_(torch.tensor([0.7, 0.708, -0.3, 3, -0.01, 0, 0.125, -1, 0.5]).view(1, 1, 3, 3))
        q.confine()
        yield q.weight().flatten().tolist(), [0.5, 1, -0.25, 1, -0.125, 0.125, 0.125, -1, 0.5]
        ps = DeepShiftPsConv(3, 1, 1, 3, 1)
        ps.weight_s.copy_(torch.tensor([0.6, -0.6, 0.6, 0.5, 1, -1, 0, 2, -2]).view(1, 1, 3, 3))
        ps.weight_p.copy_(torch.tensor([-0.4, -0.6, -7, -1, -1.5, -0.5, -1, 0, 3]).view(1, 1, 3, 3))
        ps.confine()
        yield ps.weight().flatten().tolist(), [1, -0.5, 0.25, 0, 0.25, -1, 0, 1, -1]
        inq = InqConv(3, 1, 1, 3, 1)
        inq.weight_inq.copy_(torch.tensor([0.1, -0.8, 0.3, 0.05, -0.4, 0.2, 0.6, -0.01, 0]).view(1, 1, 3, 3))
        inq.begin_epoch(3, 4)
        yield (inq.weight() + 0).flatten().tolist(), [0, -1, 0.5, 0, -0.5, 0, 0.5, 0, 0]
        ternary = TernaryConv(2, 1, 1, 3, 1)
        ternary.weight_ternary.copy_(torch.tensor([0.69, -0.69, 0.71, -1.91, 0, 2, 1, -1, 1]).view(1, 1, 3, 3))
        yield ternary.weight().flatten().tolist(), [0, 0, 1, -1, 0, 1, 1, -1, 1]


def finite_differences(settings, method, start, images, labels):
    """Worst relative difference of directional derivatives in float64, over the parameters that the loss is smooth in;
    softplus takes the place of ReLU, whose kink a difference may straddle."""
    first, rng, worst, h = first_step(settings), np.random.default_rng(5), 0.0, 1e-6
    start = {n: t.astype(np.float64) for n, t in start.items()}
    with mock.patch.object(oracle, "relu", F.softplus):
        state = train(first, method, start, images, labels, torch.float64)[1]
        for name in (n for n in start if ".weight_" not in n):
            gradient = state[f"momentum.{name}"]
            direction = rng.normal(size=gradient.shape) + np.sign(gradient)
            plus, minus = (train(first, method, {**start, name: start[name] + e * direction}, images, labels,
                                 torch.float64)[0][0] for e in (h, -h))
            worst = max(worst, relative((plus - minus) / (2 * h), float(np.sum(direction * gradient))))
    return worst


def mutations():
    """Wrong rules that the comparisons must notice, after one that is right: (name, owner, attribute, replacement)."""
    def backwards(self):
        return self.weight_sign, self.weight_sparse, *(getattr(self, f"weight_t{t}") for t in range(self.shifts, 0, -1))

    def behind(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.front + self.behind))
    return (("nothing wrong", oracle, "LN2", math.log(2)), ("H(0) = 1", oracle, "step", lambda x: (x >= 0).to(x.dtype)),
            ("sgn(0) = -1", oracle, "sgn", lambda x: torch.where(x > 0, 1.0, -1.0).to(x.dtype)),
            ("sgn(0) = 0", oracle, "sgn", torch.sign),
            ("t1 and t2 exchanged", S3Conv, "latents", backwards),
            ("no ln 2 in dL/dS", oracle, "LN2", 1.0),
            ("momentum 0.9 in batch norm", nn.BatchNorm2d, "__init__", lambda self, c: BATCH_NORM_INIT(self, c, momentum=0.9)),
            ("shortcut A: zeros all behind", ShortcutA, "forward", behind))


def selftest(args, settings):
    """Check the S3 rules, the network's derivatives, the precision that float32 leaves, and the comparisons."""
    failures = []

    def expect(ok, text):
        print(f"  {'ok  ' if ok else 'FAIL'}  {text}")
        if not ok:
            failures.append(text)

    count = max(64, settings.steps * settings.batch)
    if args.data:
        images, labels = read_cifar(args.data, count)
    else:
        rng = np.random.default_rng(7)
        images = rng.integers(0, 256, (count, 3, 32, 32), np.uint8)
        labels = rng.integers(0, 10, count)

    print("S3 forward and backward against the closed form, element by element")
    table = S3Weight.apply(torch.ones(4), torch.ones(4), torch.tensor([-1., 1, -1, 1]), torch.tensor([-1., -1, 1, 1]))
    expect(table.tolist() == [1, 1, 2, 4], f"3 bits, (t1, t2) = (-,-) (+,-) (-,+) (+,+): {table.tolist()}")
    for bits in (2, 3, 4, 5):
        double, single = latent_difference(bits), latent_difference(bits, torch.float32)
        expect(double <= 1e-14 and single <= 1e-6, f"{bits} bits: float64 {double:.1e}, float32 {single:.1e}")

    print("The other families' weights against their values by hand")
    for got, want in family_weights():
        expect(got == want, f"{got}, expected {want}")

    print("Directional derivatives against finite differences, float64, one batch")
    for method, shortcut in ((None, "b"), (None, "a"), (Method(), "b")):
        these = replace(settings, shortcut=shortcut)
        difference = finite_differences(these, method, random_start(these, method, "normal", 1), images, labels)
        expect(difference <= 1e-6, f"{method or 'fp32'}, shortcut {shortcut}: {difference:.1e}")

    print(f"Float32 against float64: {settings.arch}, {settings.steps} steps, batch {settings.batch}, lr {settings.lr}")
    for method, init in cases(args):
        seed, start = well_posed(settings, method, init, images, labels)
        sides = both(loss_run(settings, init), method, start, images, labels, 0)
        first = both(first_step(settings), method, start, images, labels, 1)
        bad = compare_losses(*sides, sides[1], show=False) + compare_state(*first, first[1], show=0)
        each = [relative(s, d) for d, s in zip(*sides)]
        expect(not bad, f"{f'{method}, {init}' if method else 'fp32':28} seed {seed}: loss {sides[0][0]:.4f} to "
               f"{sides[0][-1]:.4f}, first {each[0]:.1e}, worst {max(each):.1e}, "
               f"gradients {max(relative(first[1][n], first[0][n]) for n in first[0]):.1e}")

    print("Wrong rules, 3 bits, init zeros: each must be noticed")
    for name, owner, attribute, replacement in mutations():
        these = replace(settings, steps=4, batch=16, shortcut="a" if owner is ShortcutA else "b")
        start, first = well_posed(these, Method(), "zeros", images, labels)[1], first_step(these)
        right = both(these, Method(), start, images, labels, 0), both(first, Method(), start, images, labels, 1)
        with mock.patch.object(owner, attribute, replacement):
            wrong = [train(t, Method(), start, images, labels, torch.float32)[i] for i, t in enumerate((these, first))]
        losses = compare_losses(*right[0], wrong[0], show=False)
        tensors = compare_state(*right[1], wrong[1], show=0)
        noticed = bool(losses or tensors)
        expect(noticed == (name != "nothing wrong"), f"{name}: {len(losses)} of {these.steps} losses, "
               f"{len(tensors)} of {len(wrong[1])} tensors")
    first = first_step(settings, *PENALTIES[1])
    start = well_posed(settings, Method(), "zeros", images, labels)[1]
    right = both(first, Method(), start, images, labels, 1)
    for name, wrong in (("no regularizer", replace(first, alpha=0.0)), ("no weight decay", replace(first, wd=0.0))):
        tensors = compare_state(*right, train(wrong, Method(), start, images, labels, torch.float32)[1], show=0)
        expect(tensors, f"{name}: {len(tensors)} of {len(right[0])} tensors")
    conv1 = "momentum.conv1.weight"
    for name, wrong in (("rows and columns exchanged", right[1][conv1].swapaxes(2, 3)), ("NaN", right[1][conv1] * math.nan)):
        expect(compare_state(*right, {**right[1], conv1: wrong}, show=0), f"one gradient: {name}")
    expect(compare_state(*right, {n: t for n, t in right[1].items() if n != conv1}, show=0), "one gradient missing")
    expect(compare_losses([2.3], [2.3], [math.nan], show=False), "a loss NaN")
    expect(compare_losses([2.3, 2.2], [2.3, 2.2], [2.3], show=False) and compare_losses([], [], [], show=False), "losses missing")
    return failures

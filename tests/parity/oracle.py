"""The reference: training of CIFAR ResNets in PyTorch, in fp32, S3 and the families of families.py, and comparisons with it.

S3: Li et al., "S3: Sign-Sparse-Shift Reparametrization for Effective Training of Low-bit Shift Networks", NeurIPS 2021.
"""

import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
LN2 = math.log(2)
LOSS_TOL, FIRST_LOSS_TOL, GRADIENT_TOL = 5e-3, 1e-5, 1e-3
PENALTIES = ((0.0, 0.0), (1e-2, 1e-2))  # (wd, alpha) of the gradient runs: the bare loss, then both terms made visible
MARGIN = 1e-6  # where a ReLU input lies nearer to 0, float32 may take its other side, and gradients may differ by 1e-3
ZERO_PERIOD = 37  # the `zeros` init: latent k is exactly 0 where its flat index i has i % 37 == k


# ---- The S3 weight ---------------------------------------------------------------------------------------------------

def step(x):
    """H(x): 1 where x > 0, else 0."""
    return (x > 0).to(x.dtype)


def sgn(x):
    """+1 where x >= 0, else -1."""
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


class S3Weight(torch.autograd.Function):
    """w = sgn(w_sign) H(w_sparse) 2^S_T with S_t = H(w_t) (S_{t-1} + 1); H and sgn pass gradients straight through."""

    @staticmethod
    def forward(ctx, w_sign, w_sparse, *w_shifts):
        sign, kept, sums = sgn(w_sign), step(w_sparse), [torch.zeros_like(w_sign)]
        for w_t in w_shifts:
            sums.append(step(w_t) * (sums[-1] + 1))
        power = torch.exp2(sums[-1])
        ctx.save_for_backward(sign, kept, power, *sums, *w_shifts)
        return torch.where(kept > 0, sign * power, torch.zeros_like(power))

    @staticmethod
    def backward(ctx, dw):
        sign, kept, power, *rest = ctx.saved_tensors
        sums, w_shifts = rest[:len(rest) // 2 + 1], rest[len(rest) // 2 + 1:]
        dsum, dshifts = dw * sign * kept * power * LN2, []
        for t in range(len(w_shifts), 0, -1):
            dshifts.insert(0, dsum * (sums[t - 1] + 1))
            dsum = dsum * step(w_shifts[t - 1])
        return dw * kept * power, dw * sign * power, *dshifts


def shift_count(bits):
    """T, the number of shift latents."""
    return 2 ** (bits - 1) - 2


class LatentConv(nn.Module):
    """A convolution without bias whose weight follows from latents, `weight_<name>` for each name."""

    def __init__(self, names, c_in, c_out, kernel, stride):
        super().__init__()
        self.stride, self.padding = stride, kernel // 2
        for name in names:
            self.register_parameter(f"weight_{name}", nn.Parameter(torch.zeros(c_out, c_in, kernel, kernel)))

    def forward(self, x):
        return F.conv2d(x, self.weight(), stride=self.stride, padding=self.padding)

    def begin_epoch(self, epoch, epochs):
        """What the method does to its latents between epochs."""

    def confine(self):
        """Brings latents back to where they may be, before the first step and behind each."""

    def still(self):
        """Latents that do not move, as (parameter, mask) pairs."""
        return ()


class S3Conv(LatentConv):
    """A convolution without bias whose S3 weight has 2 + T latents."""

    def __init__(self, bits, *shape):
        self.shifts = shift_count(bits)
        super().__init__(("sign", "sparse", *(f"t{t + 1}" for t in range(self.shifts))), *shape)

    def latents(self):
        return self.weight_sign, self.weight_sparse, *(getattr(self, f"weight_t{t + 1}") for t in range(self.shifts))

    def weight(self):
        return S3Weight.apply(*self.latents())


# ---- The network -----------------------------------------------------------------------------------------------------

def relu(x):
    return torch.relu(x)


@dataclass(frozen=True)
class Method:
    """A weight family at its bits."""

    name: str = "s3"
    bits: int = 3

    def __str__(self):
        return f"{self.name}, {self.bits} bits"


CONVOLUTIONS = {"s3": S3Conv}  # and those of families.py: constructors that take bits and the convolution's shape


def conv(c_in, c_out, kernel, stride, method):
    """A bias-free convolution: of a weight family, or full precision where the method is None."""
    if method is None:
        return nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
    return CONVOLUTIONS[method.name](method.bits, c_in, c_out, kernel, stride)


class ShortcutA(nn.Module):
    """Stride-2 subsampling; the new channels are zeros, half in front and half behind."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.front, self.behind = (c_out - c_in) // 2, (c_out - c_in + 1) // 2

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.front, self.behind))


class Block(nn.Module):
    """The basic residual block."""

    def __init__(self, c_in, c_out, stride, shortcut, method):
        super().__init__()
        self.conv1, self.bn1 = conv(c_in, c_out, 3, stride, method), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = conv(c_out, c_out, 3, 1, method), nn.BatchNorm2d(c_out)
        self.downsample = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.downsample = ShortcutA(c_in, c_out) if shortcut == "a" else nn.Sequential(
                conv(c_in, c_out, 1, stride, method), nn.BatchNorm2d(c_out))

    def forward(self, x):
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        return relu(y + self.downsample(x))


class ResNet(nn.Module):
    """CIFAR ResNet-6n+2: three stages of n blocks with 16, 32 and 64 channels."""

    def __init__(self, arch, shortcut, method):
        super().__init__()
        blocks, rest = divmod(int(arch.removeprefix("resnet")) - 2, 6)
        if rest or blocks < 1:
            raise SystemExit(f"{arch}: expected resnet<6n+2>, such as resnet8 or resnet20")
        self.conv1, self.bn1 = conv(3, 16, 3, 1, None), nn.BatchNorm2d(16)
        for stage, (c_in, c_out) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
            self.add_module(f"layer{stage}", nn.Sequential(*(
                Block(c_in if b == 0 else c_out, c_out, 2 if b == 0 and stage > 1 else 1, shortcut, method)
                for b in range(blocks))))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        y = relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(y))).mean((2, 3)))


# ---- Training --------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Settings:
    """What a run is, shared by both sides."""

    arch: str = "resnet8"
    shortcut: str = "b"
    batch: int = 64
    gradient_batch: int = 4
    steps: int = 12
    lr: float = 0.01
    momentum: float = 0.9
    wd: float = 1e-4
    alpha: float = 1e-5
    label_smoothing: float = 0.0
    epochs: int = 200
    limit: int = 50_000
    seed: int = 1


def cases(args):
    """(method, init) of every case; fp32 has method None, and it and the other families have one initialization."""
    s3 = [(Method("s3", bits), init) for bits in args.bits for init in args.init]
    return ([(None, "dense")] if args.fp32 else []) + s3 + [(Method(*m), "dense") for m in args.families]


def read_cifar(data, count):
    """The first `count` training images, uint8 (N, 3, 32, 32), and labels, in file order."""
    rows = []
    for i in range(1, 6):
        if sum(map(len, rows)) < count:
            rows.append(np.fromfile(Path(data) / f"data_batch_{i}.bin", np.uint8).reshape(-1, 3073))
    rows = np.concatenate(rows)[:count]
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].astype(np.int64)


def is_parameter(name):
    """Whether a tensor of a checkpoint is a learned parameter."""
    return not name.startswith(("momentum.", "last_flip.")) and "running_" not in name and "num_batches" not in name


def load_parameters(model, tensors):
    """Copy the parameters from a dict of arrays; names and shapes must match one to one."""
    wanted = dict(model.named_parameters())
    found = {n for n in tensors if is_parameter(n)}
    if found != set(wanted):
        raise SystemExit(f"initial parameters: missing {sorted(set(wanted) - found)}, unknown {sorted(found - set(wanted))}")
    for name, parameter in wanted.items():
        if tuple(parameter.shape) != tensors[name].shape:
            raise SystemExit(f"{name}: expected shape {tuple(parameter.shape)}, got {tensors[name].shape}")
        parameter.data = torch.from_numpy(tensors[name].copy()).to(parameter.dtype)


def loss_run(settings, init):
    """The settings of a loss run; few steps where latents start at a threshold, whose side soon hangs on rounding."""
    return replace(settings, steps=min(settings.steps, 3)) if init == "zeros" else settings


def first_step(settings, wd=0.0, alpha=0.0):
    """The settings of a gradient run: one small batch."""
    return replace(settings, steps=1, batch=settings.gradient_batch, wd=wd, alpha=alpha)


def relu_margin(settings, method, start, images, labels):
    """The smallest |ReLU input| of the gradient run, in float64."""
    nearest = []

    def watched(x):
        nearest.append(x.detach().abs().min().item())
        return torch.relu(x)
    with mock.patch.object(sys.modules[__name__], "relu", watched):
        train(first_step(settings), method, start, images, labels, torch.float64)
    return min(nearest)


def train(settings, method, start, images, labels, dtype):
    """Train from `start`, batches in file order. Returns the cross-entropy of each step, and the momenta and running
    statistics after the last one under their names on disk. After one step from rest the momenta are the gradients."""
    model = ResNet(settings.arch, settings.shortcut, method).to(dtype)
    load_parameters(model, start)
    for m in model.modules():
        if isinstance(m, LatentConv):
            m.confine()
    mean, std = (torch.tensor(v, dtype=dtype).view(3, 1, 1) for v in (MEAN, STD))
    latent = [m for m in model.modules() if isinstance(m, LatentConv)]
    optimizer = torch.optim.SGD(model.parameters(), settings.lr, settings.momentum, weight_decay=settings.wd)
    per_epoch, losses = min(settings.limit, 50_000) // settings.batch, []
    for k in range(settings.steps):
        epoch, index = divmod(k, per_epoch)
        for m in latent if index == 0 else ():
            m.begin_epoch(epoch, settings.epochs)
        before = [(p, mask, p.detach().clone()) for m in latent for p, mask in m.still()]
        optimizer.param_groups[0]["lr"] = settings.lr / 2 * (1 + math.cos(math.pi * epoch / settings.epochs))
        part = slice(index * settings.batch, (index + 1) * settings.batch)
        if len(images[part]) != settings.batch:
            raise SystemExit(f"step {k + 1}: {len(images[part])} images where the batch is {settings.batch}")
        x = (torch.from_numpy(images[part]).to(dtype) / 255 - mean) / std
        loss = F.cross_entropy(model(x), torch.from_numpy(labels[part]), label_smoothing=settings.label_smoothing)
        penalty = sum(torch.relu(-m.weight_sparse).sum() for m in model.modules() if isinstance(m, S3Conv))
        optimizer.zero_grad()
        (loss + settings.alpha * penalty).backward()
        optimizer.step()
        with torch.no_grad():
            for p, mask, old in before:
                p.copy_(torch.where(mask, old, p))
                optimizer.state[p]["momentum_buffer"][mask] = 0
            for m in latent:
                m.confine()
        losses.append(loss.item())
    state = {f"momentum.{n}": optimizer.state[p]["momentum_buffer"] if p.requires_grad else torch.zeros_like(p)
             for n, p in model.named_parameters()}
    state |= {n: b for n, b in model.named_buffers() if "running_" in n}
    return losses, {n: t.numpy() for n, t in state.items()}


def both(settings, method, start, images, labels, index):
    """Losses (index 0) or state (index 1) of `train`, in float64 and in float32."""
    return [train(settings, method, start, images, labels, dtype)[index] for dtype in (torch.float64, torch.float32)]


def plant_zeros(tensors):
    """Set some elements of every latent to exactly 0, where H(0) = 0 and sgn(0) = +1 decide."""
    tensors = {n: t.copy() for n, t in tensors.items()}
    for name, tensor in tensors.items():
        latent = name.rpartition(".weight_")[2]
        if latent != name:
            k = {"sign": 0, "sparse": 1}[latent] if latent.startswith("s") else int(latent[1:]) + 1
            tensor.reshape(-1)[k::ZERO_PERIOD] = 0
    return tensors


# ---- Comparisons: each returns what is wrong, and NaN always is ------------------------------------------------------

def relative(got, want):
    """||got - want|| / ||want||, or ||got|| where the reference is 0."""
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    return float(np.linalg.norm(got - want) / (np.linalg.norm(want) or 1.0))


def compare_losses(want, single, got, label="shiftnet", show=True):
    """Losses of every step against float64, with PyTorch's own float32 beside them."""
    failures = [] if len(got) == len(want) > 0 else [f"{len(got)} losses where {len(want)} were expected"]
    if show:
        print(f"  step   torch f64   torch f32  {label:>10}   f32 - f64  {label} - f64 (relative)")
    for k, (w, s, g) in enumerate(zip(want, single, got), start=1):
        difference, tolerance = relative(g, w), FIRST_LOSS_TOL if k == 1 else LOSS_TOL
        over = not (difference <= tolerance)
        if over:
            failures.append(f"step {k}: loss {g:.7g}, expected {w:.7g}: {difference:.1e} > {tolerance:.0e}")
        if show:
            print(f"  {k:4} {w:11.6f} {s:11.6f} {g:11.6f}   {relative(s, w):9.1e}   {difference:9.1e}{'  FAIL' * over}")
    return failures


def compare_state(want, single, got, show=5):
    """Momenta (after one step: gradients) and running statistics; prints the `show` worst."""
    missing, unknown = set(want) - set(got), {n for n in got if n.startswith("momentum.")} - set(want)
    failures = [f"missing {n}" for n in sorted(missing)] + [f"unknown {n}" for n in sorted(unknown)]
    failures += [] if want else ["nothing to compare"]
    rows = []
    for name in sorted(set(want) - missing):
        if got[name].shape != want[name].shape:
            failures.append(f"{name}: shape {got[name].shape}, expected {want[name].shape}")
            continue
        difference = relative(got[name], want[name])
        rows.append((difference if difference == difference else math.inf, name))
        if not (difference <= GRADIENT_TOL):
            failures.append(f"{name}: {difference:.1e} > {GRADIENT_TOL:.0e}")
    for difference, name in sorted(rows, reverse=True)[:show]:
        print(f"    {difference:8.1e}  (torch f32 {relative(single[name], want[name]):8.1e}, "
              f"norm {np.linalg.norm(want[name]):8.2e})  {name}")
    return failures

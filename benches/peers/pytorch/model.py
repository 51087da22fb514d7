"""ResNets with full-precision or S3 convolutions, written as a PyTorch user writes them.

S3: Li et al., "S3: Sign-Sparse-Shift Reparametrization for Effective Training of Low-bit Shift Networks", NeurIPS 2021.
Like its authors' simulation: every latent is a parameter of its layer, the threshold functions are autograd functions
whose gradient passes straight through, and autograd differentiates the rest.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class Step(torch.autograd.Function):
    """H(x): 1 where x > 0, else 0. Straight-through gradient."""

    @staticmethod
    def forward(ctx, x):
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        return dy


class Sign(torch.autograd.Function):
    """+1 where x >= 0, else -1. Straight-through gradient."""

    @staticmethod
    def forward(ctx, x):
        return (x >= 0).to(x.dtype) * 2 - 1

    @staticmethod
    def backward(ctx, dy):
        return dy


class S3Conv2d(nn.Conv2d):
    """A convolution without bias with the weight sgn(w_sign) H(w_sparse) 2^S_T, S_t = H(w_t) (S_{t-1} + 1).

    `bits` of a weight give T = 2^(bits-1) - 2 shift latents. The initialization is the paper's dense prior.
    """

    def __init__(self, c_in, c_out, kernel, stride, bits):
        super().__init__(c_in, c_out, kernel, stride, kernel // 2, bias=False)
        del self.weight
        sigma = math.sqrt(2 / (kernel * kernel * c_out))

        def normal():
            return torch.randn(c_out, c_in, kernel, kernel) * sigma
        self.weight_sign = nn.Parameter(normal())
        self.weight_sparse = nn.Parameter(normal().abs())
        self.weight_shifts = nn.ParameterList(-normal().abs() for _ in range(2 ** (bits - 1) - 2))

    @property
    def weight(self):
        """The discrete weight, (C_out, C_in, R, S)."""
        w = Sign.apply(self.weight_sign) * Step.apply(self.weight_sparse)
        if not len(self.weight_shifts):
            return w
        shift = Step.apply(self.weight_shifts[0])
        for w_t in self.weight_shifts[1:]:
            shift = Step.apply(w_t) * (shift + 1)
        return w * torch.exp2(shift)

    def density_penalty(self):
        """Sum of max(0, -w_sparse): the dense-weight regularizer, without its factor."""
        return torch.relu(-self.weight_sparse).sum()


def conv(c_in, c_out, kernel, stride, bits):
    """A convolution without bias: S3 where bits is given, full precision where it is None."""
    if bits is not None:
        return S3Conv2d(c_in, c_out, kernel, stride, bits)
    layer = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class Block(nn.Module):
    """The basic residual block; a 1x1 convolution and batch norm in the shortcut where the shape changes."""

    def __init__(self, c_in, c_out, stride, bits):
        super().__init__()
        self.conv1, self.bn1 = conv(c_in, c_out, 3, stride, bits), nn.BatchNorm2d(c_out)
        self.conv2, self.bn2 = conv(c_out, c_out, 3, 1, bits), nn.BatchNorm2d(c_out)
        self.downsample = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(conv(c_in, c_out, 1, stride, bits), nn.BatchNorm2d(c_out))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x), inplace=True)


class ResNet(nn.Module):
    """Stem, stages of basic blocks (the first of a stage halves the map, save in stage 1), average pool, linear."""

    def __init__(self, stem, widths, blocks, classes, bits):
        super().__init__()
        c_in, stages = widths[0], []
        for stage, c_out in enumerate(widths):
            for b in range(blocks):
                stages.append(Block(c_in, c_out, 2 if b == 0 and stage > 0 else 1, bits))
                c_in = c_out
        self.stem, self.stages = stem, nn.Sequential(*stages)
        self.fc = nn.Linear(c_in, classes)

    def forward(self, x):
        return self.fc(self.stages(self.stem(x)).mean((2, 3)))


IMAGES = {"resnet20": (32, 10), "resnet18": (224, 1000)}  # side and classes


def build(arch, bits):
    """The network with shortcut B, images IMAGES[arch]; bits is None for full precision."""
    if arch == "resnet20":
        stem = nn.Sequential(conv(3, 16, 3, 1, None), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        return ResNet(stem, (16, 32, 64), 3, 10, bits)
    stem = nn.Sequential(conv(3, 64, 7, 2, None), nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
    return ResNet(stem, (64, 128, 256, 512), 2, 1000, bits)


def penalty(model):
    """The regularizer of all S3 layers, or 0."""
    return sum(m.density_penalty() for m in model.modules() if isinstance(m, S3Conv2d))


@torch.no_grad()
def deployed(model, arch):
    """A full-precision copy in eval mode that holds the discrete weights themselves: what inference runs."""
    plain = build(arch, None)
    plain.load_state_dict(model.state_dict(), strict=False)  # the latents have no counterpart
    for name, module in model.named_modules():
        if isinstance(module, S3Conv2d):
            plain.get_submodule(name).weight.copy_(module.weight)
    return plain.to(next(model.parameters()).device).eval()


def gflop(arch):
    """GFLOP an image, forward and training (forward and both gradients; none for the images), 1 MAC = 2 FLOP."""
    model, macs = build(arch, None), []

    def count(module, _, y):
        size = y[0, 0].numel() if y.dim() == 4 else 1
        macs.append(module.weight.numel() * size)
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, IMAGES[arch][0], IMAGES[arch][0]))
    return 2e-9 * sum(macs), 2e-9 * (3 * sum(macs) - macs[0])

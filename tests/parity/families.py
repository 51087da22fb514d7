"""The weight families beside S3, as their papers write them; see oracle.py."""

import torch

import oracle
from oracle import LatentConv, sgn, step


class Replaced(torch.autograd.Function):
    """`value` forward; backward the gradient reaches `latent` as if it were the value."""

    @staticmethod
    def forward(ctx, latent, value):
        return value.clone()

    @staticmethod
    def backward(ctx, dw):
        return dw, None


# ---- DenseShift (Li et al., ICCV 2023): sgn(w_sign) 2^S_T, with the gradients of sgn(w_sign) sqrt(S_T + 1) -----------

class DenseShiftWeight(torch.autograd.Function):

    @staticmethod
    def forward(ctx, w_sign, *w_shifts):
        sums = [torch.zeros_like(w_sign)]
        for w_t in w_shifts:
            sums.append(step(w_t) * (sums[-1] + 1))
        ctx.save_for_backward(w_sign, *sums, *w_shifts)
        return sgn(w_sign) * 2 ** sums[-1]

    @staticmethod
    def backward(ctx, dw):
        w_sign, *rest = ctx.saved_tensors
        T = len(rest) // 2
        sums, w_shifts = rest[:T + 1], rest[T + 1:]
        with torch.enable_grad():
            s = sums[-1].clone().requires_grad_()
            sign = sgn(w_sign).requires_grad_()
            d_sign, d_sum = torch.autograd.grad(sign * torch.sqrt(s + 1), (sign, s), dw)
        d_shifts = [None] * T
        for t in reversed(range(T)):
            d_shifts[t] = d_sum * (sums[t] + 1)
            d_sum = torch.where(w_shifts[t] > 0, d_sum, torch.zeros_like(d_sum))
        return d_sign, *d_shifts


class DenseShiftConv(LatentConv):

    def __init__(self, bits, *shape):
        self.shifts = [f"t{t + 1}" for t in range(2 ** (bits - 1) - 1)]
        super().__init__(("sign", *self.shifts), *shape)

    def weight(self):
        return DenseShiftWeight.apply(self.weight_sign, *(getattr(self, f"weight_{t}") for t in self.shifts))


# ---- DeepShift (Elhoushi et al. 2021) --------------------------------------------------------------------------------

class DeepShiftQConv(LatentConv):

    def __init__(self, bits, *shape):
        super().__init__(("q",), *shape)
        self.lowest = 2.0 ** -(2 ** (bits - 1) - 1)

    def confine(self):
        with torch.no_grad():
            self.weight_q.copy_(sgn(self.weight_q) * self.weight_q.abs().clamp(self.lowest, 1.0))

    def weight(self):
        v = self.weight_q.detach()
        return Replaced.apply(self.weight_q, sgn(v) * 2 ** torch.round(torch.log2(v.abs())))


class DeepShiftPsConv(LatentConv):

    def __init__(self, bits, *shape):
        super().__init__(("s", "p"), *shape)
        self.lowest = -(2.0 ** (bits - 1) - 2)

    def confine(self):
        with torch.no_grad():
            self.weight_p.clamp_(self.lowest, 0.0)

    def weight(self):
        s, p = self.weight_s, self.weight_p
        sign = Replaced.apply(s, torch.sign(torch.round(s.detach())))
        power = 2 ** Replaced.apply(p, torch.round(p.detach()))
        # dL/ds is dL/dw alone: the power takes no part in it.
        return Replaced.apply(sign, (sign * power).detach()) + (sign.detach() * power - (sign * power).detach())


# ---- INQ (Zhou et al. 2017) ------------------------------------------------------------------------------------------

SHARES = (0.5, 0.75, 0.875, 1.0)


class InqConv(LatentConv):

    def __init__(self, bits, *shape):
        super().__init__(("inq", "fixed"), *shape)
        self.weight_fixed.requires_grad_(False)
        self.bits = bits

    def begin_epoch(self, epoch, epochs):
        share = SHARES[min(epoch * len(SHARES) // epochs, len(SHARES) - 1)]
        w, fixed = self.weight_inq.data.reshape(-1), self.weight_fixed.data.reshape(-1)
        most = (w[fixed > 0] if (fixed > 0).any() else w).abs().max().double()
        n1 = torch.floor(torch.log2(4 * most / 3)).item()
        n2 = n1 + 1 - 2 ** (self.bits - 2)
        values = torch.tensor([0.0, *(2.0 ** n for n in torch.arange(n2, n1 + 1))], dtype=torch.float64)
        borders = (values[1:] + values[:-1]) / 2
        count = round(share * len(w)) - int((fixed > 0).sum())
        free = torch.where(fixed > 0, -torch.ones_like(w), w.abs())
        chosen = torch.argsort(free, descending=True, stable=True)[:max(count, 0)]
        sizes = values[torch.bucketize(w[chosen].abs().double(), borders, right=True)]
        w[chosen] = (torch.sign(w[chosen].double()) * sizes).to(w.dtype)
        fixed[chosen] = 1.0

    def still(self):
        return ((self.weight_inq, self.weight_fixed > 0),)

    def weight(self):
        return self.weight_inq


# ---- Ternary weights (Li and Liu 2016) -------------------------------------------------------------------------------

class TernaryConv(LatentConv):

    def __init__(self, bits, *shape):
        super().__init__(("ternary",), *shape)

    def weight(self):
        v = self.weight_ternary.detach()
        return Replaced.apply(self.weight_ternary, torch.sign(v) * (v.abs() > 0.7 * v.abs().mean()).to(v.dtype))


oracle.CONVOLUTIONS |= {"denseshift": DenseShiftConv, "deepshift-q": DeepShiftQConv, "deepshift-ps": DeepShiftPsConv,
                        "inq": InqConv, "ternary": TernaryConv}
FAMILIES = (("denseshift", 3), ("deepshift-q", 3), ("deepshift-ps", 3), ("inq", 3), ("ternary", 2))

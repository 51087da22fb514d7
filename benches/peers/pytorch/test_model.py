"""The S3 weight and its gradients against their closed form, the deployed copy, the counted arithmetic."""

import math
import unittest

import torch

from model import S3Conv2d, build, deployed, gflop


def closed_form(sign, sparse, shifts):
    """The weight and the factor of each latent's gradient, element by element."""
    rows = []
    for values in zip(sign.tolist(), sparse.tolist(), *(t.tolist() for t in shifts), strict=True):
        sgn, kept = 1.0 if values[0] >= 0 else -1.0, float(values[1] > 0)
        sums = [0.0]
        for t in values[2:]:
            sums.append((sums[-1] + 1) if t > 0 else 0.0)
        power = 2 ** sums[-1]
        dsum, dshifts = sgn * kept * power * math.log(2), []
        for t in range(len(shifts), 0, -1):
            dshifts.insert(0, dsum * (sums[t - 1] + 1))
            dsum = dsum if values[1 + t] > 0 else 0.0
        rows.append((sgn * kept * power, kept * power, sgn * power, *dshifts))
    return torch.tensor(rows, dtype=torch.float64).T


class Model(unittest.TestCase):
    def test_gradients(self):
        torch.manual_seed(1)
        for bits in (2, 3, 4):
            layer = S3Conv2d(3, 8, 3, 1, bits).double()
            latents = [layer.weight_sign, layer.weight_sparse, *layer.weight_shifts]
            with torch.no_grad():
                for k, latent in enumerate(latents):
                    latent.normal_()
                    latent.view(-1)[k::7] = 0
            w = layer.weight
            dw = torch.randn_like(w)
            (w * dw).sum().backward()
            want, *factors = closed_form(*(latent.flatten() for latent in latents[:2]),
                                         [latent.flatten() for latent in latents[2:]])
            torch.testing.assert_close(w.flatten(), want, rtol=0, atol=0)
            for latent, factor in zip(latents, factors, strict=True):
                torch.testing.assert_close(latent.grad.flatten(), dw.flatten() * factor)

    def test_deployed(self):
        torch.manual_seed(1)
        model = build("resnet20", 3)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.1)
        x = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            torch.testing.assert_close(deployed(model, "resnet20")(x), model.eval()(x))

    def test_arithmetic(self):
        for arch, forward, training in (("resnet20", 0.0816, 0.2440), ("resnet18", 3.63, 10.65)):
            got = gflop(arch)
            self.assertAlmostEqual(got[0] / forward, 1, delta=2e-3)
            self.assertAlmostEqual(got[1] / training, 1, delta=2e-3)


if __name__ == "__main__":
    unittest.main()

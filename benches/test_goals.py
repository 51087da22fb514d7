"""python3 -m unittest discover -s benches -p 'test_*.py'"""

import unittest

import goals


def row(**fields):
    return {"arch": "resnet20", "method": "s3", "batch": 128, "precision": "fp32", "compile": False} | fields


def report(tool, kind, backend="vulkan", **groups):
    return {"tool": tool, "adapter": {"kind": kind, "backend": backend}, "ceilings": {}} | groups


def kernel(share, count=1, ms=1.0, name="conv2d_forward", shape="n128 r3 s3 stride1"):
    return {"arch": "resnet20", "batch": 128, "kernel": name, "layer": "a", "shape": shape, "count": count, "bound": "compute",
            "share": share / 2, "share_of_gemm": share, "share_of_step": 0.1, "ms": {"median": ms}}


class Goals(unittest.TestCase):
    def figures(self, *reports):
        return {what: figure for what, figure, _, _ in goals.goals(list(reports))}

    def test_medians_are_pooled_and_divided(self):
        ours = [report("shiftnet", "host", train=[row(images_per_s=speed, time_over_fp32=1.01)]) for speed in (300, 480, 900)]
        theirs = report("pytorch", "cpu", "cpu", train=[row(images_per_s=240)])
        figures = self.figures(*ours, theirs)
        self.assertEqual(figures["host: training ResNet-20 s3 over PyTorch's"], 2.0)
        self.assertEqual(figures["host: time of S³ over fp32, ResNet-20"], 1.01)
        self.assertIsNone(figures["host: inference ResNet-20 s3 over PyTorch's"])

    def test_other_batches_devices_and_precisions_do_not_count(self):
        ours = report("shiftnet", "discrete", train=[row(batch=512, images_per_s=90_000)])
        others = [report("pytorch", "discrete", "cuda", train=[row(batch=128, images_per_s=1)]),
                  report("pytorch", "discrete", "cuda", train=[row(batch=512, precision="tf32", images_per_s=1)]),
                  report("pytorch", "discrete", "cuda", train=[row(batch=512, compile=True, images_per_s=1)]),
                  report("pytorch", "cpu", "cpu", train=[row(batch=512, images_per_s=1)])]
        name = "GPU: training ResNet-20 S³, batch 512, over PyTorch's fp32"
        self.assertIsNone(self.figures(ours, *others)[name])
        right = report("pytorch", "discrete", "cuda", train=[row(batch=512, images_per_s=30_000)])
        self.assertEqual(self.figures(ours, *others, right)[name], 3.0)

    def test_deployed_networks_are_compared_with_deployed_ones(self):
        rates = {"fp32": 100, "fp32 folded": 160, "fp32 packed": 152, "int8 dp4a": 400}
        rows = [row(method="s3" if form[4:] in ("", " packed") or form[0] == "i" else "fp32", precision=form, images_per_s=rate)
                for form, rate in rates.items()]
        rows.append(row(method="fp32", images_per_s=100))
        theirs = report("pytorch", "cpu", "cpu", infer=[row(images_per_s=76)])
        figures = self.figures(report("shiftnet", "host", infer=rows), theirs)
        self.assertEqual(figures["host: packed inference over folded fp32, ResNet-20, batch 128"], 0.95)
        self.assertEqual(figures["host: folded inference over the trained graph, ResNet-20, batch 128"], 1.6)
        self.assertEqual(figures["host: inference ResNet-20 s3 over PyTorch's"], 2.0)
        self.assertIsNone(figures["host: packed inference over folded fp32, ResNet-20, batch 1"])

    def test_convolutions_weigh_by_their_time(self):
        rows = [kernel(1.0, count=3), kernel(0.5, ms=3.0), kernel(0.1, shape="n128 r1 s1"), kernel(0.1, name="batch_norm")]
        ours = report("shiftnet", "software", kernels=rows)
        self.assertEqual(self.figures(ours)["software: 3x3 convolutions over the same"], 0.75)

    def test_slow_kernels_of_a_gpu_are_named(self):
        slow, fast = kernel(0.4), kernel(0.8)
        figures = self.figures(report("shiftnet", "discrete", kernels=[slow, fast]))
        self.assertEqual([f for what, f in figures.items() if "over its ceiling" in what], [0.2])

    def test_nan_does_not_hold(self):
        self.assertFalse(goals.holds(float("nan"), ">=", 1.0))
        self.assertFalse(goals.holds(float("nan"), "<=", 1.0))
        self.assertTrue(goals.holds(1.0, "<=", 1.03) and goals.holds(1.0, ">=", 1.0))
        self.assertFalse(goals.holds(1.04, "<=", 1.03) or goals.holds(0.5, ">=", 0.6))


if __name__ == "__main__":
    unittest.main()

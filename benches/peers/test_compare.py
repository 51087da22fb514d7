"""Tests of compare.py: python3 -m unittest in this directory."""

import copy
import json
import tempfile
import unittest
from pathlib import Path

import compare


def report(tool, name, kind, rates, gemm=10.0, **more):
    """A report with S3 and fp32 training at `rates` images/s."""
    def row(method, rate):
        return {"arch": "resnet20", "method": method, "batch": 100, "precision": "fp32",
                "ms": {"median": 1e5 / rate, "spread": 1.0, "samples": 5}, "images_per_s": rate, "gflop_per_s": 1.0}
    return {"tool": tool, "version": "1.0", "date": "2026-01-02", "machine": {"cpu": "Z80", "cores": 2},
            "adapter": {"name": name, "kind": kind, "backend": "cpu" if kind in ("host", "cpu") else "vulkan", "driver": ""},
            "ceilings": {"gemm_f32_gflop_per_s": gemm}, "kernels": [],
            "train": [row("s3", rates[0]), row("fp32", rates[1])], "infer": [], **more}


HOST = report("shiftnet", "host", "host", (30.0, 40.0), commit="abc")
TORCH = report("pytorch", "Z80", "cpu", (20.0, 50.0), gemm=20.0)


class Compare(unittest.TestCase):
    def document(self, *reports):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{i}.json" for i in range(len(reports))]
            for path, value in zip(paths, reports):
                path.write_text(value if isinstance(value, str) else json.dumps(value))
            return compare.document(paths)

    def refused(self, pattern, *reports):
        with self.assertRaisesRegex(compare.Refusal, pattern):
            self.document(*reports)

    def test_figures_and_ratios(self):
        text = self.document(TORCH, HOST)
        self.assertTrue(text.startswith("Z80, 2 cores, 2026-01-02, shiftnet at abc.\n"), text)
        for line in ("|  | shiftnet 1.0, host engine | pytorch 1.0, CPU |",
                     "| training S³, images/s | 30.0 | 20.0 |",
                     "| training time, S³ / fp32 | 1.333 | 2.500 |",
                     "| shiftnet 1.0, host engine / the other | pytorch 1.0, CPU |",
                     "| training S³ | 1.50 |",
                     "| training fp32 | 0.80 |",
                     "| GEMM 1024³ f32 | 0.50 |"):
            self.assertIn(line, text.splitlines())
        self.assertNotIn("inference", text)
        self.assertNotIn("| training time |", text)

    def test_rounds_are_pooled_and_variants_are_not(self):
        slow = report("pytorch", "Z80", "cpu", (10.0, 50.0))
        fast = report("pytorch", "Z80", "cpu", (90.0, 50.0))
        self.assertIn("| training S³, images/s | 30.0 | 20.0 |", self.document(HOST, slow, TORCH, fast))
        compiled = copy.deepcopy(TORCH)
        for row in compiled["train"]:
            row["compile"], row["images_per_s"] = True, 60.0
        self.assertIn("| training S³, images/s | 30.0 | 20.0 | 60.0 |", self.document(HOST, TORCH, compiled))

    def test_batches_have_their_own_tables(self):
        other = copy.deepcopy(TORCH)
        for row in other["train"]:
            row["batch"] = 200
        text = self.document(HOST, other)
        self.assertIn("resnet20, batch 100:", text)
        self.assertIn("resnet20, batch 200:", text)
        self.assertNotIn("/ the other", text)

    def test_machines_are_not_mixed(self):
        for change in ({"cpu": "6502", "cores": 2}, {"cpu": "Z80", "cores": 4}):
            self.refused("different machines(.|\n)*Z80, 2 cores: .*0.json", HOST, TORCH | {"machine": change})

    def test_wrong_files(self):
        self.refused("0.json: ", "{")
        self.refused("no str `tool`", {})
        self.refused("no dict `machine`", HOST | {"machine": 3})
        self.refused("row of `train`", HOST | {"train": [{"arch": "resnet20"}]})
        self.refused("no training or inference figures", HOST | {"train": []})
        for wrong in (float("nan"), 0, -1, None, "3"):
            broken = copy.deepcopy(HOST)
            broken["train"][0]["images_per_s"] = wrong
            self.refused("training S³, images/s: expected a positive number", broken)


if __name__ == "__main__":
    unittest.main()

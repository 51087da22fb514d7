#!/usr/bin/env python3
"""What `shiftnet bench` and its peers measured on one machine, against what shiftnet wants to reach.

    goals.py FILE.json ...

Takes the JSON files of `shiftnet bench --json` and of benches/peers/; several of one tool, device and precision are pooled
(the median of their medians). Each goal that the files can decide is a line: what, the figure, the bound, whether it holds.
Exit code 1 where one does not hold.
"""

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "peers"))
import compare  # noqa: E402


class Figures:
    """The rows of one tool on one kind of device."""

    def __init__(self, reports):
        self.reports = reports

    def median(self, group, value, **where):
        """The median of `value` over rows of `group` with these fields; none where there is no row."""
        found = [row[value] for report in self.reports for row in report.get(group, [])
                 if all(row.get(key) == wanted for key, wanted in where.items()) and row.get(value) is not None]
        return statistics.median(found) if found else None

    def ceiling(self, name):
        found = [report.get("ceilings", {}).get(name) for report in self.reports]
        found = [value for value in found if value is not None]
        return statistics.median(found) if found else None

    def kernels(self, **where):
        return [row for report in self.reports for row in report.get("kernels", [])
                if all(row.get(key) == wanted for key, wanted in where.items())]


def over(a, b):
    """a / b, none where one of them is missing."""
    return None if a is None or not b else a / b


def is_3x3(row):
    return row["kernel"].startswith("conv2d_") and " r3 s3 " in f" {row['shape']} "


def weighted(rows, share):
    """The mean share of `rows` by the time that they take in a step; none where there are none."""
    time = sum(row["count"] * row["ms"]["median"] for row in rows)
    return sum(row["count"] * row["ms"]["median"] * row[share] for row in rows) / time if time else None


# What a network computes with where it is trained, and where it is deployed.
GRAPH = "fp32"
DEPLOYED = {"s3": "fp32 packed", "fp32": "fp32 folded"}


def on_both(ours, name):
    """What holds of every engine: the method costs little, packed weights too, and folding is worth it."""
    cost = ours.median("train", "time_over_fp32", arch="resnet20", method="s3")
    yield f"{name}: time of S³ over fp32, ResNet-20", cost, "<=", 1.03

    def rate(method, precision, batch):
        return ours.median("infer", "images_per_s", arch="resnet20", method=method, precision=precision, batch=batch)

    for batch in (1, 128):
        folded = rate("fp32", DEPLOYED["fp32"], batch)
        where = f"ResNet-20, batch {batch}"
        yield f"{name}: packed inference over folded fp32, {where}", over(rate("s3", DEPLOYED["s3"], batch), folded), ">=", 0.9
        yield f"{name}: folded inference over the trained graph, {where}", over(folded, rate("fp32", GRAPH, batch)), ">=", 1.5


def on_software(ours, burn):
    gemm = ours.ceiling("gemm_f32_gflop_per_s")
    r20 = {"arch": "resnet20", "method": "s3", "batch": 128}
    train = ours.median("train", "gflop_per_s", **r20)
    infer = ours.median("infer", "gflop_per_s", precision=DEPLOYED["s3"], **r20)
    yield "software: training ResNet-20 S³ over the best product of matrices", over(train, gemm), ">=", 0.6
    yield "software: inference over the same", over(infer, gemm), ">=", 0.7
    convolutions = [row for row in ours.kernels(arch="resnet20", bound="compute") if is_3x3(row)]
    yield "software: 3x3 convolutions over the same", weighted(convolutions, "share_of_gemm"), ">=", 0.8
    yield "software: product of matrices over Burn's", over(gemm, burn.ceiling("gemm_f32_gflop_per_s")), ">=", 1.0
    images = ours.median("train", "images_per_s", **r20)
    yield "software: training over Burn's", over(images, burn.median("train", "images_per_s", **r20)), ">=", 3.5


def on_host(ours, pytorch):
    for group, name in (("train", "training"), ("infer", "inference")):
        for method in ("s3", "fp32"):
            where = {"arch": "resnet20", "method": method, "batch": 128}
            precision = GRAPH if group == "train" else DEPLOYED[method]
            rate = ours.median(group, "images_per_s", precision=precision, **where)
            ratio = over(rate, pytorch.median(group, "images_per_s", **where))
            yield f"host: {name} ResNet-20 {method} over PyTorch's", ratio, ">=", 1.2


def on_gpu(ours, pytorch):
    plain = {"precision": "fp32", "compile": False}
    convolutions = [row for row in ours.kernels(arch="resnet18", batch=256, bound="compute") if is_3x3(row)]
    yield "GPU: 3x3 convolutions of ResNet-18, batch 256, over the multiply-add rate", weighted(convolutions, "share"), ">=", 0.45
    for method in ("s3", "fp32"):
        where = {"arch": "resnet18", "method": method, "batch": 256}
        images, theirs = ours.median("train", "images_per_s", **where), pytorch.median("train", "images_per_s", **where, **plain)
        yield f"GPU: training ResNet-18 {method}, batch 256, over PyTorch's fp32", over(images, theirs), ">=", 0.8
    where = {"arch": "resnet18", "batch": 128}
    bytewise, folded = (ours.median("infer", "images_per_s", method=method, precision=precision, **where)
                        for method, precision in (("s3", "int8 dp4a"), ("fp32", DEPLOYED["fp32"])))
    yield "GPU: inference ResNet-18 of bytes over folded fp32, batch 128", over(bytewise, folded), ">=", 1.5
    where = {"arch": "resnet20", "method": "s3", "batch": 512}
    images, theirs = ours.median("train", "images_per_s", **where), pytorch.median("train", "images_per_s", **where, **plain)
    yield "GPU: training ResNet-20 S³, batch 512, over PyTorch's fp32", over(images, theirs), ">=", 3.0
    yield "GPU: images/s of that", images, ">=", 60_000
    for row in ours.kernels():
        if row["share_of_step"] > 0.03 and row["share"] < 0.3:
            name = f"GPU: {row['arch']} {row['kernel']} {row['layer']}, {100 * row['share_of_step']:.0f} % of a step, over its ceiling"
            yield name, row["share"], ">=", 0.3


def goals(reports):
    """(what, figure, relation, bound) of every goal; a figure is none where a file for it is missing."""
    def of(tool, *kinds):
        return Figures([r for r in reports if r["tool"] == tool and r["adapter"].get("kind") in kinds])

    def cpu(report):
        return report["adapter"].get("backend") == "cpu"

    torch = [r for r in reports if r["tool"] == "pytorch"]
    burn = Figures([r for r in reports if r["tool"] == "burn"])
    host, software = of("shiftnet", "host"), of("shiftnet", "software")
    gpu = of("shiftnet", "discrete", "integrated", "virtual", "other")
    found = []
    if software.reports:
        found += on_both(software, "software")
        found += on_software(software, burn)
    if host.reports:
        found += on_both(host, "host")
        found += on_host(host, Figures([r for r in torch if cpu(r)]))
    if gpu.reports:
        found += on_both(gpu, "GPU")
        found += on_gpu(gpu, Figures([r for r in torch if not cpu(r)]))
    return found


def holds(figure, relation, bound):
    """Written so that NaN does not hold."""
    return figure <= bound if relation == "<=" else figure >= bound


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.json")
    try:
        reports = [compare.read(path) for path in parser.parse_args().files]
        cpu, cores = compare.machine(reports)
    except compare.Refusal as refusal:
        sys.exit(f"goals.py: {refusal}")
    print(f"{cpu or 'unknown processor'}, {cores} cores\n")
    print("| goal | figure | bound | |\n|---|---|---|---|")
    missed = 0
    for what, figure, relation, bound in goals(reports):
        if figure is None:
            print(f"| {what} | | {relation} {bound:,} | not measured |")
            continue
        good = holds(figure, relation, bound)
        missed += not good
        text = f"{figure:,.0f}" if figure >= 100 else f"{figure:.3f}"
        print(f"| {what} | {text} | {relation} {bound:,} | {'holds' if good else 'MISSED'} |")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()

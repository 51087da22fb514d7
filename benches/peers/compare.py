#!/usr/bin/env python3
"""Joins the JSON of `shiftnet bench` and of its peers, measured on one machine, into Markdown tables.

    compare.py FILE.json ...

A column is a tool on a device at a precision; several files of one column are pooled (the median of their medians).
Then, for each device of shiftnet, how its figures relate to the others'. Files of different machines are refused.
"""

import argparse
import json
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path

SPEEDS = (  # row, list of the file, method: images/s
    ("training S³, images/s", "train", "s3"),
    ("training fp32, images/s", "train", "fp32"),
    ("inference S³, images/s", "infer", "s3"),
    ("inference fp32, images/s", "infer", "fp32"),
)
COST = "training time, S³ / fp32"
GEMMS = (("GEMM 1024³ f32, GFLOP/s", "gemm_f32_gflop_per_s"), ("GEMM 1024³ tf32, GFLOP/s", "gemm_tf32_gflop_per_s"))
FIELDS = {"tool": str, "version": str, "date": str, "machine": dict, "adapter": dict}
ORDER = ("shiftnet", "pytorch", "burn")


class Refusal(Exception):
    """Why there is no table; the message says what to do."""


def number(value, what):
    """A positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (0 < value < math.inf):
        raise Refusal(f"{what}: expected a positive number, got {value!r}")
    return float(value)


def read(path):
    """One report as a dict."""
    try:
        report = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise Refusal(f"{path}: {error}") from error
    for key, kind in FIELDS.items():
        if not isinstance(report, dict) or not isinstance(report.get(key), kind):
            raise Refusal(f"{path}: no {kind.__name__} `{key}`; expected the JSON of a benchmark")
    for group in ("train", "infer"):
        for row in report.get(group, []):
            if not isinstance(row, dict) or not {"arch", "method", "batch"} <= row.keys():
                raise Refusal(f"{path}: a row of `{group}` without arch, method and batch")
    report["path"] = str(path)
    return report


def machine(reports):
    """The (cpu, cores) that all reports share."""
    found = defaultdict(list)
    for report in reports:
        found[report["machine"].get("cpu", ""), report["machine"].get("cores")].append(report["path"])
    if len(found) > 1:
        lines = [f"  {cpu or 'unknown processor'}, {cores} cores: {', '.join(paths)}"
                 for (cpu, cores), paths in found.items()]
        raise Refusal("measured on different machines, whose figures cannot be set against each other:\n"
                      + "\n".join(lines) + "\nName the files of one machine.")
    return next(iter(found))


def column(report, row):
    """What tells a column from the others: tool, version, device, variant."""
    adapter = report["adapter"]
    host = adapter.get("kind") == "host"
    device = "host engine" if host else "CPU" if adapter.get("backend") == "cpu" else adapter.get("name", "?")
    variant = [row.get("precision", "fp32")] if row.get("precision", "fp32") != "fp32" else []
    variant += ["compiled"] if row.get("compile") else []
    return report["tool"], report["version"], device, " ".join(variant)


def title(key):
    tool, version, device, variant = key
    return " ".join(part for part in (tool, version.split("+")[0] + ",", device, variant) if part)


def gather(reports):
    """{(arch, batch): {column: {row: figure}}}."""
    samples = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for report in reports:
        times = defaultdict(dict)
        for name, group, method in SPEEDS:
            for row in report.get(group, []):
                if row["method"] != method:
                    continue
                what = f"{report['path']}: {name}"
                table, key = (row["arch"], row["batch"]), column(report, row)
                samples[table][key][name].append(number(row.get("images_per_s"), what))
                if group == "train":
                    times[table, key][method] = number(row.get("ms", {}).get("median"), what)
                for gemm, ceiling in GEMMS:
                    if ceiling in report.get("ceilings", {}):
                        samples[table][key][gemm].append(number(report["ceilings"][ceiling], f"{report['path']}: {gemm}"))
        for (table, key), ms in times.items():
            if len(ms) == 2:
                samples[table][key][COST].append(ms["s3"] / ms["fp32"])
    return {table: {key: {name: statistics.median(values) for name, values in rows.items()}
                    for key, rows in sorted(columns.items(), key=rank)} for table, columns in samples.items()}


def rank(item):
    (tool, *rest), _ = item
    return ORDER.index(tool) if tool in ORDER else len(ORDER), rest


def rows_of(columns):
    names = [name for name, _, _ in SPEEDS[:2]] + [COST] + [name for name, _, _ in SPEEDS[2:]] + [name for name, _ in GEMMS]
    return [name for name in names if any(name in rows for rows in columns.values())]


def figure(value, name):
    if value is None:
        return ""
    return f"{value:.3f}" if name == COST else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def markdown(header, body):
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def tables(columns):
    """The figures, then one table of ratios for each shiftnet column."""
    names = rows_of(columns)
    yield markdown(["", *map(title, columns)],
                   [[name, *(figure(rows.get(name), name) for rows in columns.values())] for name in names])
    for own, figures in columns.items():
        others = [key for key in columns if key != own]
        if own[0] != "shiftnet" or not others:
            continue
        body = []
        for name in names:
            if name == COST or name not in figures:
                continue
            ratios = [columns[key].get(name) and figures[name] / columns[key][name] for key in others]
            if any(ratios):
                body.append([name.split(",")[0], *(f"{r:.2f}" if r else "" for r in ratios)])
        if body:
            yield markdown([f"{title(own)} / the other", *map(title, others)], body)


def document(paths):
    """The whole Markdown text."""
    reports = [read(path) for path in paths]
    cpu, cores = machine(reports)
    dates = sorted({report["date"] for report in reports})
    commits = sorted({report["commit"] for report in reports if report.get("commit")})
    facts = [cpu or "unknown processor", f"{cores} cores", " to ".join(dict.fromkeys((dates[0], dates[-1])))]
    facts += [f"shiftnet at {' and '.join(commits)}"] if commits else []
    gathered = gather(reports)
    if not gathered:
        raise Refusal("no training or inference figures in these files")
    parts = [", ".join(facts) + "."]
    for (arch, batch), columns in sorted(gathered.items()):
        parts += [f"{arch}, batch {batch}:", *tables(columns)]
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.json")
    try:
        print(document(parser.parse_args().files))
    except Refusal as refusal:
        sys.exit(f"compare.py: {refusal}")


if __name__ == "__main__":
    main()

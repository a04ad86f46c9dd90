#!/usr/bin/env python3
"""What scripts/bench-peers.sh needs beside the shell. Only the standard library.

usage: report.py ports COUNT                        free ports, one a line
       report.py etcd-leader HOST:PORT,...          the address of the node that leads
       report.py row SUMMARY.json                   a run of `lab bench` as a line of runs.csv, from `ops` on
       report.py table RUNS.csv ABOUT.tsv FOLDER    prints the table; leaves peers.csv, runs.csv and summary.json
"""

import csv
import json
import os
import platform
import random
import shutil
import socket
import statistics
import sys
import time
import urllib.request

FIGURES = ["ops_per_second", "p50_us", "p99_us", "p99.9_us"]


def ports(count):
    """Bound all at once, so that no two are the same; below the ports that the system gives to connections."""
    found = []
    while len(found) < int(count):
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", random.randrange(10_000, 32_000)))
        except OSError:
            continue
        found.append(listener)
    for listener in found:
        print(listener.getsockname()[1])


def etcd_leader(to):
    for address in to.split(","):
        url = f"http://{address}/v3/maintenance/status"
        with urllib.request.urlopen(url, data=b"{}", timeout=5) as reply:
            status = json.load(reply)
        if status["leader"] == status["header"]["member_id"]:
            print(address)
            return
    sys.exit(1)


def row(path):
    with open(path, encoding="utf-8") as file:
        summary = json.load(file)
    # Of the two kinds one has been asked for.
    (kind,) = summary["kinds"].values()
    errors = kind["errors"] + kind["unknown"] + kind["missing"]
    percentiles = [f"{kind['percentiles_us'][name]:.1f}" for name in ("p50", "p99", "p99.9")]
    print(kind["ops"], errors, f"{summary['seconds']:.6f}", *percentiles, sep=",")


def read_about(path):
    about = {"note": [], "promise": {}, "version": {}, "to": {}, "skipped": {}, "config": {}}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            field, name, text = line.rstrip("\n").split("\t", 2)
            if field == "note":
                about["note"].append(text)
            elif field == "baseline":
                about["baseline"] = text
            else:
                about[field][name] = text
    return about


def medians(path):
    """By work and subject: the medians of the figures over the rounds, in the order of the file."""
    runs = {}
    with open(path, encoding="utf-8", newline="") as file:
        for run in csv.DictReader(file):
            key = (run["work"], int(run["clients"]))
            run["ops_per_second"] = int(run["ops"]) / max(float(run["seconds"]), 1e-9)
            runs.setdefault(key, {}).setdefault(run["subject"], []).append(run)
    return {
        work: {
            subject: {name: statistics.median(float(run[name]) for run in rounds) for name in FIGURES}
            | {"rounds": len(rounds), "errors": sum(int(run["errors"]) for run in rounds)}
            for subject, rounds in subjects.items()
        }
        for work, subjects in runs.items()
    }


def ratio(figures, base, name):
    """The other's figure over ours."""
    return figures[name] / base[name] if base and base[name] else None


def results(path, baseline):
    for (work, clients), subjects in medians(path).items():
        base = subjects.get(baseline)
        for subject, figures in subjects.items():
            yield {
                "work": work,
                "clients": clients,
                "subject": subject,
                **{name: round(figures[name], 1) for name in FIGURES},
                "rounds": figures["rounds"],
                "errors": figures["errors"],
                "ops_ratio": ratio(figures, base, "ops_per_second"),
                "p50_ratio": ratio(figures, base, "p50_us"),
            }


def shown(number):
    return "-" if number is None else f"{number:.2f}"


def print_table(rows, about):
    baseline = about["baseline"]
    last = None
    for line in rows:
        work = (line["work"], line["clients"])
        if work != last:
            clients = "1 client" if work[1] == 1 else f"{work[1]} clients"
            heading = f"{work[0]}, {clients}"
            print(f"\n{heading:<20}{'ops/s':>10}{'ratio':>8}{'p50 µs':>11}{'ratio':>8}{'p99 µs':>11}{'p99.9 µs':>11}")
            last = work
        errors = f"   {line['errors']} errors" if line["errors"] else ""
        print(
            f"  {line['subject']:<18}{line['ops_per_second']:>10.0f}{shown(line['ops_ratio']):>8}"
            f"{line['p50_us']:>11.1f}{shown(line['p50_ratio']):>8}{line['p99_us']:>11.1f}{line['p99.9_us']:>11.1f}{errors}"
        )
    print(f"\nmedians over the rounds; ratios are to {baseline}")
    for subject, promise in about["promise"].items():
        print(f"  {subject:<18}{promise}" + ("   [skipped]" if subject in about["skipped"] else ""))
    for subject, why in about["skipped"].items():
        print(f"skipped: {subject}: {why}")


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        return models[0] if models else platform.processor()
    except OSError:
        return platform.processor()


def table(runs, about_path, folder):
    about = read_about(about_path)
    rows = list(results(runs, about["baseline"]))
    os.makedirs(folder, exist_ok=True)
    if rows:
        with open(os.path.join(folder, "peers.csv"), "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
            writer.writeheader()
            for line in rows:
                ratios = {name: "" if line[name] is None else f"{line[name]:.4f}" for name in ("ops_ratio", "p50_ratio")}
                writer.writerow(line | ratios)
    shutil.copyfile(runs, os.path.join(folder, "runs.csv"))
    summary = {
        "name": os.path.basename(os.path.normpath(folder)),
        "ended": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {"system": platform.platform(), "processor": processor(), "processors": os.cpu_count()},
        "config": about["config"],
        "baseline": about["baseline"],
        "subjects": {
            subject: {"promise": promise}
            | {name: about[name][subject] for name in ("version", "to", "skipped") if subject in about[name]}
            for subject, promise in about["promise"].items()
        },
        "results": rows,
        "notes": about["note"],
    }
    with open(os.path.join(folder, "summary.json"), "w", encoding="utf-8") as file:
        json.dump(summary, file, indent=2, ensure_ascii=False)
        file.write("\n")
    print_table(rows, about)
    print(f"written to {folder}: peers.csv runs.csv summary.json")


def main(arguments):
    commands = {"ports": (ports, 1), "etcd-leader": (etcd_leader, 1), "row": (row, 1), "table": (table, 3)}
    command, count = commands.get(arguments[0] if arguments else "", (None, 0))
    if command is None or len(arguments) != count + 1:
        sys.exit(__doc__)
    command(*arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])

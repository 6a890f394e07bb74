"""Seconds of each stage, with start-up (imports) apart from the rest.

Runs every stage of a finished pipeline again in the order of `dvc.yaml`; outputs keep their bytes. Start-up is the
median of several runs that only import the script.

Run: python benchmarks/stages.py [--rounds N] [--without-training]
"""

import argparse
import statistics
import subprocess
import sys
import time

import yaml

from timemachine.pipeline import stage

IMPORT_ONLY = "import runpy, sys; sys.argv[1:] = []; runpy.run_path({script!r}, run_name='imported')"


def seconds(*command: str) -> float:
    """Return the seconds that a Python command takes."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True, cwd=stage.repository_root())
    return time.perf_counter() - begin


def scripts() -> list[list[str]]:
    """Return the script and the name of every stage in `dvc.lock`, in the order of `dvc.yaml`."""
    root = stage.repository_root()
    order = list(yaml.safe_load((root / "dvc.yaml").read_text())["stages"])
    locked = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    ordered = sorted(locked, key=lambda name: order.index(name.partition("@")[0]))
    return [[f"stages/{name}.py", *key] for name, *key in (addressed.split("@") for addressed in ordered)]


def main() -> None:
    """Print a line for each stage, and the sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without-training", action="store_true", help="leave train_ar and train_rnn out")
    options = parser.parse_args()
    print("stage | start-up s | rest s")
    totals = [0.0, 0.0]
    for script, *arguments in scripts():
        if options.without_training and "train_" in script:
            continue
        start_up = statistics.median(
            seconds("-c", IMPORT_ONLY.format(script=script)) for _ in range(options.rounds)
        )
        rest = seconds(script, *arguments) - start_up
        totals = [totals[0] + start_up, totals[1] + rest]
        print(f"{' '.join([script, *arguments])} | {start_up:.1f} | {rest:.1f}", flush=True)
    print(f"all | {totals[0]:.1f} | {totals[1]:.1f}")


if __name__ == "__main__":
    main()

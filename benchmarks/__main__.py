"""Everything side by side in one run: ``python -m benchmarks``; a table on the screen and benchmarks/results.json."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="length of each part with a running gateway"
    )
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    results: dict[str, object] = {}
    failed: list[str] = []
    for name, more in (
        ("senml", ()),
        ("iec104", ()),
        ("iec61850", ()),
        ("workers", ()),
        ("dlms", ()),
        ("gateway", ("--seconds", str(arguments.seconds))),
    ):
        print(f"\n== {name}", flush=True)
        part = arguments.output.with_suffix(f".{name}.json")
        part.unlink(missing_ok=True)
        ended = subprocess.run(
            [sys.executable, "-m", f"benchmarks.{name}", "--json", str(part), *more], check=False
        )
        # A part that misses its target says so by its exit code; the others are measured all the same.
        if ended.returncode:
            failed.append(name)
        if part.exists():
            results[name] = json.loads(part.read_text())
            part.unlink()
    arguments.output.write_text(json.dumps(results, indent=2))
    print(f"\nwritten: {arguments.output}")
    if failed:
        sys.exit(f"failed or missed a target: {', '.join(failed)}")


if __name__ == "__main__":
    main()

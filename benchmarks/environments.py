"""Environments of peers: libraries that are measured beside ours, or asked what they say, and never installed with it.

Each has its own virtual environment under `.peers/`, made when it is first asked for, so that their pins (an old
numpy, pandas) meet neither ours nor each other.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["PINS", "python_of", "run"]

ROOT = Path(__file__).parents[1] / ".peers"
PINS = {
    "science": ("scipy==1.17.1", "scikit-learn", "river==0.26.1"),
    "evidently": ("evidently==0.7.23", "pandas<3"),
    "nannyml": ("nannyml==0.13.1", "statsmodels"),  # which it imports and does not name
    "calendars": ("holidays==0.108", "exchange_calendars==4.13.2"),
    "returns": ("quantstats==0.0.86", "empyrical-reloaded==0.7.1"),
}


def python_of(name: str) -> Path:
    """The interpreter of the environment `name`, which is installed where need be. Raises CalledProcessError."""
    home = ROOT / name
    python, done = home / "bin" / "python", home / ".installed"
    wanted = "\n".join(PINS[name])
    if not done.exists() or done.read_text() != wanted:
        print(f"    making {home.relative_to(ROOT.parent)}: {', '.join(PINS[name])}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        subprocess.run([*pip, "--quiet", "--quiet", "install", *PINS[name]], check=True)
        done.write_text(wanted)
    return python


def run(name: str, script: Path, *arguments: str, timeout: float = 900.0) -> str:
    """What the script prints when it runs in the environment `name`, with one thread for its arithmetic."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run(
        [python_of(name), script, *arguments],
        env=os.environ | single,
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        timeout=timeout,
    )
    return done.stdout


if __name__ == "__main__":  # python -m benchmarks.environments NAME ...: made beforehand, so that no test waits for it
    for wanted in sys.argv[1:]:
        python_of(wanted)

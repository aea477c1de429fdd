"""How often calls as in the field are told right: all faults at once, by the kind of their stamps.

    python benchmarks/field.py [--calls 2000] [--seed 0] [--verbose]

Each call is drawn as tests/helpers/plans.py draws it: losses, duplicates, late packets, broken
connections, mutes, hidden losses, restarts and leaps of the media clock, wall clocks that are set,
short and uneven packets, sample clocks that are off; stamps of nine kinds. A call is told right
where the seconds missing, and those there twice, are each within half a packet or 1 % of the truth,
whichever is more. A phantom is a gap that is told where nothing is missing.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from helpers.field import tell


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first call")
    parser.add_argument("--verbose", action="store_true", help="name those that are told wrong")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    told = pd.DataFrame([tell(options.seed + number) for number in range(options.calls)])
    told["many"] = told["phantoms"] > told["packets"] / 500 + 1
    told.loc[told["exact"], "many"] = told["phantoms"] > 0
    print("| Stamps | Calls | Right | With phantoms beyond 1 in 500 packets |")
    print("| --- | ---: | ---: | ---: |")
    for kind, some in [*told.groupby("kind"), ("all", told)]:
        print(
            f"| {kind} | {len(some):,} | {some['right'].mean():.1%} | {some['many'].mean():.1%} |"
        )
    print(
        f"\nthe worst is off by {told['off'].max():.2g} s, {told['off'].median():.2g} in the median"
    )
    print(f"the sum comes out within {told['apart'].abs().max() * 1e3:.2g} ms in every call")
    if options.verbose:
        print("told wrong:", *told["seed"][~told["right"]])
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m world`: make pictures of people with known truth.

Example: python -m world --people 40 --views 4 --seed 0 --out worlds/small --sheet
"""

import argparse
import sys
import time
from pathlib import Path

from world.bodies import BodyDataMissingError
from world.folder import FolderError, Progress, World, make_world, read_truth
from world.photographs import PhotographMissingError
from world.shards import write_shards
from world.sheet import write_sheet


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 after one line that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        world = World(
            people=options.people,
            views=options.views,
            others=options.others,
            seed=options.seed,
            supersample=options.supersample,
            captions=options.captions,
            lie_rate=options.lies,
            fixed=_fixed(options.only),
        )
        make_world(world, options.out, options.workers, _progress())
        print(f"{options.out}: {_summary(options.out)}")
        if options.shards:
            pairs = write_shards(options.out, options.out / "shards", options.seed)
            print(f"{options.out / 'shards'}: {pairs} pairs, split by identity")
        if options.sheet:
            write_sheet(options.out, options.out / "sheet.png")
            print(f"{options.out / 'sheet.png'}")
    except (ValueError, BodyDataMissingError, PhotographMissingError, FolderError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m world",
        description="Make pictures of clothed pedestrians whose truth is known. They look like a game.",
        epilog="example: python -m world --people 40 --views 4 --seed 0 --out worlds/small --sheet",
    )
    add = parser.add_argument
    add("--people", type=int, required=True, help="how many identities")
    add("--views", type=int, required=True, help="pictures of each identity by itself")
    add("--others", type=int, default=4, help="pictures of every other kind: scenes, empty, negatives")
    add("--seed", type=int, default=0, help="another seed, another world")
    add("--out", type=Path, required=True, help="a new folder, or one where this world was begun")
    add("--captions", type=int, default=2, help="captions of each person")
    add("--lies", type=float, default=0.0, metavar="RATE", help="share of the captions' claims told wrongly")
    add("--only", action="append", default=[], metavar="NAME=VALUE", help="an attribute that everybody has")
    add("--supersample", type=int, default=1, help="2 draws at twice the size and averages: smoother, slower")
    add("--workers", type=int, default=None, help="processes; by default one a CPU")
    add("--shards", action="store_true", help="also write training shards, split by identity")
    add("--sheet", action="store_true", help="also write a contact sheet with boxes and keypoints")
    return parser


def _fixed(settings: list[str]) -> dict[str, str]:
    fixed: dict[str, str] = {}
    for setting in settings:
        name, found, value = setting.partition("=")
        if not found:
            raise ValueError(f"--only {setting}: is not NAME=VALUE")
        if fixed.setdefault(name, value) != value:
            raise ValueError(f"--only {setting}: {name} is {fixed[name]} already")
    return fixed


def _summary(out: Path) -> str:
    counts = {name: read_truth(out, name).num_rows for name in ("pictures", "persons", "captions")}
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _progress() -> Progress:
    """On a terminal one line that changes, otherwise a plain line now and then."""
    live, shown_at = sys.stderr.isatty(), 0.0

    def show(done: int, total: int) -> None:
        nonlocal shown_at
        if done < total and time.monotonic() - shown_at < (0.2 if live else 10):
            return
        shown_at = time.monotonic()
        end = "\r" if live and done < total else "\n"
        print(f"pictures: {done} of {total}", end=end, file=sys.stderr, flush=True)

    return show


if __name__ == "__main__":
    sys.exit(main())

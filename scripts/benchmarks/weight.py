"""Weighs an installation without extras: what it takes on disk, with libraries for GPUs and without.

    python -m scripts.benchmarks.weight

It adds up the files of the installed distributions that tcd-hf requires, directly or through others. Libraries for GPUs
are those of NVIDIA, triton, and the files of torch in whose name `cuda` or `nvshmem` stands: what PyTorch's build for
CPUs does not have. Where that build is installed there are none, and both sums are equal.
"""

import argparse
import re
from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.benchmarks.machine import describe_machine, in_words, table

__all__ = ["main", "required", "weigh"]

GPU_DISTRIBUTIONS = r"nvidia-|cuda-|triton$"
GPU_FILES = r"torch/lib/\S*(cuda|nvshmem)"
GIB = 2**30


def main(argv: list[str] | None = None) -> int:
    """Prints Markdown; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=int, default=8, help="distributions that are shown one by one (default: 8)")
    args = parser.parse_args(argv)
    weights = {name: weigh(distribution) for name, distribution in required("tcd-hf").items()}
    print(f"{in_words(describe_machine())}\n\n{to_markdown(weights, args.largest)}")
    return 0


def required(name: str) -> dict[str, metadata.Distribution]:
    """The distributions that a distribution requires, directly or through others, by name, and not itself.

    Raises:
        importlib.metadata.PackageNotFoundError: one of them is not installed.
    """
    found: dict[str, metadata.Distribution] = {}
    seen, waiting = set(), [(name, "")]
    while waiting:
        name, extra = waiting.pop()
        distribution = metadata.distribution(name)
        found[canonicalize_name(name)] = distribution
        for requirement in _requirements(distribution, extra):
            for each in [(requirement.name, ""), *((requirement.name, extra) for extra in requirement.extras)]:
                if each not in seen:
                    seen.add(each)
                    waiting.append(each)
    return dict(list(found.items())[1:])


def _requirements(distribution: metadata.Distribution, extra: str) -> Iterator[Requirement]:
    for line in distribution.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def weigh(distribution: metadata.Distribution) -> tuple[int, int]:
    """The bytes of the files of a distribution, and how many of them are libraries for GPUs."""
    sizes = {}
    for file in distribution.files or []:
        path = file.locate()
        if path.is_file():  # some list what an installer left out
            sizes[file.as_posix()] = path.stat().st_size
    is_gpu = re.match(GPU_DISTRIBUTIONS, canonicalize_name(distribution.metadata["Name"]))
    return sum(sizes.values()), sum(size for path, size in sizes.items() if is_gpu or re.match(GPU_FILES, path))


def to_markdown(weights: dict[str, tuple[int, int]], largest: int) -> str:
    """The sums, then the largest distributions; NVIDIA's as one."""
    groups: dict[str, tuple[int, int]] = {}
    for name, (size, gpu) in weights.items():
        group = "NVIDIA's libraries" if re.match(r"nvidia-|cuda-", name) else name
        before = groups.get(group, (0, 0))
        groups[group] = before[0] + size, before[1] + gpu
    shown = sorted(groups.items(), key=lambda group: -group[1][0])[:largest]
    total = tuple(map(sum, zip(*weights.values(), strict=True)))
    rows = [
        [name, f"{size / GIB:.2f}", f"{(size - gpu) / GIB:.2f}"]
        for name, (size, gpu) in [(f"all {len(weights)} distributions", total), *shown]
    ]
    return table([["GiB on disk", "with GPU libraries", "without"], *rows], "lrr")


if __name__ == "__main__":
    raise SystemExit(main())

"""Paired timings: every variant in turn, round after round, so that a machine whose speed drifts is fair to all. Each
round begins with another of them, so that none always works behind the same one.

A figure is the median of a variant's rounds; a ratio is the median of the ratios round by round, floor beside it.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One variant's result. Times in seconds."""

    name: str
    median: float
    ratio: float  # to the floor, paired
    rounds: int


def paired(
    variants: Mapping[str, Callable[[int], object]], *, rounds: int, warmup: int = 1, batch: int = 1
) -> list[Figure]:
    """Time each variant once a round, so many times in a row; the first is the floor. A variant is given the number of
    the run; times are those of one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for number in range(-warmup, rounds):
        gc.collect()
        first = number % len(names)
        for name in names[first:] + names[:first]:
            run, runs = variants[name], range((number + warmup) * batch, (number + warmup + 1) * batch)
            start = time.perf_counter()
            for each in runs:
                run(each)
            if number >= 0:
                seconds[name].append((time.perf_counter() - start) / batch)
    floor = seconds[names[0]]
    return [
        Figure(
            name,
            statistics.median(times),
            statistics.median(mine / base for mine, base in zip(times, floor, strict=True)),
            rounds,
        )
        for name, times in seconds.items()
    ]

"""Grouping near-duplicates at the size of the competition, against comparing all pairs."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.data.near_duplicates import MAX_CHECK, MAX_DISTANCE
from tests.benchmarks import Row

SIZES = (200_000, 1_580_470)
COMPARED = (
    4_000  # hashes of which all pairs are compared; the time grows with the square
)
SHARE = 0.1  # of images that are near-duplicates of another
WAVES = 6  # in each direction, of an image
SECONDS, MEMORY_MB = 300, 1500

# Run by itself, so that the memory is its own.
WHOLE = """
import sys, time
import numpy as np
from kaggle_kit.data.near_duplicates import group
hashes = np.load(sys.argv[1])
start = time.perf_counter()
groups = group(hashes)
seconds = time.perf_counter() - start
with open("/proc/self/status") as file:
    peak = next(line.split()[1] for line in file if line.startswith("VmHWM"))
print(seconds, int(peak) / 1024, groups.max() + 1)
"""


def measure() -> list[Row]:
    """Random images, coarse as real ones are, so that their bits depend on each other."""
    rows, before = [], None
    for n in SIZES:
        hashes = _draw(n, np.random.default_rng(0))
        seconds, peak, n_groups = _group(hashes)
        assert n_groups <= n - 0.99 * round(SHARE * n)
        grown = f" ({seconds / before:.1f} times the time)" if before else ""
        name = f"near-duplicates of {n:,} images grouped{grown}"
        all_pairs = _compare_all(hashes[:COMPARED]) * (n / COMPARED) ** 2
        theirs = f"all pairs, by those of {COMPARED:,}: {all_pairs:,.0f} s"
        rows.append(Row(name, f"{seconds:.1f} s", theirs, all_pairs / seconds, None))
        before = seconds
    allowed = SECONDS / seconds
    rows += [
        Row("the latter", f"{seconds:.1f} s", f"allowed: {SECONDS} s", allowed, 1),
        Row(
            "its peak memory",
            f"{peak:.0f} MB",
            f"allowed: {MEMORY_MB} MB",
            MEMORY_MB / peak,
            1,
        ),
    ]
    return rows


def _group(hashes: NDArray[np.uint64]) -> tuple[float, float, int]:
    """Seconds, peak memory in MB, and the number of groups."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hashes.npy"
        np.save(path, hashes)
        command = [sys.executable, "-c", WHOLE, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    took, peak, n_groups = done.stdout.split()
    return float(took), float(peak), int(n_groups)


def _compare_all(hashes: NDArray[np.uint64]) -> float:
    """Seconds to compare all pairs, a row of them at a time."""
    start = time.perf_counter()
    for i, one in enumerate(hashes):
        bits = np.bitwise_count(hashes[i + 1 :] ^ one)
        is_near = bits[:, 0] + bits[:, 1] <= MAX_DISTANCE
        np.flatnonzero(is_near & (bits[:, 2] <= MAX_CHECK))
    return time.perf_counter() - start


def _draw(n: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Hashes of n random images; a share of them are others' with a few bits changed."""
    hashes = np.concatenate(
        [_draw_images(min(50_000, n - i), rng) for i in range(0, n, 50_000)]
    )
    copies, sources = np.split(rng.permutation(n)[: 2 * round(SHARE * n)], 2)
    hashes[copies] = hashes[sources]
    for word in range(3):
        for _ in range(3):
            bit = rng.integers(0, 64, len(copies), np.uint64)
            hashes[copies, word] ^= np.uint64(1) << bit
    return hashes


def _draw_images(n: int, rng: np.random.Generator) -> NDArray[np.uint64]:
    """Each is a sum of waves, weaker the shorter they are."""
    half_waves = np.arange(WAVES)
    cosines = np.cos(np.pi / 18 * np.outer(2 * np.arange(9) + 1, half_waves))
    strength = 1 / (1 + half_waves[:, None] + half_waves)
    waves = rng.standard_normal((n, WAVES, WAVES)) * strength
    images = (cosines @ waves @ cosines.T).astype(np.float32)
    bits = np.diff(images, axis=2)[:, :8] > 0, np.diff(images, axis=1)[:, :, :8] > 0
    words = [np.packbits(part.reshape(n, 64), axis=1).view(np.uint64) for part in bits]
    return np.concatenate([*words, rng.integers(1, 2**64, (n, 1), np.uint64)], axis=1)

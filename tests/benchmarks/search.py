"""Exact search at the size of the competition, against faiss and the bare product.

faiss is no part of the kit's requirements: without it that side is left out.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kaggle_kit.retrieval import knn
from kaggle_kit.retrieval.knn import mean_top, top_k
from tests.benchmarks import Row, medians

N_GALLERY, N_QUERIES, WIDTH, K = 1_580_470, 10_345, 512, 10
N_NON_LANDMARKS = 10_000
REPEATS = 3
MEMORY_MB = 3500

# Run by itself, so that the memory is its own.
WHOLE = """
import sys, time
import numpy as np
from kaggle_kit.retrieval.knn import top_k
gallery, queries = (np.load(path, mmap_mode="r") for path in sys.argv[1:3])
start = time.perf_counter()
top_k(np.array(queries), gallery, int(sys.argv[3]))
seconds = time.perf_counter() - start
with open("/proc/self/status") as file:
    peak = next(line.split()[1] for line in file if line.startswith("VmHWM"))
print(seconds, int(peak) / 1024)
"""


def measure() -> list[Row]:
    """The gallery is random, and mapped from a file as a bundle's is."""
    import tensorflow as tf  # as in predict; its loading is no part of a search

    assert tf.__version__
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.npy" for name in ("vectors", "queries")]
        for seed, (path, n) in enumerate(
            zip(paths, (N_GALLERY, N_QUERIES), strict=True)
        ):
            _write(path, n, seed)
        gallery = np.load(paths[0], mmap_mode="r")
        queries = np.load(paths[1]).astype(np.float32)
        rows = [_against_faiss(gallery, queries)]
        rows += [_against_product(gallery, queries), _penalty(gallery)]
        return [*rows, _whole(paths)]


def _write(path: Path, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = np.lib.format.open_memmap(path, "w+", np.float16, (n, WIDTH))
    for start in range(0, n, 65536):
        part = vectors[start : start + 65536]
        some = rng.standard_normal(part.shape, np.float32)
        part[:] = some / np.linalg.norm(some, axis=1, keepdims=True)
    vectors.flush()


def _against_faiss(gallery: NDArray[np.float16], queries: NDArray[np.float32]) -> Row:
    name = f"exact top {K} of {N_GALLERY:,} x {WIDTH}, {len(queries):,} queries"

    def ours() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        return top_k(queries, gallery, K)

    _, rows = ours()
    try:
        import faiss
    except ImportError:
        (mine,) = medians(REPEATS, ours)
        return Row(name, f"{mine:.2f} s", "faiss is not installed", None, 3)
    index = faiss.IndexFlatIP(WIDTH)
    for start in range(0, len(gallery), 65536):
        index.add(gallery[start : start + 65536].astype(np.float32))
    # float32 sums in another order now and then swap two that are all but equal
    assert (rows == index.search(queries, K)[1]).mean() > 0.99
    mine, other = medians(REPEATS, ours, lambda: index.search(queries, K))
    return Row(name, f"{mine:.2f} s", f"faiss {other:.2f} s", other / mine, 3)


def _against_product(gallery: NDArray[np.float16], queries: NDArray[np.float32]) -> Row:
    part = gallery[: 16 * knn.GALLERY_BLOCK]
    blocks = np.array_split(part.astype(np.float32), 16)

    def product() -> None:
        out = np.empty((len(queries), len(blocks[0])), np.float32)
        for block in blocks:
            np.matmul(queries, block.T, out=out[:, : len(block)])

    mine, other = medians(3 * REPEATS, lambda: top_k(queries, part, K), product)
    rate = 2e-9 * part.size * len(queries)
    texts = f"{rate / mine:.0f} GFLOP/s", f"np.matmul {rate / other:.0f} GFLOP/s"
    name = f"rate of that search in the first {len(part):,}, and of its float32 product"
    return Row(name, *texts, other / mine, 0.6)


def _penalty(gallery: NDArray[np.float16]) -> Row:
    part, others = gallery[: N_GALLERY // 16], gallery[-N_NON_LANDMARKS:]
    (mine,) = medians(REPEATS, lambda: mean_top(part, others, 5))
    name = f"penalties of a 16th of the gallery by {len(others):,} non-landmarks"
    rate = 2e-9 * part.size * len(others) / mine
    return Row(name, f"{mine:.2f} s, {rate:.0f} GFLOP/s", "", None, None)


def _whole(paths: list[Path]) -> Row:
    command = [sys.executable, "-c", WHOLE, *map(str, paths), str(K)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = map(float, done.stdout.split())
    name = f"all {N_QUERIES:,} queries once: peak memory, TensorFlow and file included"
    texts = f"{peak:.0f} MB ({seconds:.0f} s)", f"allowed: {MEMORY_MB} MB"
    return Row(name, *texts, MEMORY_MB / peak, 1)

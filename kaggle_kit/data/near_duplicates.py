"""Find near-duplicates: the same image scaled, compressed again or slightly cropped.

Two images are near-duplicates if their hashes (``data.image_hash``) differ in few bits: at
most ``MAX_DISTANCE`` of the 128 of the difference hash, and at most ``MAX_CHECK`` of the 64
of the frequency hash. Of 4,798 real images these are 360 pairs, and local features
confirm them all; with a difference hash of 64 bits alone, 26 of 378 pairs are wrong at 4
bits. Of 400 images scaled to a half or a quarter, compressed at JPEG quality 30, or with 1% of
each side cut off, 99% or more are found; with 2.5% cut off 87%, with 5% cut off 18%. Of 383,726
random parts of the images, 165 share a group with a part of an unrelated one, at most 32 in
a group.

The search misses no pair and does not compare all of them. The 128 bits are dealt out to
bands. Of ``d + 2`` bands, ``d`` bits that differ leave at least two the same; so for each
two bands, the hashes are sorted by the bits of both, and those with the same are compared.
The memory does not grow with the number of pairs; the time does, so it is long if tens of
thousands of images that are no copies have nearly the same difference hash.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kaggle_kit.data.image_hash import WORDS, hash_image
from kaggle_kit.data.index import decode_small
from kaggle_kit.data.parallel import parallel_map
from kaggle_kit.progress import progress

MAX_DISTANCE = 12  # bits of the difference hash
MAX_CHECK = 16  # bits of the frequency hash
MIN_BANDS = 4  # so that two of them fit into a key of 64 bits
BLOCK = 1 << 19  # pairs that are compared at a time, and joined at a time


def hash_files(paths: Sequence[Path]) -> NDArray[np.uint64]:
    """Hash image files, on all cores: n paths -> (n, 3).

    An image that is missing or does not decode has no hash: its row is zeros.
    """
    hashes = np.zeros((len(paths), WORDS), np.uint64)
    found = parallel_map(_hash_file, paths)
    for row, value in zip(
        hashes, progress(found, total=len(paths), label="hashes"), strict=True
    ):
        row[:] = value
    return hashes


def group(
    hashes: NDArray[np.uint64], max_distance: int = MAX_DISTANCE
) -> NDArray[np.int64]:
    """Group images: near-duplicates, and near-duplicates of these, share a group.

    The groups do not depend on the order of the images. An image without a hash is a group
    of its own.

    Args:
        hashes: (n, 3) of ``data.image_hash``; a row of zeros is no hash.
        max_distance: largest number of bits that differ between two difference hashes.

    Returns:
        (n,) the group of each image, numbered from 0 in the order of their first images.
    """
    distinct, index = np.unique(hashes, axis=0, return_inverse=True)
    index = index.reshape(-1)
    label = np.arange(len(distinct))
    waiting = [np.empty((0, 2), np.int64)]
    for pairs in _near_pairs(distinct, label, max_distance):
        waiting.append(pairs)
        if sum(map(len, waiting)) >= BLOCK:
            label[:] = _join(label, np.concatenate(waiting))
            waiting = waiting[:1]
    groups = _join(label, np.concatenate(waiting))[index]
    lone = np.flatnonzero(~hashes.any(axis=1))
    groups[lone] = len(distinct) + np.arange(len(lone))
    return _number_by_first(groups)


def near(
    hashes: NDArray[np.uint64],
    others: NDArray[np.uint64],
    max_distance: int = MAX_DISTANCE,
) -> NDArray[np.bool_]:
    """Whether each of n images is a near-duplicate of any of m others, (n,).

    Args:
        hashes, others: (n, 3) and (m, 3) of ``data.image_hash``; a row of zeros is no hash.
        max_distance: as in ``group``.
    """
    distinct, index = np.unique(hashes, axis=0, return_inverse=True)
    known = np.unique(others, axis=0)
    side = np.repeat([0, 1], [len(distinct), len(known)])
    found = np.zeros(len(side), np.bool_)
    for pairs in _near_pairs(np.concatenate([distinct, known]), side, max_distance):
        found[pairs.ravel()] = True
    return found[index.reshape(-1)]


def _hash_file(path: Path) -> NDArray[np.uint64]:
    found = decode_small(path)
    return (
        np.zeros(WORDS, np.uint64) if isinstance(found, str) else hash_image(found[1])
    )


def _near_pairs(
    hashes: NDArray[np.uint64], label: NDArray[np.int64], max_distance: int
) -> Iterator[NDArray[np.int64]]:
    """Yield near pairs of hashes with different labels; each pair once or more often.

    Args:
        label: (n,); the caller may change its values between two steps.

    Yields:
        (k, 2) indices of less than 2 ``BLOCK`` pairs.
    """
    has_hash = np.flatnonzero(hashes.any(axis=1))
    bands = _deal_bits(hashes[has_hash], max(max_distance + 2, MIN_BANDS))
    for one, other in combinations(bands, 2):
        key = one.astype(np.uint64) << np.uint64(32) | other
        order = np.argsort(key)
        key, rows = key[order], has_hash[order]
        first_word = hashes[rows, 0]
        for i, j in _same_key_pairs(key, label[rows]):
            bits = np.bitwise_count(first_word[i] ^ first_word[j])
            maybe = np.flatnonzero(bits <= max_distance)
            i, j = rows[i[maybe]], rows[j[maybe]]
            bits = np.bitwise_count(hashes[i] ^ hashes[j])
            is_near = bits[:, 0] + bits[:, 1] <= max_distance
            is_near &= (bits[:, 2] <= MAX_CHECK) & (label[i] != label[j])
            if is_near.any():
                yield np.stack([i[is_near], j[is_near]], axis=1)


def _deal_bits(hashes: NDArray[np.uint64], n: int) -> list[NDArray[np.uint32]]:
    """Deal the bits of the difference hashes out to n bands, one to each in turn.

    So the bits of a band are from all parts of the image, as independent as possible.
    """
    bands = [np.zeros(len(hashes), np.uint32) for _ in range(n)]
    for bit in range(128):
        word, shift = divmod(bit, 64)
        value = hashes[:, word] >> np.uint64(shift) & np.uint64(1)
        band = bands[bit % n]
        band <<= np.uint32(1)
        band |= value.astype(np.uint32)
    return bands


def _same_key_pairs(
    key: NDArray[np.uint64], label: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield all pairs i < j with the same key, but of keys with one label only.

    Args:
        key: (n,) in rising order.

    Yields:
        Two arrays of less than 2 ``BLOCK`` indices.
    """
    starts = np.flatnonzero(np.diff(key, prepend=~key[:1]))
    sizes = np.diff(starts, append=len(key))
    if not len(starts):
        return
    low, high = (f.reduceat(label, starts) for f in (np.minimum, np.maximum))
    starts, sizes = starts[low < high], sizes[low < high]
    ends = np.repeat(starts + sizes, sizes)
    i = np.arange(len(ends)) + np.repeat(starts - np.cumsum(sizes) + sizes, sizes)
    step, waiting, n_waiting = 0, [], 0
    while len(i):
        step += 1
        has_pair = i + step < ends
        i, ends = i[has_pair], ends[has_pair]
        for part in np.split(i, range(BLOCK, len(i), BLOCK)):
            waiting.append((part, part + step))
            n_waiting += len(part)
            if n_waiting >= BLOCK or not len(i):
                one, other = map(np.concatenate, zip(*waiting, strict=True))
                yield one, other
                waiting, n_waiting = [], 0


def _join(label: NDArray[np.int64], pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """New labels, which all images have in common that labels or pairs connect."""
    n = len(label)
    one, other = label[pairs].T
    graph = coo_array((np.ones(len(pairs), np.bool_), (one, other)), (n, n))
    _, component = connected_components(graph, directed=False)
    return component.astype(np.int64)[label]


def _number_by_first(groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number groups in the order of their first members."""
    _, first, index = np.unique(groups, return_index=True, return_inverse=True)
    number = np.empty_like(first)
    number[np.argsort(first)] = np.arange(len(first))
    return number[index]

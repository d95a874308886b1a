"""Embedding by less than a bundle has: fewer views, fewer embedders, a smaller photo.

A photo that only some embedders have seen has zeros where the others' part of its vector
would be, so it shows which they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kaggle_kit import config
from kaggle_kit.inference.time_budget import Level
from kaggle_kit.retrieval.gallery import Gallery
from kaggle_kit.retrieval.whitening import unit

if TYPE_CHECKING:
    from kaggle_kit.inference.embedder import Embedded, Part

BLOCK = 32768  # gallery photos cut at a time


def levels_of(parts: Sequence[Part], settings: config.Recognition) -> list[Level]:
    """Drop views first, then parts from the last on, then the size.

    The first part that counts always stays, and so does the first with class scores if
    these are what is ranked by.
    """
    whole = tuple((i, part.ways[0]) for i, part in enumerate(parts))
    once = tuple(
        (i, "one" if "one" in part.ways else part.ways[0])
        for i, part in enumerate(parts)
    )
    levels = [Level("", whole)]
    if once != whole:
        levels.append(Level("views", once))
    levels += [
        Level("embedders", once[:n])
        for n in range(len(parts) - 1, _needed(parts, settings) - 1, -1)
    ]
    small = tuple(
        (i, "small" if "small" in parts[i].ways else views)
        for i, views in levels[-1].uses
    )
    if small != levels[-1].uses:
        levels.append(Level("size", small))
    return levels


def _needed(parts: Sequence[Part], settings: config.Recognition) -> int:
    """How many of the first parts there must be at least."""
    weights = settings.weights or (1.0,) * len(parts)
    by_head = settings.ranking == "head"
    pairs = enumerate(zip(parts, weights, strict=True), 1)
    useful = (n for n, (part, w) in pairs if w and (part.has_head or not by_head))
    return next(useful, len(parts))


def partly_joined(
    found: Mapping[int, Embedded],
    shapes: Mapping[int, tuple[int, int]],
    weights: Sequence[float],
) -> Embedded:
    """What some of the parts say of the same photos, in the places of all of them.

    The others' places are zeros, and the vector is as long as makes its product with a
    unit vector of all parts the weighted mean of the cosines of the parts that are there::

        x_i -> sqrt(w_i) sqrt(W) / W_there x_i,   W the sum of all weights

    Without a head among them every class is as probable as the others.
    """
    weights = weights or (1.0,) * len(shapes)
    there = sum(weights[i] for i in found) or 1.0
    some = next(iter(found.values()))
    blocks = [
        weights[i] ** 0.5 * sum(weights) ** 0.5 / there * found[i].vectors
        if i in found
        else np.zeros((len(some.which), shapes[i][0]), np.float32)
        for i in sorted(shapes)
    ]
    n_classes = max(shapes[i][1] for i in shapes)
    heads = [i for i in found if shapes[i][1]]
    total = sum(weights[i] for i in heads)
    head = np.full((len(some.which), n_classes), -np.log(max(n_classes, 1)), np.float32)
    if total:
        logs = [weights[i] / total * found[i].log_probability for i in heads]
        head = np.sum(logs, axis=0, dtype=np.float32)
    vectors = np.concatenate(blocks, axis=1).astype(np.float32)
    return some._replace(vectors=vectors, log_probability=head)


def alike(
    vectors: NDArray[np.float32], widths: Sequence[int]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Group photos by the embedders that have seen them.

    Args:
        vectors: (b, d).
        widths: of each embedder's part of a vector; d in all.

    Yields:
        ((g,) places, (d,) whether each number is of an embedder that has seen them).
    """
    ends = np.cumsum(widths)[:-1]
    there = [block.any(axis=1) for block in np.split(vectors, ends, axis=1)]
    kinds, kind_of = np.unique(np.stack(there, axis=1), axis=0, return_inverse=True)
    for i, kind in enumerate(kinds):
        places = np.flatnonzero(kind_of.ravel() == i).astype(np.int64)
        yield places, np.repeat(kind, widths)


def cut_gallery(gallery: Gallery, numbers: NDArray[np.bool_]) -> Gallery:
    """The gallery as only some embedders see it: their numbers, at unit length."""
    vectors = np.empty((len(gallery.vectors), int(numbers.sum())), np.float16)
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        vectors[block] = unit(gallery.vectors[block][:, numbers].astype(np.float32))
    pool = unit(np.asarray(gallery.non_landmarks)[:, numbers].astype(np.float32))
    return replace(gallery, vectors=vectors, non_landmarks=pool.astype(np.float16))

"""Random buildings for the demo competition: a body, and towers, roofs and domes.

A building is a list of flat faces in space.
"""

import colorsys
import math
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]  # red, green, blue in 0..1
Point = tuple[float, float, float]  # right, away from the street, up; in storeys


@dataclass(frozen=True)
class Face:
    """A flat polygon of a building.

    Attributes:
        corners: counterclockwise, seen from outside.
        colour: of the wall or roof.
        windows: (columns, rows) of windows, or None.
    """

    corners: tuple[Point, ...]
    colour: Colour
    windows: tuple[int, int] | None = None


def random_building(rng: np.random.Generator) -> list[Face]:
    """Create a body and up to two towers, each with a roof."""
    hue = rng.random()
    wall = colorsys.hsv_to_rgb(hue, rng.uniform(0.15, 0.65), rng.uniform(0.55, 0.95))
    roof = colorsys.hsv_to_rgb(
        rng.random(), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8)
    )
    width, depth = rng.uniform(2.5, 6), rng.uniform(2, 4)
    height = rng.uniform(1.5, 4.5)
    windows = int(rng.integers(2, 7)), int(rng.integers(1, 5))
    faces = _box((0, 0, 0), (width, depth, height), wall, windows)
    faces += _roof(rng, (0, 0, height), width, depth, roof)
    for side in (-1, 1):
        if rng.random() < 0.55:
            tower = rng.uniform(0.6, 1.4)
            rise = height * rng.uniform(0.9, 2.2)
            x = side * (width / 2 + tower * rng.uniform(-0.3, 0.5))
            dark = rng.uniform(0.75, 1.0)
            shade = wall[0] * dark, wall[1] * dark, wall[2] * dark
            faces += _box((x, -0.2, 0), (tower, tower, rise), shade, (1, 4))
            faces += _roof(rng, (x, -0.2, rise), tower, tower, roof)
    return faces


def _roof(
    rng: np.random.Generator, base: Point, width: float, depth: float, colour: Colour
) -> list[Face]:
    """A random roof on a box: a pyramid, a gable, a dome or a flat slab."""
    kind = rng.integers(4)
    if kind == 0:
        return _pyramid(base, width, depth, rng.uniform(0.5, 2.2), colour)
    if kind == 1:
        return _gable(base, width, depth, rng.uniform(0.5, 1.6), colour)
    if kind == 2:
        return _dome(base, min(width, depth) * 0.48, colour)
    return _box(base, (width * 1.08, depth * 1.08, 0.25), colour, None)


def _box(
    base: Point,
    size: tuple[float, float, float],
    colour: Colour,
    windows: tuple[int, int] | None,
) -> list[Face]:
    """Four walls, the front first, and a flat top."""
    x, y, z = base
    w, d, h = size[0] / 2, size[1] / 2, size[2]
    ring = [(x - w, y - d), (x + w, y - d), (x + w, y + d), (x - w, y + d)]
    faces = []
    for (x0, y0), (x1, y1) in zip(ring, ring[1:] + ring[:1], strict=True):
        corners = ((x0, y0, z), (x1, y1, z), (x1, y1, z + h), (x0, y0, z + h))
        faces.append(Face(corners, colour, windows))
    return [*faces, Face(tuple((a, b, z + h) for a, b in ring), colour)]


def _pyramid(
    base: Point, width: float, depth: float, height: float, colour: Colour
) -> list[Face]:
    x, y, z = base
    w, d = width / 2, depth / 2
    ring = [(x - w, y - d, z), (x + w, y - d, z), (x + w, y + d, z), (x - w, y + d, z)]
    apex = (x, y, z + height)
    sides = zip(ring, ring[1:] + ring[:1], strict=True)
    return [Face((a, b, apex), colour) for a, b in sides]


def _gable(
    base: Point, width: float, depth: float, height: float, colour: Colour
) -> list[Face]:
    x, y, z = base
    w, d = width / 2, depth / 2
    left, right = (x - w, y, z + height), (x + w, y, z + height)
    a, b, c, e = (
        (x - w, y - d, z),
        (x + w, y - d, z),
        (x + w, y + d, z),
        (x - w, y + d, z),
    )
    return [
        Face((a, b, right, left), colour),
        Face((c, e, left, right), colour),
        Face((b, c, right), colour),
        Face((e, a, left), colour),
    ]


def _dome(base: Point, radius: float, colour: Colour) -> list[Face]:
    x, y, z = base
    steps, sides = 4, 10
    faces = []

    def at(level: int, side: int) -> Point:
        up, around = level / steps * math.pi / 2, side / sides * 2 * math.pi
        r = radius * math.cos(up)
        return (
            x + r * math.cos(around),
            y + r * math.sin(around),
            z + radius * math.sin(up),
        )

    for level in range(steps):
        for side in range(sides):
            corners = (
                at(level, side),
                at(level, side + 1),
                at(level + 1, side + 1),
                at(level + 1, side),
            )
            faces.append(Face(corners, colour))
    return faces

"""The scenery of a drawn image: camera, light, sky, ground, trees, lamps and people."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from kaggle_kit.demo.buildings import Colour, Point

WIDTH, HEIGHT = 256, 192  # pixels


@dataclass(frozen=True)
class Scene:
    """The position of the camera, and the light.

    Attributes:
        turn: rotation of the building about its axis, in radians.
        distance: from the camera to the building, in storeys.
        rise: height of the camera above the street, in storeys.
        shift: offset of the building in the picture (right, down), as a share of its height.
        sun: direction of the light.
        light: factor of each colour channel.
        sky: colour of the sky.
        night: whether windows are lit.
    """

    turn: float
    distance: float
    rise: float
    shift: tuple[float, float]
    sun: Point
    light: Colour
    sky: Colour
    night: bool


def random_scene(rng: np.random.Generator) -> Scene:
    """Draw a camera in front of the building, by day or sometimes by night."""
    night = rng.random() < 0.15
    warm = rng.uniform(-0.15, 0.15)
    bright = rng.uniform(0.3, 0.5) if night else rng.uniform(0.75, 1.15)
    light = (bright * (1 + warm), bright, bright * (1 - warm))
    sky = (0.08, 0.1, 0.22) if night else mix((0.45, 0.65, 0.95), (0.85,) * 3, rng)
    azimuth = rng.uniform(-1.3, 1.3)
    return Scene(
        turn=rng.uniform(-0.9, 0.9),
        distance=rng.uniform(9, 14),
        rise=rng.uniform(0.5, 3),
        shift=(rng.uniform(-0.12, 0.12), rng.uniform(-0.08, 0.08)),
        sun=(math.sin(azimuth), -math.cos(azimuth), rng.uniform(0.4, 1.2)),
        light=light,
        sky=sky,
        night=night,
    )


def backdrop(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Draw the background: sky above, street or lawn below."""
    rows = np.linspace(0, 1, HEIGHT)[:, None]
    pale = np.array([min(1.0, c * 1.25 + 0.08) for c in scene.sky])
    sky = np.array(scene.sky) * (1 - rows) + pale * rows
    ground = np.array(mix((0.35, 0.45, 0.25), (0.5, 0.48, 0.45), rng)) * scene.light
    horizon = int(HEIGHT * (0.62 + scene.shift[1]))
    sky[horizon:] = ground
    pixels = np.repeat(np.clip(sky, 0, 1)[:, None, :], WIDTH, axis=1)
    return Image.fromarray((pixels * 255).astype(np.uint8))


def draw_clutter(
    canvas: ImageDraw.ImageDraw, rng: np.random.Generator, scene: Scene, n: int
) -> None:
    """Draw n trees, lamps and people in the foreground."""
    for _ in range(n):
        x, foot = rng.uniform(0, WIDTH), rng.uniform(0.85, 1.05) * HEIGHT
        kind = rng.integers(3)
        if kind == 0:
            r = rng.uniform(10, 26)
            green = illuminate(mix((0.1, 0.3, 0.1), (0.35, 0.5, 0.15), rng), scene)
            canvas.rectangle((x - 2, foot - r, x + 2, foot), rgb((0.3, 0.2, 0.1)))
            canvas.ellipse((x - r, foot - 3 * r, x + r, foot - r), rgb(green))
        elif kind == 1:
            grey = rgb(illuminate((0.25, 0.25, 0.28), scene))
            canvas.rectangle((x - 1, foot - 80, x + 1, foot), grey)
            canvas.ellipse((x - 5, foot - 88, x + 5, foot - 78), rgb((0.95, 0.9, 0.7)))
        else:
            coat = illuminate(tuple(rng.random(3)), scene)
            canvas.ellipse((x - 5, foot - 34, x + 5, foot), rgb(coat))
            canvas.ellipse((x - 4, foot - 42, x + 4, foot - 33), rgb((0.8, 0.6, 0.5)))


def mix(a: Sequence[float], b: Sequence[float], rng: np.random.Generator) -> Colour:
    """A random colour between two others."""
    share = rng.random()
    red, green, blue = (x * share + y * (1 - share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def illuminate(colour: Colour, scene: Scene) -> Colour:
    """A colour under the light of a scene."""
    red, green, blue = (c * k for c, k in zip(colour, scene.light, strict=True))
    return red, green, blue


def rgb(colour: Sequence[float]) -> tuple[int, ...]:
    """Convert a colour to the integers in 0..255 that Pillow uses."""
    return tuple(int(255 * min(max(c, 0.0), 1.0)) for c in colour)

"""Pictures for the drawn competition: buildings, and what is not a landmark.

A building is a list of flat faces in space; a picture projects those that point at the
camera, farthest first, and puts weather, people and a camera's faults over them.
"""

import colorsys
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Colour = tuple[float, float, float]  # red, green, blue in 0..1
Point = tuple[float, float, float]  # right, away from the street, up; in storeys

WIDTH, HEIGHT = 256, 192  # pixels
HOUSES = 0.25  # share of non-landmarks that are some house


@dataclass(frozen=True)
class Face:
    """A flat side of a building; ``windows`` is (columns, rows) or None."""

    corners: tuple[Point, ...]
    colour: Colour
    windows: tuple[int, int] | None = None


@dataclass(frozen=True)
class Scene:
    """Where the camera stands and what light there is."""

    turn: float  # radians about the building
    distance: float
    rise: float  # of the camera above the street
    shift: tuple[float, float]  # of the picture, as a share of its height
    sun: Point
    light: Colour
    sky: Colour
    night: bool


# Buildings: a body, and towers, wings, roofs and domes on or beside it.


def building(rng: np.random.Generator) -> list[Face]:
    """A body, and perhaps towers beside it, each with a roof of some kind."""
    hue = rng.random()
    wall = colorsys.hsv_to_rgb(hue, rng.uniform(0.15, 0.65), rng.uniform(0.55, 0.95))
    roof = colorsys.hsv_to_rgb(
        rng.random(), rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8)
    )
    width, depth = rng.uniform(2.5, 6), rng.uniform(2, 4)
    height = rng.uniform(1.5, 4.5)
    windows = int(rng.integers(2, 7)), int(rng.integers(1, 5))
    faces = _box((0, 0, 0), (width, depth, height), wall, windows)
    faces += _top(rng, (0, 0, height), width, depth, roof)
    for side in (-1, 1):
        if rng.random() < 0.55:
            tower = rng.uniform(0.6, 1.4)
            rise = height * rng.uniform(0.9, 2.2)
            x = side * (width / 2 + tower * rng.uniform(-0.3, 0.5))
            dark = rng.uniform(0.75, 1.0)
            shade = wall[0] * dark, wall[1] * dark, wall[2] * dark
            faces += _box((x, -0.2, 0), (tower, tower, rise), shade, (1, 4))
            faces += _top(rng, (x, -0.2, rise), tower, tower, roof)
    return faces


def _top(
    rng: np.random.Generator, base: Point, width: float, depth: float, colour: Colour
) -> list[Face]:
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


# Photos: a scene, the faces that point at the camera, and what stands in the way.


def photo(faces: Sequence[Face], rng: np.random.Generator) -> Image.Image:
    """A building from some side, in some light, with what stands in the way."""
    scene = _scene(rng)
    picture = _ground(scene, rng)
    canvas = ImageDraw.Draw(picture)
    seen = [(face, [_projected(p, scene) for p in face.corners]) for face in faces]
    seen.sort(key=lambda pair: -sum(p[2] for p in pair[1]) / len(pair[1]))
    for face, corners in seen:
        flat = [(x, y) for x, y, _ in corners]
        if _area(flat) > 0:  # a back face is the other way round
            canvas.polygon(flat, _bytes(_lit(face, scene)))
            if face.windows:
                _draw_windows(canvas, flat, face.windows, scene)
    _clutter(canvas, rng, scene, int(rng.integers(0, 5)))
    return _developed(picture, rng)


def other(rng: np.random.Generator) -> Image.Image:
    """A picture of anything but a landmark."""
    if rng.random() < HOUSES:
        return photo(building(rng), rng)
    scene = _scene(rng)
    kinds: Sequence[Callable[..., Image.Image]] = (
        _plant,
        _plate,
        _portrait,
        _view,
        _sign,
    )
    return _developed(kinds[rng.integers(len(kinds))](scene, rng), rng)


def _scene(rng: np.random.Generator) -> Scene:
    night = rng.random() < 0.15
    warm = rng.uniform(-0.15, 0.15)
    bright = rng.uniform(0.3, 0.5) if night else rng.uniform(0.75, 1.15)
    light = (bright * (1 + warm), bright, bright * (1 - warm))
    sky = (0.08, 0.1, 0.22) if night else _mixed((0.45, 0.65, 0.95), (0.85,) * 3, rng)
    around = rng.uniform(-1.3, 1.3)
    return Scene(
        turn=rng.uniform(-0.9, 0.9),
        distance=rng.uniform(9, 14),
        rise=rng.uniform(0.5, 3),
        shift=(rng.uniform(-0.12, 0.12), rng.uniform(-0.08, 0.08)),
        sun=(math.sin(around), -math.cos(around), rng.uniform(0.4, 1.2)),
        light=light,
        sky=sky,
        night=night,
    )


def _projected(point: Point, scene: Scene) -> Point:
    """Where a point is in the picture, in pixels, and how far it is away."""
    x, y, z = point
    cos, sin = math.cos(scene.turn), math.sin(scene.turn)
    right, away = x * cos - y * sin, x * sin + y * cos + scene.distance
    scale = HEIGHT * 1.15 / max(away, 0.5)
    return (
        WIDTH / 2 + scene.shift[0] * HEIGHT + right * scale,
        HEIGHT * (0.62 + scene.shift[1]) - (z - scene.rise) * scale,
        away,
    )


def _area(corners: Sequence[tuple[float, float]]) -> float:
    """Twice the signed area; positive for a face whose front is seen."""
    pairs = zip(corners, [*corners[1:], corners[0]], strict=True)
    return -sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)


def _lit(face: Face, scene: Scene) -> Colour:
    a, b, c = (np.array(corner) for corner in face.corners[:3])
    normal = np.cross(b - a, c - a)
    cosine = normal @ scene.sun / (np.linalg.norm(normal) * np.linalg.norm(scene.sun))
    shade = 0.6 + 0.4 * max(float(cosine), 0)
    red, green, blue = (c * shade for c in face.colour)
    return _shone((red, green, blue), scene)


def _draw_windows(
    canvas: ImageDraw.ImageDraw,
    corners: Sequence[tuple[float, float]],
    windows: tuple[int, int],
    scene: Scene,
) -> None:
    a, b, c, d = (np.array(corner) for corner in corners)
    columns, rows = windows
    colour = (0.95, 0.8, 0.4) if scene.night else tuple(0.28 * k for k in scene.light)
    for column in range(columns):
        for row in range(rows):
            u0, u1 = (column + 0.28) / columns, (column + 0.72) / columns
            v0, v1 = (row + 0.25) / rows, (row + 0.75) / rows
            pane = [
                tuple((1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c))
                for u, v in ((u0, v0), (u1, v0), (u1, v1), (u0, v1))
            ]
            canvas.polygon(pane, _bytes(colour))


def _ground(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Sky above, street or lawn below."""
    rows = np.linspace(0, 1, HEIGHT)[:, None]
    pale = np.array([min(1.0, c * 1.25 + 0.08) for c in scene.sky])
    sky = np.array(scene.sky) * (1 - rows) + pale * rows
    ground = np.array(_mixed((0.35, 0.45, 0.25), (0.5, 0.48, 0.45), rng)) * scene.light
    horizon = int(HEIGHT * (0.62 + scene.shift[1]))
    sky[horizon:] = ground
    pixels = np.repeat(np.clip(sky, 0, 1)[:, None, :], WIDTH, axis=1)
    return Image.fromarray((pixels * 255).astype(np.uint8))


def _clutter(
    canvas: ImageDraw.ImageDraw, rng: np.random.Generator, scene: Scene, n: int
) -> None:
    """Trees, lamps and people in front of it all."""
    for _ in range(n):
        x, foot = rng.uniform(0, WIDTH), rng.uniform(0.85, 1.05) * HEIGHT
        kind = rng.integers(3)
        if kind == 0:
            r = rng.uniform(10, 26)
            green = _shone(_mixed((0.1, 0.3, 0.1), (0.35, 0.5, 0.15), rng), scene)
            canvas.rectangle((x - 2, foot - r, x + 2, foot), _bytes((0.3, 0.2, 0.1)))
            canvas.ellipse((x - r, foot - 3 * r, x + r, foot - r), _bytes(green))
        elif kind == 1:
            grey = _bytes(_shone((0.25, 0.25, 0.28), scene))
            canvas.rectangle((x - 1, foot - 80, x + 1, foot), grey)
            canvas.ellipse(
                (x - 5, foot - 88, x + 5, foot - 78), _bytes((0.95, 0.9, 0.7))
            )
        else:
            coat = _shone(tuple(rng.random(3)), scene)
            canvas.ellipse((x - 5, foot - 34, x + 5, foot), _bytes(coat))
            canvas.ellipse(
                (x - 4, foot - 42, x + 4, foot - 33), _bytes((0.8, 0.6, 0.5))
            )


def _plant(scene: Scene, rng: np.random.Generator) -> Image.Image:
    photo = _ground(scene, rng)
    canvas = ImageDraw.Draw(photo)
    petal = _bytes(_shone(colorsys.hsv_to_rgb(rng.random(), 0.8, 0.9), scene))
    for _ in range(int(rng.integers(4, 14))):
        x, y, r = (
            rng.uniform(0, WIDTH),
            rng.uniform(0.2, 1) * HEIGHT,
            rng.uniform(6, 22),
        )
        canvas.line((x, y, x, HEIGHT), _bytes((0.15, 0.4, 0.1)), 3)
        for i in range(6):
            px, py = x + r * math.cos(i), y + r * math.sin(i)
            canvas.ellipse((px - r / 2, py - r / 2, px + r / 2, py + r / 2), petal)
    return photo


def _plate(scene: Scene, rng: np.random.Generator) -> Image.Image:
    table = _shone(_mixed((0.5, 0.3, 0.15), (0.85, 0.8, 0.75), rng), scene)
    photo = Image.new("RGB", (WIDTH, HEIGHT), _bytes(table))
    canvas = ImageDraw.Draw(photo)
    x, y, r = WIDTH / 2 + rng.uniform(-30, 30), HEIGHT / 2, rng.uniform(55, 90)
    canvas.ellipse((x - r, y - r * 0.8, x + r, y + r * 0.8), (235, 235, 230))
    for _ in range(int(rng.integers(5, 12))):
        food = _bytes(
            _shone(colorsys.hsv_to_rgb(rng.uniform(0, 0.35), 0.8, 0.8), scene)
        )
        a, b, s = rng.normal(x, r / 3), rng.normal(y, r / 4), rng.uniform(6, 20)
        canvas.ellipse((a - s, b - s, a + s, b + s), food)
    return photo


def _portrait(scene: Scene, rng: np.random.Generator) -> Image.Image:
    photo = _ground(scene, rng)
    canvas = ImageDraw.Draw(photo)
    x, y, r = WIDTH / 2 + rng.uniform(-40, 40), HEIGHT * 0.4, rng.uniform(30, 55)
    skin = _bytes(_shone(_mixed((0.35, 0.22, 0.15), (0.95, 0.78, 0.66), rng), scene))
    coat = _bytes(_shone(tuple(rng.random(3)), scene))
    canvas.ellipse((x - 2 * r, y + r, x + 2 * r, y + 6 * r), coat)
    canvas.ellipse((x - r, y - r * 1.2, x + r, y + r * 1.2), skin)
    canvas.pieslice((x - r, y - r * 1.4, x + r, y + r * 0.8), 180, 360, (50, 35, 25))
    for side in (-1, 1):
        eye = x + side * r * 0.4
        canvas.ellipse((eye - 4, y - 3, eye + 4, y + 3), (30, 30, 35))
    return photo


def _view(scene: Scene, rng: np.random.Generator) -> Image.Image:
    photo = _ground(scene, rng)
    canvas = ImageDraw.Draw(photo)
    for layer in range(3):
        base = HEIGHT * (0.45 + 0.15 * layer)
        xs = np.linspace(0, WIDTH, 9)
        ys = base - rng.uniform(0, 50 - 12 * layer, len(xs))
        ridge = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
        shade = _mixed((0.25, 0.35, 0.3), (0.5, 0.5, 0.6), rng)
        corners = [*ridge, (WIDTH, HEIGHT), (0, HEIGHT)]
        canvas.polygon(corners, _bytes(_shone(shade, scene)))
    return photo


def _sign(scene: Scene, rng: np.random.Generator) -> Image.Image:
    photo = _ground(scene, rng)
    canvas = ImageDraw.Draw(photo)
    board = _bytes(_shone(colorsys.hsv_to_rgb(rng.random(), 0.7, 0.7), scene))
    canvas.rectangle((40, 30, WIDTH - 40, HEIGHT - 50), board, (240, 240, 240), 4)
    for row in range(int(rng.integers(2, 5))):
        y, end = 48 + row * 20, rng.uniform(0.4, 1) * (WIDTH - 110)
        canvas.line((55, y, 55 + end, y), (245, 245, 245), int(rng.integers(4, 9)))
    return photo


def _developed(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    """What a camera adds: blur, noise, a little tilt."""
    edge = tuple(int(c) for c in np.asarray(photo)[0, 0])
    photo = photo.rotate(rng.uniform(-4, 4), Image.Resampling.BILINEAR, fillcolor=edge)
    photo = photo.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.0)))
    noise = rng.normal(0, rng.uniform(1, 7), (HEIGHT, WIDTH, 3))
    pixels = np.clip(np.asarray(photo) + noise, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))


def _mixed(a: Sequence[float], b: Sequence[float], rng: np.random.Generator) -> Colour:
    share = rng.random()
    red, green, blue = (x * share + y * (1 - share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _shone(colour: Colour, scene: Scene) -> Colour:
    red, green, blue = (c * k for c, k in zip(colour, scene.light, strict=True))
    return red, green, blue


def _bytes(colour: Sequence[float]) -> tuple[int, ...]:
    return tuple(int(255 * min(max(c, 0.0), 1.0)) for c in colour)

"""Draw the images of the demo competition: of buildings, and of other subjects.

An image of a building shows the faces that point at the camera, drawn from far to near, and
in front of them trees, lamps and people. Blur, noise and tilt imitate a camera.
"""

import colorsys
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from kaggle_kit.demo.buildings import Colour, Face, Point, random_building
from kaggle_kit.demo.scenery import (
    HEIGHT,
    WIDTH,
    Scene,
    backdrop,
    draw_clutter,
    illuminate,
    mix,
    random_scene,
    rgb,
)

HOUSES = 0.25  # share of non-landmarks that show a random house


def draw_building(faces: Sequence[Face], rng: np.random.Generator) -> Image.Image:
    """Draw a building from a random side, in random light, with random clutter."""
    scene = random_scene(rng)
    picture = backdrop(scene, rng)
    canvas = ImageDraw.Draw(picture)
    projections = [(face, [_project(p, scene) for p in face.corners]) for face in faces]
    projections.sort(key=lambda pair: -sum(p[2] for p in pair[1]) / len(pair[1]))
    for face, corners in projections:
        flat = [(x, y) for x, y, _ in corners]
        if _area(flat) > 0:  # else the face points away from the camera
            canvas.polygon(flat, rgb(_face_colour(face, scene)))
            if face.windows:
                _draw_windows(canvas, flat, face.windows, scene)
    draw_clutter(canvas, rng, scene, int(rng.integers(0, 5)))
    return _add_camera_effects(picture, rng)


def draw_non_landmark(rng: np.random.Generator) -> Image.Image:
    """Draw a picture that shows no landmark."""
    if rng.random() < HOUSES:
        return draw_building(random_building(rng), rng)
    scene = random_scene(rng)
    kinds: Sequence[Callable[..., Image.Image]] = (
        _plant,
        _plate,
        _portrait,
        _view,
        _sign,
    )
    return _add_camera_effects(kinds[rng.integers(len(kinds))](scene, rng), rng)


def _project(point: Point, scene: Scene) -> Point:
    """Project a point: x and y in the picture in pixels, and the distance in storeys."""
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
    """Twice the signed area of a polygon; positive if its front faces the camera."""
    pairs = zip(corners, [*corners[1:], corners[0]], strict=True)
    return -sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in pairs)


def _face_colour(face: Face, scene: Scene) -> Colour:
    """The colour of a face, by its angle to the light."""
    a, b, c = (np.array(corner) for corner in face.corners[:3])
    normal = np.cross(b - a, c - a)
    cosine = normal @ scene.sun / (np.linalg.norm(normal) * np.linalg.norm(scene.sun))
    shade = 0.6 + 0.4 * max(float(cosine), 0)
    red, green, blue = (c * shade for c in face.colour)
    return illuminate((red, green, blue), scene)


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
            canvas.polygon(pane, rgb(colour))


def _plant(scene: Scene, rng: np.random.Generator) -> Image.Image:
    image = backdrop(scene, rng)
    canvas = ImageDraw.Draw(image)
    petal = rgb(illuminate(colorsys.hsv_to_rgb(rng.random(), 0.8, 0.9), scene))
    for _ in range(int(rng.integers(4, 14))):
        x, y, r = (
            rng.uniform(0, WIDTH),
            rng.uniform(0.2, 1) * HEIGHT,
            rng.uniform(6, 22),
        )
        canvas.line((x, y, x, HEIGHT), rgb((0.15, 0.4, 0.1)), 3)
        for i in range(6):
            px, py = x + r * math.cos(i), y + r * math.sin(i)
            canvas.ellipse((px - r / 2, py - r / 2, px + r / 2, py + r / 2), petal)
    return image


def _plate(scene: Scene, rng: np.random.Generator) -> Image.Image:
    table = illuminate(mix((0.5, 0.3, 0.15), (0.85, 0.8, 0.75), rng), scene)
    image = Image.new("RGB", (WIDTH, HEIGHT), rgb(table))
    canvas = ImageDraw.Draw(image)
    x, y, r = WIDTH / 2 + rng.uniform(-30, 30), HEIGHT / 2, rng.uniform(55, 90)
    canvas.ellipse((x - r, y - r * 0.8, x + r, y + r * 0.8), (235, 235, 230))
    for _ in range(int(rng.integers(5, 12))):
        food = rgb(
            illuminate(colorsys.hsv_to_rgb(rng.uniform(0, 0.35), 0.8, 0.8), scene)
        )
        a, b, s = rng.normal(x, r / 3), rng.normal(y, r / 4), rng.uniform(6, 20)
        canvas.ellipse((a - s, b - s, a + s, b + s), food)
    return image


def _portrait(scene: Scene, rng: np.random.Generator) -> Image.Image:
    image = backdrop(scene, rng)
    canvas = ImageDraw.Draw(image)
    x, y, r = WIDTH / 2 + rng.uniform(-40, 40), HEIGHT * 0.4, rng.uniform(30, 55)
    skin = rgb(illuminate(mix((0.35, 0.22, 0.15), (0.95, 0.78, 0.66), rng), scene))
    coat = rgb(illuminate(tuple(rng.random(3)), scene))
    canvas.ellipse((x - 2 * r, y + r, x + 2 * r, y + 6 * r), coat)
    canvas.ellipse((x - r, y - r * 1.2, x + r, y + r * 1.2), skin)
    canvas.pieslice((x - r, y - r * 1.4, x + r, y + r * 0.8), 180, 360, (50, 35, 25))
    for side in (-1, 1):
        eye = x + side * r * 0.4
        canvas.ellipse((eye - 4, y - 3, eye + 4, y + 3), (30, 30, 35))
    return image


def _view(scene: Scene, rng: np.random.Generator) -> Image.Image:
    image = backdrop(scene, rng)
    canvas = ImageDraw.Draw(image)
    for layer in range(3):
        base = HEIGHT * (0.45 + 0.15 * layer)
        xs = np.linspace(0, WIDTH, 9)
        ys = base - rng.uniform(0, 50 - 12 * layer, len(xs))
        ridge = [(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
        shade = mix((0.25, 0.35, 0.3), (0.5, 0.5, 0.6), rng)
        corners = [*ridge, (WIDTH, HEIGHT), (0, HEIGHT)]
        canvas.polygon(corners, rgb(illuminate(shade, scene)))
    return image


def _sign(scene: Scene, rng: np.random.Generator) -> Image.Image:
    image = backdrop(scene, rng)
    canvas = ImageDraw.Draw(image)
    board = rgb(illuminate(colorsys.hsv_to_rgb(rng.random(), 0.7, 0.7), scene))
    canvas.rectangle((40, 30, WIDTH - 40, HEIGHT - 50), board, (240, 240, 240), 4)
    for row in range(int(rng.integers(2, 5))):
        y, end = 48 + row * 20, rng.uniform(0.4, 1) * (WIDTH - 110)
        canvas.line((55, y, 55 + end, y), (245, 245, 245), int(rng.integers(4, 9)))
    return image


def _add_camera_effects(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Tilt and blur a picture, and add noise."""
    edge = tuple(int(c) for c in np.asarray(image)[0, 0])
    image = image.rotate(rng.uniform(-4, 4), Image.Resampling.BILINEAR, fillcolor=edge)
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 1.0)))
    noise = rng.normal(0, rng.uniform(1, 7), (HEIGHT, WIDTH, 3))
    pixels = np.clip(np.asarray(image) + noise, 0, 255)
    return Image.fromarray(pixels.astype(np.uint8))

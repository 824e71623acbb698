"""Made-up data: phone screens with dust, glare and scratches. Delete it once you have data."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..examples import Example
from ..problem.answer import Answer, write

SIDE_PX = 80  # larger than the input of the model, like real photos
LIGHT = {"line-1": 105, "line-2": 135}  # mean grey level on each line
MARKS = {"dust": 0.45, "glare": 0.35, "scratch": 0.4}  # probability of each mark


def sample_examples(n: int = 2000, seed: int = 0) -> Iterator[Example]:
    """Yield `n` PNG examples with the marks of each, reproducible by `seed`.

    All have single specks and uneven light, which are no marks, and some have a curled hair.
    """
    rng = np.random.default_rng(seed)
    for i in range(n):
        marks = [mark for mark, share in MARKS.items() if rng.random() < share]
        line = sorted(LIGHT)[int(rng.integers(2))]
        screen = _screen(rng, LIGHT[line], has_glare="glare" in marks)
        draw = ImageDraw.Draw(screen)
        _specks(rng, draw, int(rng.integers(12, 25)) if "dust" in marks else int(rng.integers(4)))
        if "scratch" in marks:
            _scratch(rng, draw)
        buffer = io.BytesIO()
        _finish(rng, screen).save(buffer, "PNG", compress_level=1)
        label = write(Answer(labels=marks))
        yield Example(f"sample-{seed}-{i:05}", buffer.getvalue(), label, line)


def _screen(rng: np.random.Generator, light: int, *, has_glare: bool) -> Image.Image:
    """Draw a tinted surface with uneven light, a reflection if it has glare, and maybe a hair."""
    height, width = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    slope_x, slope_y = rng.uniform(-0.25, 0.25, 2)
    grey = light + rng.normal(0, 10) + slope_x * (width - SIDE_PX / 2)
    grey = grey + slope_y * (height - SIDE_PX / 2)
    if has_glare:
        x, y = rng.uniform(10, SIDE_PX - 10, 2)
        reach = rng.uniform(80, 400)
        spot = np.exp(-((width - x) ** 2 + (height - y) ** 2) / reach)
        grey = grey + rng.uniform(70, 130) * spot
    tint = 1 + rng.normal(0, 0.05, 3)
    screen = Image.fromarray((grey[..., None] * tint).clip(0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        x, y = rng.uniform(0, SIDE_PX, 2)
        start, size = rng.uniform(0, 360), rng.uniform(10, 26)
        box = (x, y, x + size, y + size)
        ImageDraw.Draw(screen).arc(box, start, start + 200, fill=_grey(rng, 40, 90))
    return screen


def _specks(rng: np.random.Generator, draw: ImageDraw.ImageDraw, count: int) -> None:
    for x, y in rng.uniform(0, SIDE_PX - 2, (count, 2)):
        draw.ellipse((x, y, x + 2, y + 2), fill=_grey(rng, 20, 70))


def _scratch(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    x, y = rng.uniform(20, SIDE_PX - 20, 2)
    angle, half = rng.uniform(0, np.pi), rng.uniform(16, 30)
    dx, dy = half * np.cos(angle), half * np.sin(angle)
    bend = rng.uniform(-3, 3, 2)
    points = [(x - dx, y - dy), (x + bend[0], y + bend[1]), (x + dx, y + dy)]
    draw.line(points, fill=_grey(rng, 215, 250), width=int(rng.integers(1, 3)))


def _finish(rng: np.random.Generator, screen: Image.Image) -> Image.Image:
    """Add the blur and noise of a camera."""
    soft = screen.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    noisy = np.asarray(soft) + rng.normal(0, 4, (SIDE_PX, SIDE_PX, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _grey(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    level = int(rng.integers(low, high))
    return level, level, level

"""Made-up data: phone screens on two lines, half scratched. Delete it once you have data."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..examples import Example

SIDE_PX = 80  # larger than the input of the model, like real photos
LIGHT = {"line-1": 105, "line-2": 135}  # mean grey level on each line


def sample_examples(n: int = 2000, seed: int = 0) -> Iterator[Example]:
    """Yield `n` PNG examples, half of them `scratched`, reproducible by `seed`.

    Both labels have dust, glare and curled hairs. Only scratches are thin, long and straight.
    """
    rng = np.random.default_rng(seed)
    for i in range(n):
        label = ("clean", "scratched")[i % 2]
        line = sorted(LIGHT)[int(rng.integers(2))]
        screen = _screen(rng, LIGHT[line])
        if label == "scratched":
            _scratch(rng, ImageDraw.Draw(screen))
        buffer = io.BytesIO()
        _finish(rng, screen).save(buffer, "PNG", compress_level=1)
        yield Example(f"sample-{seed}-{i:05}", buffer.getvalue(), label, line)


def _screen(rng: np.random.Generator, light: int) -> Image.Image:
    """Draw a tinted surface with glare, dust and sometimes a hair."""
    height, width = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    x, y = rng.uniform(0, SIDE_PX, 2)
    reach = rng.uniform(300, 2500)
    glare = rng.uniform(10, 50) * np.exp(-((width - x) ** 2 + (height - y) ** 2) / reach)
    grey = light + rng.normal(0, 12) + glare
    tint = 1 + rng.normal(0, 0.05, 3)
    screen = Image.fromarray((grey[..., None] * tint).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(screen)
    for x, y in rng.uniform(0, SIDE_PX, (int(rng.poisson(5)), 2)):
        draw.ellipse((x, y, x + 2, y + 2), fill=_grey(rng, 60, 200))
    if rng.random() < 0.4:
        x, y = rng.uniform(0, SIDE_PX, 2)
        start, size = rng.uniform(0, 360), rng.uniform(10, 26)
        draw.arc((x, y, x + size, y + size), start, start + 200, fill=_grey(rng, 40, 90))
    return screen


def _scratch(rng: np.random.Generator, draw: ImageDraw.ImageDraw) -> None:
    x, y = rng.uniform(20, SIDE_PX - 20, 2)
    angle, half = rng.uniform(0, np.pi), rng.uniform(14, 30)
    dx, dy = half * np.cos(angle), half * np.sin(angle)
    bend = rng.uniform(-3, 3, 2)
    points = [(x - dx, y - dy), (x + bend[0], y + bend[1]), (x + dx, y + dy)]
    draw.line(points, fill=_grey(rng, 205, 250), width=int(rng.integers(1, 3)))


def _finish(rng: np.random.Generator, screen: Image.Image) -> Image.Image:
    """Add the blur and noise of a camera."""
    soft = screen.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    noisy = np.asarray(soft) + rng.normal(0, 4, (SIDE_PX, SIDE_PX, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _grey(rng: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    level = int(rng.integers(low, high))
    return level, level, level

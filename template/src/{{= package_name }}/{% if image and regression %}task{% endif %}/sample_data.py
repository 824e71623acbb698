"""Made-up data: phone screens with scratches on two lines. Delete it once you have data."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ..examples import Example

SIDE_PX = 80  # larger than the input of the model, like real photos
LIGHT = {"line-1": 105, "line-2": 135}  # mean grey level on each line
MAX_SCRATCHES = 6


def sample_examples(n: int = 2000, seed: int = 0) -> Iterator[Example]:
    """Yield `n` PNG examples with the scratched share of the screen in %, reproducible by `seed`.

    All have dust and glare, which are no scratches.
    """
    rng = np.random.default_rng(seed)
    for i in range(n):
        line = sorted(LIGHT)[int(rng.integers(2))]
        screen = _screen(rng, LIGHT[line])
        scratched = Image.new("L", screen.size)
        for _ in range(int(rng.integers(MAX_SCRATCHES + 1))):
            _scratch(rng, ImageDraw.Draw(screen), ImageDraw.Draw(scratched))
        share = 100 * float(np.mean(np.asarray(scratched) > 0))
        buffer = io.BytesIO()
        _finish(rng, screen).save(buffer, "PNG", compress_level=1)
        yield Example(f"sample-{seed}-{i:05}", buffer.getvalue(), f"{share:.3f}", line)


def _screen(rng: np.random.Generator, light: int) -> Image.Image:
    """Draw a tinted surface with glare and dust."""
    height, width = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    x, y = rng.uniform(0, SIDE_PX, 2)
    reach = rng.uniform(300, 2500)
    glare = rng.uniform(10, 50) * np.exp(-((width - x) ** 2 + (height - y) ** 2) / reach)
    grey = light + rng.normal(0, 12) + glare
    tint = 1 + rng.normal(0, 0.05, 3)
    screen = Image.fromarray((grey[..., None] * tint).clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(screen)
    for x, y in rng.uniform(0, SIDE_PX, (int(rng.poisson(5)), 2)):
        level = int(rng.integers(30, 90))
        draw.ellipse((x, y, x + 2, y + 2), fill=(level, level, level))
    return screen


def _scratch(rng: np.random.Generator, *layers: ImageDraw.ImageDraw) -> None:
    """Draw the same scratch on the screen and on the mask."""
    x, y = rng.uniform(10, SIDE_PX - 10, 2)
    angle, half = rng.uniform(0, np.pi), rng.uniform(8, 30)
    dx, dy = half * np.cos(angle), half * np.sin(angle)
    width = int(rng.integers(1, 4))
    level = int(rng.integers(215, 250))
    screen, mask = layers
    points = [(x - dx, y - dy), (x + dx, y + dy)]
    screen.line(points, fill=(level, level, level), width=width)
    mask.line(points, fill=255, width=width)


def _finish(rng: np.random.Generator, screen: Image.Image) -> Image.Image:
    """Add the blur and noise of a camera."""
    soft = screen.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.8)))
    noisy = np.asarray(soft) + rng.normal(0, 4, (SIDE_PX, SIDE_PX, 1))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))

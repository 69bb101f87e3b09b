"""Who speaks: accents times variants of espeak-ng, each variant in one split only."""

import numpy as np

# espeak-ng's name of each accent; it knows British English as plain `en`.
ACCENTS = {
    "en-gb": "en",
    "en-us": "en-us",
    "en-gb-scotland": "en-gb-scotland",
    "en-gb-x-rp": "en-gb-x-rp",
    "en-029": "en-029",
}

# Without the breathy ones (f2, f3, f5, ...): their breath differs from run to run.
VARIANTS = {
    "train": (
        *("m1", "m2", "m4", "m7", "Michael", "Denis", "Mike", "antonio"),
        *("f1", "steph", "grandma", "belinda", "aunty", "anika"),
    ),
    "dev": ("m5", "Andrea"),
    "test": ("m3", "m6", "f4", "Annie"),
}


def draw_voice(split: str, rng: np.random.Generator) -> tuple[str, str]:
    """A speaker such as `en-gb+m3` of a split, and espeak-ng's name of that voice."""
    accents, variants = list(ACCENTS), VARIANTS[split]
    accent = accents[rng.integers(len(accents))]
    variant = variants[rng.integers(len(variants))]
    return f"{accent}+{variant}", f"{ACCENTS[accent]}+{variant}"

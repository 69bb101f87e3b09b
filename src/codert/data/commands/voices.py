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

# All variants of espeak-ng 1.52, but for the breathy ones (f2, Reed, ...), whose breath differs
# from run to run, and those that no person sounds like: robots and effects (robosoft, croak, ...),
# and files that move one of the first three formants out of 80 to 130% of its place or make it
# less than half as strong (zac, Lee, ...).
# In alphabetical order; names of one line are versions of one voice.
_VOICES = {
    "women": (
        ("Andrea",),
        ("anika",),
        ("Annie",),
        ("aunty",),
        ("f1",),
        ("f4",),
        ("grandma",),
        ("steph", "steph2", "steph3"),
    ),
    "men": (
        ("adam",),
        ("Alex",),
        ("announcer",),
        ("antonio",),
        ("benjamin",),
        ("Denis",),
        ("Diogo",),
        ("ed",),
        ("edward", "edward2"),
        ("Gene", "Gene2"),
        ("grandpa",),
        ("Henrique",),
        ("Hugo",),
        ("ian",),
        ("iven", "iven2", "iven3", "iven4"),
        ("john",),
        ("klatt", "klatt2", "klatt3", "klatt4", "klatt5", "klatt6"),
        ("m1",),
        ("m2",),
        ("m3",),
        ("m4",),
        ("m5",),
        ("m6",),
        ("m7",),
        ("m8",),
        ("Mario",),
        ("max",),
        ("michel",),
        ("miguel",),
        ("Mike", "mike2"),
        ("Nguyen",),
        ("pablo",),
        ("paul",),
        ("pedro",),
        ("quincy",),
        ("rob", "robert"),
    ),
}


def _split_of(place: int) -> str:
    """By the place in the alphabet, so that nobody chose who is easy to understand."""
    return {2: "test", 5: "dev"}.get(place % 6, "train")


# The voices of each split, each a tuple of versions.
VOICES = {
    split: tuple(
        versions
        for voices in _VOICES.values()
        for place, versions in enumerate(voices)
        if _split_of(place) == split
    )
    for split in ("train", "dev", "test")
}


def draw_voice(split: str, rng: np.random.Generator) -> tuple[str, str]:
    """A speaker such as `en-gb+m3` of a split, and espeak-ng's name of that voice."""
    accents, voices = list(ACCENTS), VOICES[split]
    accent = accents[rng.integers(len(accents))]
    versions = voices[rng.integers(len(voices))]
    variant = versions[rng.integers(len(versions))]
    return f"{accent}+{variant}", f"{ACCENTS[accent]}+{variant}"

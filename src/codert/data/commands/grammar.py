"""What is said: sentences to a voice assistant whose words cannot be guessed from the left.

A transducer that can guess the next word does not learn to listen, so most words of a
sentence are drawn freely from long lists.
"""

import hashlib
import re

import numpy as np

from codert.data.text import normalise

_WORDS = {
    "unit": "one two three four five six seven eight nine",
    "teen": "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen",
    "tens": "twenty thirty forty fifty sixty seventy eighty ninety",
    "digit": "zero one two three four five six seven eight nine",
    "name": "anna david emma george helen james julia kevin laura martin nina oliver paula "
    "peter rachel robert sarah simon susan thomas victor walter wendy william",
    "room": "kitchen bedroom bathroom hallway garage garden office cellar nursery lounge",
    "colour": "red blue green yellow purple orange white pink",
    "food": "apples bananas bread butter carrots cheese chicken chocolate coffee eggs fish flour "
    "garlic honey lemons milk mushrooms onions pasta potatoes rice salt sugar tomatoes",
    "thing": "batteries candles envelopes flowers matches paper pencils soap stamps towels",
    "city": "berlin boston cairo chicago delhi denver dublin lima london madrid moscow oslo paris "
    "rome sydney tokyo",
    "weekday": "monday tuesday wednesday thursday friday saturday sunday",
    "noon": "morning afternoon evening night",
    "genre": "jazz rock folk soul opera classical country techno",
    "device": "lamp fan heater radio television oven kettle dishwasher",
    "creature": "cat dog horse rabbit bird tiger",
    "nature": "river mountain forest island desert window bridge castle silver winter summer",
}

_PHRASES = {
    "item": ("{food}", "{food}", "{thing}", "{small} {food}", "{small} {thing}"),
    "items": ("{item}", "{item} and {item}", "{item}, {item} and {item}"),
    "list": ("shopping list", "party list", "list", "basket"),
    "day": ("today", "tomorrow", "on {weekday}", "next {weekday}", "on {weekday} {noon}"),
    "clock": (
        "{hour} o'clock",
        "half past {hour}",
        "quarter to {hour}",
        "quarter past {hour}",
        "{small} past {hour}",
        "{hour} {minute}",
    ),
    "time": (
        "{small} minutes",
        "{number} seconds",
        "{small} hours",
        "{small} hours and {number} minutes",
    ),
    "lights": ("{room} lights", "{colour} {device}", "{device}", "{room} {device}"),
    "task": (
        "call {name}",
        "feed the {creature}",
        "buy {item}",
        "write to {name}",
        "meet {name}",
        "clean the {room}",
        "visit {city}",
    ),
    "music": ("{genre}", "some {genre}", "{nature} {nature}", "{name} {name}"),
    "operation": ("plus", "minus", "times", "divided by"),
    "word": (
        *("{name}", "{food}", "{thing}", "{city}", "{colour}", "{creature}", "{nature}"),
        *("{device}", "{room}", "{weekday}", "{genre}"),
    ),
    "hour": ("{unit}", "{unit}", "{unit}", "ten", "eleven", "twelve"),
    "minute": ("fifteen", "thirty", "forty five", "twenty {unit}", "fifty {unit}"),
    "small": ("{unit}", "ten", "{teen}", "twenty", "thirty", "forty"),
    "number": (
        *("{small}", "{tens}", "{tens} {unit}", "{tens} {unit}"),
        *("{unit} hundred", "{unit} hundred and {unit}", "{unit} hundred and {tens} {unit}"),
    ),
}

_SENTENCES = (
    "set a timer for {time}",
    "timer for {name}, {time}",
    "cancel the {small} minute timer",
    "wake {name} at {clock}",
    "set an alarm for {clock} {day}",
    "turn on the {lights}",
    "turn off the {lights} in the {room}",
    "make the {lights} {colour}",
    "set the {lights} to {number} percent",
    "dim the {room} to {number}",
    "what is the weather in {city} {day}",
    "will it rain in {city} {day}",
    "how warm is {city}",
    "add {items} to the {list}",
    "put {items} on the {list} for {name}",
    "take {item} off the {list}",
    "{items}",
    "call {name} {name}",
    "call {digit} {digit} {digit} {digit} {digit} {digit}",
    "ring {name} in {city}",
    "text {name} about {item}",
    "play {music}",
    "play {music} in the {room}",
    "{music} by {name} {name}",
    "volume {number}",
    "what is {number} {operation} {number}",
    "{number} {operation} {number} {operation} {small}",
    "remind me to {task} {day}",
    "remind {name} to {task} at {clock}",
    "{day} at {clock}, {task}",
    "set the heating to {number} degrees",
    "set the {room} to {small} degrees at {clock}",
    "{word} {word} {word}",
    "{word} {word} {word} {word}",
    "{word} {word} {word} {word} {word}",
    "{number} {word} {number} {word}",
    "{digit} {digit} {digit} {digit}",
    "{digit} {digit} {digit} {digit} {digit}",
    "{number} {number} {number}",
)

_SLOTS: dict[str, tuple[str, ...]] = {
    **{slot: tuple(words.split()) for slot, words in _WORDS.items()},
    **_PHRASES,
}

_SLOT = re.compile(r"\{(\w+)\}")


def draw_sentence(split: str, rng: np.random.Generator) -> str:
    """A sentence of a split, in lower case and with commas, as it is spoken.

    No sentence is in two splits, whatever the seeds: the words alone decide.
    """
    while True:
        sentence = _filled(_choice(_SENTENCES, rng), rng)
        if _split_of(normalise(sentence)) == split:
            return sentence


def vocabulary() -> set[str]:
    """All words that sentences are made of, normalised."""
    sources = [*_SENTENCES, *(option for options in _SLOTS.values() for option in options)]
    return {word for source in sources for word in normalise(_SLOT.sub(" ", source)).split()}


def _filled(template: str, rng: np.random.Generator) -> str:
    return _SLOT.sub(lambda match: _filled(_choice(_SLOTS[match[1]], rng), rng), template)


def _choice(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[rng.integers(len(options))]


def _split_of(text: str) -> str:
    share = hashlib.blake2b(text.encode(), digest_size=1).digest()[0] / 256
    return "test" if share < 0.15 else "dev" if share < 0.2 else "train"

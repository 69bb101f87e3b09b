"""A record of a recogniser that was scored, for tests to vary."""

from codert.experiments.records import Record

RECORD = Record(
    experiment="e",
    plan="alone",
    strategy="alone",
    recogniser="student",
    role="student",
    corpus="tones",
    split="test",
    fold=None,
    seed=0,
    encoder_params=1,
    total_params=2,
    updates=3,
    wer=0.0,
    errors=0,
    words=20,
    seconds=1.0,
    commit=None,
    command="codert train recipes/alone.yaml",
)

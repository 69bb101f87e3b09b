"""`codert transcribe`: a recogniser on files."""

import argparse
import json
import os
import sys
from pathlib import Path

from codert.cli.arguments import Verbs, beam_argument, verb
from codert.errors import InputError


def add(verbs: Verbs) -> None:
    """Put the commands of this file among the others."""
    transcribe = verb(
        verbs,
        "transcribe",
        _transcribe,
        "write down what is said in audio files",
        "codert transcribe runs/demo/tandem-shared/student recording.flac",
    )
    transcribe.add_argument("run", type=Path, metavar="RUN", help="a recogniser's folder")
    transcribe.add_argument("audio", type=Path, nargs="+", metavar="FILE")
    beam_argument(transcribe)
    transcribe.add_argument("--json", action="store_true", help="print a JSON object a line")


def _transcribe(options: argparse.Namespace) -> int:
    from codert.decoding.transcriber import Transcriber

    transcriber = Transcriber.load(options.run)
    if not options.json:
        print(f"trained to understand: {transcriber.card.understands}", file=sys.stderr)
        if not transcriber.card.model.streams:
            print("not streaming: it hears each recording to its end first", file=sys.stderr)
    status = 0
    for audio in options.audio:
        # One bad file does not keep the others from being read.
        try:
            text = transcriber.transcribe(audio, options.beam)
        except InputError as error:
            print(f"codert: {error}", file=sys.stderr)
            status = 2
        else:
            name = os.fsencode(audio).decode(errors="backslashreplace")
            if not text:
                print(f"codert: {name}: no word was recognised", file=sys.stderr)
            line = {"audio": name, "text": text}
            print(json.dumps(line, ensure_ascii=False) if options.json else f"{name}\t{text}")
    return status

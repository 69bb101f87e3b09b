"""A small task cut from a large corpus: the utterances that its commonest words suffice for."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from codert.data.corpus_folder import making
from codert.data.description import describe, said_beside
from codert.data.manifest import Utterance, joined, read_manifest, write_manifest
from codert.data.text import normalise
from codert.errors import InputError


def prepare(out: Path, manifests: Sequence[Path], count: int) -> tuple[Path, int, int]:
    """Write the manifest of `common` in a folder; audio stays where it is.

    Args:
        out: the folder.
        manifests: of the corpora, taken together.
        count: of words.

    Returns:
        The manifest, how many utterances it lists, and of how many.

    Raises:
        InputError: a manifest is wrong, no utterance is left, or the folder holds something else.
    """
    everything = joined(u for path in manifests for u in read_manifest(path))
    found = common(everything, count)
    if not found:
        raise InputError(
            f"{manifests[0]}: no utterance has only words of the {count} commonest; take more"
        )
    digest = hashlib.blake2b(repr(found).encode(), digest_size=16).hexdigest()
    with making(out, {"common_words": count, "utterances": digest}) as folder:
        if folder:
            in_a_line = [replace(each, text=" ".join(each.text.split())) for each in found]
            write_manifest(folder / "manifest.tsv", in_a_line)
            if said := said_beside(manifests):
                describe(folder, said)
    return out / "manifest.tsv", len(found), len(everything)


def common(utterances: Sequence[Utterance], count: int) -> list[Utterance]:
    """Those with a text of nothing but the `count` most frequent words of them all.

    Of words that are as frequent, the first of the alphabet count as the more frequent ones.
    """
    texts = [normalise(each.text).split() for each in utterances]
    frequency = Counter(word for text in texts for word in text)
    ranked = sorted(frequency, key=lambda word: (-frequency[word], word))
    known = set(ranked[:count])
    return [u for u, text in zip(utterances, texts, strict=True) if text and known.issuperset(text)]

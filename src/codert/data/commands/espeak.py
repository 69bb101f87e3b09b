"""The speech synthesiser espeak-ng, through its C interface."""

import _ctypes
import ctypes
import re
from types import TracebackType

import numpy as np

from codert.data.audio import Samples
from codert.errors import InputError

RATE = 22050

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_WORDS_PER_MINUTE, _PITCH, _PITCH_RANGE = 1, 3, 4  # espeak_PARAMETER
_UTF8 = 1  # espeakCHARS_UTF8
_IPA = ord("_") << 8 | 2  # of espeak_TextToPhonemes, with _ between phonemes
_STRESS = str.maketrans("", "", "ˈˌ")

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class Engine:
    """A synthesiser that has not spoken yet; one at a time in a process.

    What it says depends a little on all that it said before, in the library's own static
    memory, so the library is unloaded at the end: each engine starts from the same state.
    """

    def __init__(self) -> None:
        """Load the library and its data.

        Raises:
            InputError: the extra `commands` is not installed.
        """
        try:
            import espeakng_loader
        except ImportError:
            raise InputError(
                "espeak-ng is not installed; run: pip install 'codert[commands]'"
            ) from None
        self._parts: list[bytes] = []
        self._callback = _Callback(self._collect)
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        if self._library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0) != RATE:
            raise InputError("espeak-ng finds no data; reinstall it: pip install espeakng-loader")
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._library.espeak_TextToPhonemes.argtypes = (
            ctypes.POINTER(ctypes.c_char_p),
            ctypes.c_int,
            ctypes.c_int,
        )

    def _collect(self, samples: "ctypes._Pointer[ctypes.c_short]", size: int, _: int) -> int:
        if samples and size > 0:
            self._parts.append(ctypes.string_at(samples, 2 * size))
        return 0

    def say(
        self, text: str, voice: str, words_per_minute: int, pitch: int, pitch_range: int
    ) -> Samples:
        """The samples (N,) of a text at 22050 Hz in +-1.

        Args:
            text: what to say, in lower case: espeak-ng spells some words in capitals.
            voice: language and variant, such as `en-us+f2`.
            words_per_minute: 80 to 450.
            pitch: 0 to 100.
            pitch_range: 0 to 100, from monotonous to singing.
        """
        self._parts.clear()
        self._choose(voice)
        self._library.espeak_SetParameter(_WORDS_PER_MINUTE, words_per_minute, 0)
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._library.espeak_SetParameter(_PITCH_RANGE, pitch_range, 0)
        content = text.encode() + b"\0"
        self._library.espeak_Synth(content, len(content), 0, 0, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        samples: Samples = np.frombuffer(b"".join(self._parts), np.int16).astype(np.float32)
        samples /= 32768
        return samples

    def phones(self, text: str, voice: str) -> list[str]:
        """The phones of a text in the IPA, without stress.

        Args:
            text: in lower case; a letter by itself is named.
            voice: language and perhaps variant, such as `en-us`.

        Raises:
            InputError: there is no such voice.
        """
        self._choose(voice)
        rest, phones = ctypes.c_char_p(text.encode()), ""
        while rest.value is not None:  # a call for each clause
            spoken = self._library.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA)
            phones += " " + (spoken or b"").decode()
        return [phone for phone in re.split(r"[_\s]+", phones.translate(_STRESS)) if phone]

    def _choose(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise InputError(f"espeak-ng has no voice {voice!r}; en-us is one")

    def __enter__(self) -> "Engine":
        """The engine itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Unload the library."""
        self._library.espeak_Terminate()
        _ctypes.dlclose(self._library._handle)

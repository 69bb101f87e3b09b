"""Spoken commands for a voice assistant, made by espeak-ng: a corpus without a download."""

"""Encoders, predictors, joints, and the recogniser that joins them."""

from codert.models.recogniser import Recogniser, RecogniserConfig

__all__ = ["Recogniser", "RecogniserConfig"]

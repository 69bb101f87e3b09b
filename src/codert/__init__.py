"""Co-learning and distillation for transducer speech recognition."""

__version__ = "0.1.0"

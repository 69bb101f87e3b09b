"""Whole comparisons: corpus, trainings, scores, report."""

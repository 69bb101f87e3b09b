"""Whole comparisons: trainings, scores, tables, and the choice that is made by them."""

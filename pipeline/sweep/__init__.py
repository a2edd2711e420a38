"""Sweeps: many trials of one strategy on one data set, and what the best of them is worth after so many."""

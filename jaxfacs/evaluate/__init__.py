"""Measures per AU with masks, sums that merge over shards, tuned thresholds, reports."""

"""The validator: challenges, measures, scores and pays."""

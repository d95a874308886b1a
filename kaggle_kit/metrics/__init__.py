"""GAP, its bootstrap intervals, and the scores of a submission file."""

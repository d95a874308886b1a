"""GAP, its bootstrap intervals, and the score of a submission."""

"""Pages to look at: what GAP was lost to, and what a data set holds."""

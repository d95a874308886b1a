"""Pages to look at: what GAP was lost to, how runs differ, and what a data set holds."""

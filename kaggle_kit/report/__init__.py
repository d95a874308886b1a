"""HTML pages: the report on a submission, the comparison of runs, the data set."""

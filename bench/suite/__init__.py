"""The benchmark suite: builds the programs, runs them in turn, reports."""

"""A file against the teacher: scores, ledger, verdict. Draws nothing."""

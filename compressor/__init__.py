"""Make the student: audit, embed, distil, probe; and the command line."""

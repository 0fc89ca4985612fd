"""The public functions: each does one whole job. The command line calls them and prints."""

"""`python -m compressor`: the same as the command `compressor`."""

from compressor.cli.app import main

main()

"""The commands of `compressor`. Each imports what it needs when it runs."""

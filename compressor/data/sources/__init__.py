"""Where images come from besides a folder, a file a kind, behind one protocol. Decodes no image."""

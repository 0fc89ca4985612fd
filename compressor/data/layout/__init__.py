"""What folders and label files say of images: found, of which class, held out. Decodes nothing."""

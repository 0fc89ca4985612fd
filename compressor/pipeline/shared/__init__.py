"""What several steps of a run need: views for the teacher, training material, deployed files."""

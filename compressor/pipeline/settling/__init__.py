"""What a run settles before its first step and then remembers: student, weights, defaults."""

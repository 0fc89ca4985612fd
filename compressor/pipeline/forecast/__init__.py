"""What a run would cost: images counted, a few timed, seconds of each step. Makes no file."""

"""The stream: what happens on the tape, to many clients, as it happens or as it happened."""

"""The process that writes: runs the sources, judges what they send, appends it to the tape."""

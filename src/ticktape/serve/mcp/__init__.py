"""What language models ask with: chosen read-only tools over the same queries as every other door."""

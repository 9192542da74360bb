"""Years of entries: monthly partitions, archives, and what is kept online."""

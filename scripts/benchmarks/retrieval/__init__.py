"""Times search in an index of synthetic videos, and counts what recall loses."""

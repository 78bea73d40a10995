"""What a search among millions of segments costs, see `__main__.py`."""

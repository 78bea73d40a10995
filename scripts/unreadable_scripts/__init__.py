"""Fits and measures what tells readings of scripts that the recogniser cannot write."""

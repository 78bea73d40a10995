"""Videos that benchmarks make, of which all is known that they show."""

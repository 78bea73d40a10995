"""What the package does, and what it costs, in numbers. Each module is run by its name, and prints Markdown."""

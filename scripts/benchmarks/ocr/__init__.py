"""How much of the text in real clips is read, and what does that cost, by every preset, runtime and checkout?"""

"""Copies of set-up, frozen with what was made by it: what they say, how they are taken, renewed and taken back."""

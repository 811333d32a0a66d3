"""Microbiology: reference tables, and what a measured susceptibility means by them."""

"""What a new organisation begins with.

Every seed may run again: it adds what is missing, by natural key, and changes nothing that is there.
"""

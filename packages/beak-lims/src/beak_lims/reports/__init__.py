"""What a report says of a sample, and how it is printed."""

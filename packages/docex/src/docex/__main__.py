"""``python -m docex``: the command ``docex``."""

from docex.cli import main

main()

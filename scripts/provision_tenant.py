#!/usr/bin/env python3
"""Provision a tenant of DocEX from a checkout: the same options and output as ``docex provision-tenant``."""

import sys

from docex.cli import main

if __name__ == "__main__":
    main(["provision-tenant", *sys.argv[1:]])

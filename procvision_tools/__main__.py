"""`python -m procvision_tools` is `procvision`."""

from __future__ import annotations

from procvision_tools.cli.entry import main

if __name__ == "__main__":
    main()

"""``python -m almaflow`` is the ``almaflow`` command."""

from __future__ import annotations

from almaflow.cli import main

if __name__ == "__main__":
    main()

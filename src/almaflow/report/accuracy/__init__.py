"""Reports of accuracy over time: terminal, data, page and pictures."""

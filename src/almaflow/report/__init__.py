"""Everything people read: tables, progress, Markdown, HTML and pictures.

Import the modules themselves: ``table`` and ``progress`` need rich, which a command that shows neither need not load.
"""

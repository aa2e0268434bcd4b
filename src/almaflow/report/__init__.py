"""What people read: the table and progress on the terminal, and the summary in Markdown.

Import the modules themselves: ``table`` and ``progress`` need rich, which a command that shows neither need not load.
"""

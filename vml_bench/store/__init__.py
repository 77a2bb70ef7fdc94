"""What runs leave on disk, and its one reader; written so that any process may stop and any other go on.

Nothing is imported here: a bad value on the command line is refused through `layout`, before torch is loaded.
"""

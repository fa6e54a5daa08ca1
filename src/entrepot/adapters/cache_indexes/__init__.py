"""Cache indexes. The SQLite driver, from the outside in:

sqlite.py             the driver: opening, closing, and whether the machine was restarted
sqlite_names.py       tags and links by repository, what is absent; looking over them, forgetting
sqlite_contents.py    content: reserved, stored, evicted, forgotten
sqlite_upkeep.py      uses, checks, pins and counters
sqlite_shelf.py       what an eviction policy sees of the content, and where it puts it
sqlite_reader.py      reads: small ones on the event loop, lists in a thread
sqlite_writer.py      the thread in which a process writes, one commit for all who wait
sqlite_file.py        the file: its mode, its locks, and setting it aside if it is corrupt
sqlite_schema.py      the tables, and migrations between versions
sqlite_statements.py  all other SQL
sqlite_errors.py      SQLite's errors in the registry's words
"""

"""Content stores. The filesystem driver, from the outside in:

filesystem.py     the driver: reads, small writes, enumeration
ingest.py         one upload: append, commit, abort
append.py         how an append's chunks reach the disk and the hash
threads.py        the threads on which all that blocks is done
blob_files.py     content under its digest: verified bytes in, synced and renamed
ingest_file.py    the upload's file: its lock, and writing to it
ingest_place.py   where an upload's files lie
running_hash.py   hashes kept between appends
checkpoint.py     the digest an append leaves for the process that commits
durability.py     getting bytes and names onto the disk
small_content.py  the memory for small content
disk_errors.py    what the operating system refuses, in the registry's words

Where the store is a cache, its spools:

spools.py         the driver: who writes, who follows, whose turn it is
spool_writer.py   writing one, and the verified whole into its place
spool.py          following one, in the process that writes it and in others
spool_places.py   where spools lie, and the right to write one
name_locks.py     locks by name over processes
"""

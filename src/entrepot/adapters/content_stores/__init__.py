"""Content stores. The filesystem driver:

filesystem.py     the driver: reads, small writes, enumeration
ingest.py         one upload: append, commit, abort
pipeline.py       how an append's chunks reach the disk and the hash, off the event loop
ingest_file.py    the upload's file: its place, its lock, writing to it
running_hash.py   hashes kept between appends, and the checkpoint other processes read
blob_files.py     content under its digest: verified bytes in, synced and renamed
small_content.py  the memory for small content
disk_errors.py    what the operating system refuses, in the registry's words
"""

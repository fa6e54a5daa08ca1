"""The terminal face, one file per verb family. Commands translate words into calls and results
into text; what they do stands elsewhere.

Exit codes: 0 done, 1 error, 2 not found, 3 not permitted, 4 verification or policy, 64 usage.
"""

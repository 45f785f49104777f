"""One paper, one file, to be read beside its PDF.

clip  Learning Transferable Visual Models From Natural Language Supervision, arXiv 2103.00020
"""

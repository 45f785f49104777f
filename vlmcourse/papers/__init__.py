"""One paper, one file, to be read beside its PDF.

clip    Learning Transferable Visual Models From Natural Language Supervision, arXiv 2103.00020
frozen  Multimodal Few-Shot Learning with Frozen Language Models, arXiv 2106.13884
"""

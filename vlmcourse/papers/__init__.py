"""One paper, one file, to be read beside its PDF.

clip    Learning Transferable Visual Models From Natural Language Supervision, arXiv 2103.00020
frozen  Multimodal Few-Shot Learning with Frozen Language Models, arXiv 2106.13884
qformer the Querying Transformer of BLIP-2, arXiv 2301.12597
blip2   Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language Models, arXiv 2301.12597
"""

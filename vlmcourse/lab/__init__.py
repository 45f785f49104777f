"""What we do to any of the models; knows none of them.

world       OpenMoji scenes: sample, render, caption, corrupt
tokens      the world's word-level tokenizer
folders     your own images: a folder with metadata, Hugging Face datasets, streams
train       fit(): a loop that yields; Scale; Batches
checkpoint  tensors on disk that are either whole or not there
stages      trained stages, kept by the hash of what made them, or shipped
evaluate    retrieval, zero-shot, probes, shift; what a language model says; blind controls, spread
watch       attention weights, gates, influence: seen from outside
draw        every picture of the course, with a text description
"""

"""Parts that the papers' models are made of.

masks       attention masks as one comparison of integers
attention   multi-head attention on fused kernels, key-value caches; grouped: over groups of keys
layers      transformer blocks, initialisation, tanh gate, check of token ids
bert        text transformer with cross-attention, MLM head, masking of tokens
vision      ViT, CLIP's ResNet, features of regions
language    decoders of transformers: loading, freezing, vectors as input, inserted cross-attention
tuning      adapters, BitFit, prompt tuning
losses      contrastive and matching losses, hard negatives, gathering across processes
momentum    momentum encoders and their queue
generation  greedy, nucleus and beam search, log-probability of given tokens
"""

"""What papers are made of.

masks       who may look at whom: levels, groups, keys
attention   attend(): one call, fused kernels behind it; Attention: self or cross, cached or not
grouped     attention over groups of keys, of which each query sees one at most
layers      FeedForward, TanhGate, Block, Transformer
vision      patches, ViT, small ResNet, attention pooling
language    any decoder of transformers: loaded, frozen for good, read from vectors
tuning      adapters, BitFit, prompt tuning
objectives  contrast, with a gather that lets gradients through
generate    greedy, nucleus, beam, with or without a cache; likelihood of answers
"""

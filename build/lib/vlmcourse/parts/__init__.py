"""What papers are made of.

masks       who may look at whom: levels, groups, keys
attention   attend(): one call, fused kernels behind it; Attention: self or cross, cached or not
layers      FeedForward, TanhGate, Block, Transformer
vision      patches, ViT, small ResNet, attention pooling
objectives  contrast, with a gather that lets gradients through
"""

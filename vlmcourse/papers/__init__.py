"""One paper, one file, to be read beside its PDF: clip, vilbert, vlbert, frozen, blip, blip_tasks, qformer, blip2, perceiver, flamingo, llava.

checkpoints, checkpoint_formats, flamingo_weights   public weights in these models
"""

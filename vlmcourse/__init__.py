"""vlmcourse: early vision-language models, built step by step.

parts       what the models are made of: masks, attention, layers, vision, language, losses, generation
papers      one paper, one file
world       the synthetic data set: scenes, captions, questions, pages, videos; its tokenizer
data        your own pictures: folders, Hugging Face data sets, streams
training    the training loop, optimisation, precision, checkpoints, trained stages
evaluation  metrics and controls
plots       figures, each with a text description
introspection  attention weights, gates, influence, occlusion
recipes     a paper at a scale: sizes, data, training, report
assignments what the assignments' notebooks use
widgets     explorers and players for notebooks
cli         the command line
"""

__version__ = "0.3.0"


def load(folder):
    """A model that `vlmcourse train PAPER --out FOLDER` has saved: `.model`, `.tokenizer`; of CLIP and BLIP `.embed_texts`,
    `.embed_pictures`, `.search(query, pictures)`. Raises FileNotFoundError, ValueError, DamagedCheckpoint."""
    from vlmcourse.recipes.own_pictures import (
        load_model,  # here, so that importing the package stays quick
    )

    return load_model(folder)

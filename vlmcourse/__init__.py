"""vlmcourse: early vision-language models, built step by step.

parts     what papers are made of: masks, attention, layers, vision, language, objectives, generate
papers    one paper, one file: clip, frozen
lab       what we do to any of them: the world, training, evaluation, pictures
recipes   what the course trains: a paper at a scale
play      ipywidgets for the lessons
assignments  what the assignments' notebooks use
cli       vlmcourse doctor | lab | run | train | build
"""

__version__ = "0.3.0"

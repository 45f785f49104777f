"""What one plays with in the lessons: ipywidgets that leave a still picture where there is no kernel.

lesson       predict before you run, attempt an exercise, show a widget with its still
exercises    instant checks of the exercises of lessons 01 and 02: each names the likely mistake
language     the same for lesson 04, and the nucleus player
frozen       the same for lesson 05, and a player that asks a model about pictures
blip2        the same for lesson 07, and a player that listens to single queries
masks        the mask player of lesson 01
temperature  what the learned scale does to a softmax (lesson 02)
zero_shot    your own classes and prompts (lesson 02)
explorers    eight things to play with, over pure functions; see there
"""

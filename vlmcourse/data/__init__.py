"""Your own pictures: folders, Hugging Face data sets, streams."""

"""Input and output of articles: corpus, CSV files, differences between versions of GregoryAI's tables, demo articles."""

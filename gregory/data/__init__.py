"""Articles in and out: rows to texts and labels, CSV files, the differences between versions of GregoryAI's tables, a demo feed."""

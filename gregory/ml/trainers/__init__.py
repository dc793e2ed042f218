"""One module per algorithm. `base` has their contract, and `gregory.ml.registry` maps names to them."""
